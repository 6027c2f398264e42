"""The tasks of XTREME: which files each needs, its languages, its settings and what others have published.

Settings are those of XTREME's scripts for base models (github.com/google-research/xtreme, `scripts/train_*.sh`).
Published scores are those of github.com/CZWin32768/XLM-Align: transfer from English, in %.
"""

import dataclasses
from collections.abc import Mapping

from infoxlm_keras.evaluation.language_groups import TATOEBA_36

# What an address in `Split.pattern` may begin with.
ANYWHERE = r"(?:.*/)?"
PAWS = r"(?:x-final|paws-?x[^/]*)/(?:.*/)?"
XLMR, INFOXLM, XLM_ALIGN = "XLM-R base", "InfoXLM base", "XLM-Align base"
MODELS = (XLMR, INFOXLM, XLM_ALIGN)
POS_LANGUAGES = (
    *("af", "ar", "bg", "de", "el", "en", "es", "et", "eu", "fa", "fi", "fr", "he", "hi", "hu", "id", "it"),
    *("ja", "kk", "ko", "mr", "nl", "pt", "ru", "ta", "te", "th", "tl", "tr", "ur", "vi", "yo", "zh"),
)
NER_LANGUAGES = tuple(sorted({*POS_LANGUAGES, "bn", "jv", "ka", "ml", "ms", "my", "sw"}))


@dataclasses.dataclass(frozen=True)
class Split:
    """The files of one use in a task.

    Attributes:
        patterns: regular expressions of paths below the data folder, in lower case; of the first that any path
            matches, all matching paths are taken. A group `language` is the code of the file's language.
        named: str, the files as a user knows them.
        needed: bool, without them the task is not run.
    """

    patterns: tuple[str, ...]
    named: str
    needed: bool = True


@dataclasses.dataclass(frozen=True)
class XtremeTask:
    """One task.

    Attributes:
        title: str.
        kind: str, how it is run; see `infoxlm_keras.xtreme.plan`.
        scores: names of its scores, of which the first is the chief one.
        languages: codes of the languages of its published mean.
        splits: {name: `Split`}.
        settings: options of the fine-tuning command, {name: value}.
        published: {model: scores in %, as many as `scores`}.
    """

    title: str
    kind: str
    scores: tuple[str, ...]
    languages: tuple[str, ...]
    splits: Mapping[str, Split]
    settings: Mapping[str, float] = dataclasses.field(default_factory=dict)
    published: Mapping[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)


def _classification(folder, own):
    """Splits of a classification task.

    Its `own` names ({split: (pattern, as a user knows it)}), or `train-en.tsv` and the like in a `folder`.
    """

    def split(name, language, needed=True):
        pattern, named = own[name]
        other = rf"{ANYWHERE}{folder}[^/]*/(?:.*/)?{name}[.-]{language}\.(?:tsv|csv|jsonl|parquet)"
        return Split((ANYWHERE + pattern, other), named, needed)

    return {
        "train": split("train", "en"),
        "dev": split("dev", "en", needed=False),
        "test": split("test", "(?P<language>[a-z]{2})"),
    }


def _tagging(name, folder):
    """Splits of a tagging task in the forms of XTREME: `en/train`, `en-train`, `train-en.tsv`, `en/train.<model>`."""
    own = rf"{ANYWHERE}{folder}[^/]*/(?:.*/)?"

    def forms(split, language):
        code = rf"(?P<language>{language})"
        return (
            rf"{own}{code}/{split}(?:\.(?!.*\.idx$)[^/]*)?",
            rf"{own}{split}-{code}\.tsv",
            rf"{own}{code}-{split}",
        )

    return {
        "train": Split(forms("train", "en"), f"{name}/en/train"),
        "dev": Split(forms("dev", "en"), f"{name}/en/dev", needed=False),
        "test": Split(forms("test", "[a-z]{2}"), f"{name}/xx/test"),
    }


_UD = ANYWHERE + r"(?P<language>{})_[a-z0-9]+-ud-{}\.conllu"
_MLQA_TEST = ANYWHERE + r"test-context-{0}-question-{1}\.json"
_SQUAD = {
    "train": Split((ANYWHERE + r"train-v1\.1\.json",), "SQuAD's train-v1.1.json"),
    # It chooses nothing: XTREME takes the last update. So any English questions say how well the model answers. The
    # patterns are those of both tasks, since both share the trained model.
    "dev": Split(
        (ANYWHERE + r"dev-v1\.1\.json", ANYWHERE + r"xquad\.en\.json", _MLQA_TEST.format("en", "en")),
        "SQuAD's dev-v1.1.json or English test questions",
    ),
}
_QA_SETTINGS = {
    "learning_rate": 3e-5,
    "epochs": 3,
    "batch_size": 32,
    "accumulation_steps": 8,
    "max_length": 384,
    "stride": 128,
    "weight_decay": 1e-4,
    # 500 of SQuAD's about 8,300 updates.
    "warmup_share": 0.06,
}
_TEXT_SETTINGS = {
    "learning_rate": 2e-5,
    "epochs": 5,
    "batch_size": 32,
    "accumulation_steps": 4,
    "max_length": 128,
    "warmup_share": 0.0,
    "weight_decay": 0.0,
}
_QA_SCORES = ("f1", "exact_match")

