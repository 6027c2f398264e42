"""`MTEBModel`, measured by `mteb` itself on tasks that are made here."""

import numpy as np
import pytest

from infoxlm_keras import PretrainedModel, PretrainingInfo, load_pretrained
from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation import retrieval_accuracy
from infoxlm_keras.pretrained import MTEBModel
from sample_text import sentences

COUNT = 40
# Sentences and what is to be found for them: without their last word, or their first.
PAIRS = {
    "eng-deu": (sentences("en", COUNT), [" ".join(text.split()[:-1]) for text in sentences("en", COUNT)]),
    "eng-zho": (sentences("en", COUNT), [" ".join(text.split()[1:]) for text in sentences("en", COUNT)]),
}


@pytest.fixture(scope="module")
def mteb(tmp_path_factory):
    import mteb

    return mteb


@pytest.fixture(scope="module")
def tasks(mteb):
    """(bitext mining with two subsets, classification), data sets that mteb has not."""
    import datasets
    from mteb.abstasks.classification import AbsTaskClassification
    from mteb.abstasks.task_metadata import TaskMetadata
    from mteb.abstasks.text.bitext_mining import AbsTaskBitextMining

    def described(name, kind, score, languages):
        return TaskMetadata(
            name=name,
            description="made on the spot",
            dataset={"path": "made/here", "revision": "1"},
            type=kind,
            category="t2t",
            modalities=["text"],
            eval_splits=["test"],
            eval_langs=languages,
            main_score=score,
            reference=None,
            date=None,
            domains=None,
            task_subtypes=None,
            license=None,
            annotations_creators=None,
            dialect=None,
            sample_creation=None,
            bibtex_citation=None,
        )

    languages = {name: [f"{code}-Latn" for code in name.split("-")] for name in PAIRS}

    class MadeBitext(AbsTaskBitextMining):
        metadata = described("MadeBitext", "BitextMining", "f1", languages)

        def load_data(self, **_):
            self.dataset = {
                name: {"test": datasets.Dataset.from_dict({"sentence1": one, "sentence2": other})}
                for name, (one, other) in PAIRS.items()
            }
            self.data_loaded = True

    class MadeClassification(AbsTaskClassification):
        metadata = described("MadeClassification", "Classification", "accuracy", ["eng-Latn"])
        n_experiments = 2
        samples_per_label = 8

        def load_data(self, **_):
            texts = [*sentences("en", COUNT), *sentences("zh", COUNT)]
            table = datasets.Dataset.from_dict({"text": texts, "label": [0] * COUNT + [1] * COUNT})
            self.dataset = datasets.DatasetDict({"train": table, "test": table})
            self.data_loaded = True

    return MadeBitext(), MadeClassification()


def scores_of(result):
    """{subset: {score: float}} of the one task of an `mteb.evaluate` result."""
    (task,) = result.task_results
    return {row["hf_subset"]: row for row in task.scores["test"]}


@pytest.mark.filterwarnings("ignore:To copy construct from a tensor:UserWarning")
def test_mteb_mines_what_retrieval_finds(mteb, tasks, tiny_preset):
    model = MTEBModel(tiny_preset, layer=0)
    scores = scores_of(mteb.evaluate(model, tasks[0], cache=None, show_progress_bar=False))
    ours = load_pretrained(tiny_preset)
    for name, (one, other) in PAIRS.items():
        source, target = (ours.encode(texts, layer=0) for texts in (one, other))
        assert scores[name]["accuracy"] == pytest.approx(retrieval_accuracy(source, target)[0], abs=1e-9)
        assert (
            3 / COUNT < scores[name]["accuracy"] < 1
        )  # far above chance, which a wrong order of the vectors would give


@pytest.mark.filterwarnings("ignore:To copy construct from a tensor:UserWarning")
def test_other_tasks_take_it_too(mteb, tasks, tiny_preset):
    scores = scores_of(mteb.evaluate(MTEBModel(tiny_preset), tasks[1], cache=None, show_progress_bar=False))
    assert scores["default"]["accuracy"] > 0.65  # chance is 0.5; English beside Chinese


def test_results_are_kept_for_the_same_vectors_only(tiny_masked_lm, tokenizer, tiny_preset):
    model = PretrainedModel(tiny_masked_lm, tokenizer, PretrainingInfo(universal_layer=1))
    meta = MTEBModel(model, name="org/here").mteb_model_meta
    assert meta.name == "org/here" and meta.embed_dim == 8 and meta.max_tokens == 64
    # The same weights from a file.
    assert MTEBModel(tiny_preset).mteb_model_meta.revision == meta.revision
    assert MTEBModel(tiny_preset).mteb_model_meta.name == "/".join(tiny_preset.parts[-2:])
    others = [MTEBModel(model, layer=2), MTEBModel(model, pooling="cls")]
    changed = load_pretrained(tiny_preset)
    weight = changed.backbone.weights[-1]
    weight.assign(weight.value + np.float32(1e-3))
    revisions = {other.mteb_model_meta.revision for other in (*others, MTEBModel(changed))}
    assert len(revisions) == 3 and meta.revision not in revisions


def test_queries_and_documents_take_their_prompts(mteb, tiny_masked_lm, tokenizer):
    from mteb.types import PromptType

    prompts = {"query": "query: ", "passage": "passage: ", "other": "x "}
    prompted = PretrainedModel(tiny_masked_lm, tokenizer, PretrainingInfo(universal_layer=1, prompts=prompts))
    plain = PretrainedModel(tiny_masked_lm, tokenizer, PretrainingInfo(universal_layer=1))
    texts = sentences("en", 4)
    for model, query, document in ((prompted, "query", "passage"), (plain, None, None)):
        kinds = {PromptType.query: query, PromptType.document: document, None: None}
        for kind, prompt in kinds.items():
            vectors = MTEBModel(model).encode([{"text": texts}], task_metadata=None, prompt_type=kind)
            np.testing.assert_array_equal(vectors, model.encode(texts, prompt=prompt))
    revisions = [MTEBModel(model).mteb_model_meta.revision for model in (prompted, plain)]
    assert revisions[0].startswith(f"{revisions[1]}-prompts")
    assert [MTEBModel(model).mteb_model_meta.use_instructions for model in (prompted, plain)] == [True, False]


def test_without_mteb_the_extra_is_named(tiny_preset, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "mteb", None)
    with pytest.raises(InputError, match=r'needs mteb: pip install "infoxlm_keras\[mteb\]"'):
        MTEBModel(tiny_preset)
