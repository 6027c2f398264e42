"""The bundled help pages as a `tfds.core.GeneratorBasedBuilder`; importing this module registers it.

```python
import tensorflow_datasets as tfds
import infoxlm_keras.sample_corpus.tfds_builder

pairs = tfds.load("infoxlm_sample_corpus/en-de", split="train")
```
"""

import tensorflow_datasets as tfds

from infoxlm_keras.sample_corpus import BUNDLED_CORPUS
from infoxlm_keras.sample_corpus.description import read_description
from infoxlm_keras.sample_corpus.storage import read_rows

SPLITS = {"train": "train", "test": "heldout"}


def _languages(corpus):
    listed = [entry["language"] for entry in read_description(corpus)["languages"]]
    return [language for language in listed if language != "en"]


class InfoxlmSampleCorpus(tfds.core.GeneratorBasedBuilder):
    """Paragraphs of LibreOffice's help in English and one other language; a configuration a language, `en-de`.

    Splits: `train`, and `test`, the held-out pairs, none of whose text is in `train`. Features: `en` and the other
    language, as `tfds.features.Translation`, and `page`, the help page that a paragraph stands on.

    Attributes:
        corpus: path, the folder that `infoxlm make-sample-corpus` makes.
    """

    corpus = BUNDLED_CORPUS
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "LibreOffice 7.4.7 help in 18 languages."}
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name=f"en-{language}", description=f"English and {language}.")
        for language in _languages(BUNDLED_CORPUS)
    ]

    def _info(self):
        languages = self.builder_config.name.split("-", 1)
        return self.dataset_info_from_configs(
            description=self.__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "page": tfds.features.Text(),
                    "translation": tfds.features.Translation(languages=languages),
                }
            ),
            homepage="https://www.libreoffice.org",
            license="MPL-2.0",
        )

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(self.corpus / folder) for split, folder in SPLITS.items()}

    def _generate_examples(self, folder):
        """Yields (line number, example) of the paragraphs that are translated."""
        _, language = self.builder_config.name.split("-", 1)
        for number, row in enumerate(read_rows(folder, [language])):
            if language in row.translations:
                texts = {"en": row.english, language: row.translations[language]}
                yield number, {"page": row.page, "translation": texts}