TASKS: dict[str, XtremeTask] = {
    "xnli": XtremeTask(
        "XNLI",
        "classification",
        ("accuracy",),
        tuple("ar bg de el en es fr hi ru sw th tr ur vi zh".split()),
        _classification(
            "xnli",
            {
                "train": (r"multinli\.train\.en\.tsv", "multinli.train.en.tsv"),
                "dev": (r"xnli\.dev\.(?:tsv|jsonl)", "xnli.dev.tsv"),
                "test": (r"xnli\.test\.(?:tsv|jsonl)", "xnli.test.tsv"),
            },
        ),
        _TEXT_SETTINGS,
        {XLMR: (75.0,), INFOXLM: (76.5,), XLM_ALIGN: (76.2,)},
    ),
    "pawsx": XtremeTask(
        "PAWS-X",
        "classification",
        ("accuracy",),
        tuple("de en es fr ja ko zh".split()),
        _classification(
            "paws-?x",
            {
                "train": (PAWS + r"en/train\.tsv", "x-final/en/train.tsv"),
                "dev": (PAWS + r"en/dev_2k\.tsv", "x-final/en/dev_2k.tsv"),
                "test": (PAWS + r"(?P<language>[a-z]{2})/test_2k\.tsv", "x-final/xx/test_2k.tsv"),
            },
        ),
        _TEXT_SETTINGS,
        {XLMR: (84.9,), XLM_ALIGN: (86.8,)},
    ),
    "udpos": XtremeTask(
        "POS",
        "tagging",
        ("f1",),
        POS_LANGUAGES,
        {
            name: Split(
                (_UD.format("en" if name != "test" else "[a-z]{2,3}", name), *part.patterns),
                f"UD's {'en' if name != 'test' else 'xx'}_...-ud-{name}.conllu",
                part.needed,
            )
            for name, part in _tagging("udpos", "udpos").items()
        },
        {**_TEXT_SETTINGS, "epochs": 10},
        {XLMR: (75.6,), XLM_ALIGN: (76.0,)},
    ),
    "panx": XtremeTask(
        "NER",
        "tagging",
        ("f1",),
        NER_LANGUAGES,
        _tagging("panx", "(?:panx|wikiann)"),
        {**_TEXT_SETTINGS, "epochs": 10},
        {XLMR: (61.8,), XLM_ALIGN: (63.7,)},
    ),
    "xquad": XtremeTask(
        "XQuAD",
        "squad",
        _QA_SCORES,
        tuple("ar de el en es hi ru th tr vi zh".split()),
        {**_SQUAD, "test": Split((ANYWHERE + r"xquad\.(?P<language>[a-z]{2})\.json",), "xquad.xx.json")},
        _QA_SETTINGS,
        {XLMR: (71.9, 56.4), XLM_ALIGN: (74.7, 59.0)},
    ),
    "mlqa": XtremeTask(
        "MLQA",
        "squad",
        _QA_SCORES,
        tuple("ar de en es hi vi zh".split()),
        {
            **_SQUAD,
            "test": Split(
                (_MLQA_TEST.format("(?P<language>[a-z]{2})", "(?P=language)"),),
                "MLQA's test-context-xx-question-xx.json",
            ),
        },
        _QA_SETTINGS,
        {XLMR: (65.1, 47.2), INFOXLM: (68.1, 49.6), XLM_ALIGN: (68.1, 49.8)},
    ),
    "tydiqa": XtremeTask(
        "TyDiQA-GoldP",
        "qa",
        _QA_SCORES,
        tuple("ar bn en fi id ko ru sw te".split()),
        {
            "train": Split(
                (ANYWHERE + r"tydiqa\.(?:goldp\.)?en\.train\.json", ANYWHERE + r"tydiqa-goldp-v1\.[01]-train\.json"),
                "tydiqa.en.train.json or tydiqa-goldp-v1.1-train.json",
            ),
            "test": Split(
                (
                    ANYWHERE + r"tydiqa\.(?:goldp\.)?(?P<language>[a-z]{2})\.dev\.json",
                    ANYWHERE + r"tydiqa-goldp-v1\.[01]-dev\.json",
                ),
                "tydiqa.goldp.xx.dev.json or tydiqa-goldp-v1.1-dev.json",
            ),
        },
        {**_QA_SETTINGS, "warmup_share": 0.1},
        {XLMR: (55.4, 38.3), XLM_ALIGN: (62.1, 44.8)},
    ),
    "tatoeba": XtremeTask(
        "Tatoeba",
        "retrieval",
        ("accuracy",),
        TATOEBA_36,
        {
            "test": Split(
                (
                    ANYWHERE + r"tatoeba\.[a-z]{3}-eng\.[a-z]{3}",
                    ANYWHERE + r"tatoeba[^/]*/(?:.*/)?[a-z]{2}-en\.[a-z]{2}",
                ),
                "tatoeba.xxx-eng.xxx beside tatoeba.xxx-eng.eng",
            )
        },
    ),
    "bucc": XtremeTask(
        "BUCC",
        "mining",
        ("f1",),
        tuple("de fr ru zh".split()),
        {
            "dev": Split((ANYWHERE + r"(?P<language>[a-z]{2})-en\.(?:sample|dev)\.gold",), "xx-en.sample.gold"),
            "test": Split((ANYWHERE + r"(?P<language>[a-z]{2})-en\.(?:training|test)\.gold",), "xx-en.training.gold"),
        },
    ),
}
