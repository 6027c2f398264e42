"""Reads how a sentence-transformers folder computes its vectors.

    modules.json                          the modules in their order, each with its folder
    <transformer>/sentence_bert_config.json   the longest input, lower case
    <pooling>/config.json                 how the last hidden states are pooled
    config_sentence_transformers.json     prompts, truncated dimensions

The encoder of such a folder can always be read. Its vectors can be reproduced if they are the last hidden state,
pooled with "cls", "mean" or "max". Other modules (Dense, a weighted mean, a default prompt ...) raise an error when a
vector is requested.
"""

import dataclasses
import pathlib

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.choices import POOLINGS
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import read_json

MODULES_FILE = "modules.json"
SETTINGS_FILE = "config_sentence_transformers.json"
# Settings of the encoder that change its vectors, by the names of several releases.
_FURTHER_SETTINGS = ("processing_kwargs", "processor_kwargs", "tokenizer_args", "config_args", "config_kwargs")
# What the encoder hands on, as the library writes it.
_OUTPUTS = {
    "modality_config": {"method": "forward", "method_output_name": "last_hidden_state"},
    "module_output_name": "token_embeddings",
    "method_output_name": "last_hidden_state",
}
_SENTENCE = "sentence_embedding"
_TRANSFORMER_SETTINGS = tuple(
    f"sentence_{name}_config.json"
    for name in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
# Keys of releases before 5.4, one for each way of pooling.
_OLD_POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
# Acts during training only.
_IDLE_MODULES = ("Dropout",)
_SHORTEST_LENGTH = 3  # <s>, a token, </s>


class _Refusal(Exception):
    """Says why the folder's vectors cannot be reproduced."""


@dataclasses.dataclass(frozen=True)
class FolderVector:
    """The vectors of a sentence-transformers folder.

    Attributes:
        pooling: "cls", "mean" or "max", of the last hidden state.
        normalize: bool, whether they are scaled to unit length.
        max_length: int, tokens of the longest input with `<s>` and `</s>`; None: the encoder's positions.
        refusal: str, why they cannot be reproduced here, and empty if they can. With a refusal `pooling`, `normalize`
            and `max_length` have their defaults.
        prompts: {name: text}, prompts that are put before a text on request; empty if all texts are.
        prompts_refusal: str, why prompts of the folder cannot be reproduced here; else empty.
    """

    pooling: str = "mean"
    normalize: bool = False
    max_length: int | None = None
    refusal: str = ""
    prompts: dict[str, str] = dataclasses.field(default_factory=dict)
    prompts_refusal: str = ""


def transformer_directory(directory: PathLike) -> pathlib.Path:
    """The folder that holds the encoder of the sentence-transformers folder `directory`.

    Raises:
        InputError: if `modules.json` is damaged or names no Transformer that is there.
    """
    path = pathlib.Path(directory) / MODULES_FILE
    modules = _modules(path)
    for kind, folder in modules:
        if kind == "Transformer":
            if not folder.is_dir():
                raise InputError(f"{path}: names the folder {folder.name!r} of its Transformer, which does not exist")
            return folder
    kinds = ", ".join(kind for kind, _ in modules) or "nothing"
    raise InputError(f"{path}: lists {kinds}, but no Transformer, which would hold an XLM-R encoder")


def read_folder_vector(directory: PathLike) -> FolderVector:
    """The `FolderVector` of the sentence-transformers folder `directory`.

    Raises:
        InputError: if `modules.json` is damaged. Other problems are reported in the vector's `refusal`.
    """
    directory = pathlib.Path(directory)
    modules = _modules(directory / MODULES_FILE)
    prompts: dict[str, str] = {}
    prompts_refusal = ""
    try:
        settings = _settings(directory / SETTINGS_FILE)
        prompts = _prompts(settings, directory / SETTINGS_FILE)
        if prompts and not _includes_prompts(modules):
            prompts_refusal = (
                f"{directory}: its pooling leaves out the tokens of prompts, which cannot be expressed here"
            )
        _check_settings(settings, prompts, directory / SETTINGS_FILE)
        max_length = _max_length(transformer_directory(directory))
        pooling, normalize = _pooling_and_scale(modules, directory)
    except _Refusal as refusal:
        kept = {} if prompts_refusal else prompts
        return FolderVector(refusal=str(refusal), prompts=kept, prompts_refusal=prompts_refusal)
    kept = {} if prompts_refusal else prompts
    return FolderVector(pooling, normalize, max_length, prompts=kept, prompts_refusal=prompts_refusal)


def _modules(path):
    """(kind, folder) of each module: list of (str, path)."""
    content = read_json(path)
    modules = []
    for item in content if isinstance(content, list) else [None]:
        kind, folder = (item.get("type"), item.get("path")) if isinstance(item, dict) else (None, None)
        if not isinstance(kind, str) or not isinstance(folder, str):
            raise InputError(f"{path}: is not a list of modules with a type and a path each; fetch it again")
        if pathlib.PurePath(folder).is_absolute() or ".." in pathlib.PurePath(folder).parts:
            raise InputError(f"{path}: names the folder {folder!r}, which is not inside {path.parent}")
        modules.append((kind.rpartition(".")[2], path.parent / folder))
    return modules


def _pooling_and_scale(modules, directory):
    kinds = [kind for kind, _ in modules if kind not in _IDLE_MODULES]
    for kind in kinds:
        if kind not in ("Transformer", "Pooling", "Normalize"):
            raise _Refusal(f"{directory / MODULES_FILE}: its module {kind} cannot be expressed here")
    if kinds[:2] != ["Transformer", "Pooling"] or kinds[2:] not in ([], ["Normalize"]):
        raise _Refusal(
            f"{directory / MODULES_FILE}: lists {', '.join(kinds)}, but only Transformer, Pooling and Normalize in "
            "this order can be expressed here"
        )
    if "Normalize" in kinds:
        path = dict(reversed(modules))["Normalize"] / "config.json"
        scaled = _settings(path).get("module_input_name", _SENTENCE)
        if scaled != _SENTENCE:
            raise _Refusal(f"{path}: module_input_name = {scaled!r} cannot be expressed here, only {_SENTENCE!r}")
    path = dict(reversed(modules))["Pooling"] / "config.json"
    settings = _settings(path, required=True)
    pooling = _pooling(settings, path)
    if pooling not in POOLINGS:
        raise _Refusal(f"{path}: pooling {pooling!r} cannot be expressed here, only {', '.join(POOLINGS)}")
    return pooling, "Normalize" in kinds


def _includes_prompts(modules):
    """Whether each Pooling takes the tokens of prompts too."""
    return all(
        _settings(folder / "config.json").get("include_prompt", True) for kind, folder in modules if kind == "Pooling"
    )


def _pooling(settings, path):
    modes = settings.get("pooling_mode")
    if modes is None:
        # Without any of the old keys, and with none that is true, the library takes the mean.
        modes = [mode for key, mode in _OLD_POOLINGS.items() if settings.get(key)] or "mean"
    modes = [modes] if isinstance(modes, str) else modes
    if not isinstance(modes, list) or not modes or not all(isinstance(mode, str) for mode in modes):
        raise _Refusal(f"{path}: pooling_mode = {modes!r} is not understood")
    return " and ".join(modes)


def _max_length(directory):
    settings, path = {}, directory / _TRANSFORMER_SETTINGS[0]
    for name in _TRANSFORMER_SETTINGS:
        if (directory / name).exists():
            path = directory / name
            settings = _settings(path)
            break
    if settings.get("do_lower_case"):
        raise _Refusal(f"{path}: do_lower_case, text in lower case, cannot be expressed here")
    if settings.get("transformer_task", "feature-extraction") != "feature-extraction":
        raise _Refusal(f"{path}: transformer_task {settings['transformer_task']!r} cannot be expressed here")
    for name in _FURTHER_SETTINGS:
        if settings.get(name):
            raise _Refusal(f"{path}: {name}, {settings[name]!r:.80}, cannot be expressed here")
    modalities = settings.get("modality_config")
    text = modalities.get("text") if isinstance(modalities, dict) else None
    outputs = {"modality_config": text, **{name: settings.get(name) for name in _OUTPUTS if name != "modality_config"}}
    for name, value in outputs.items():
        if value not in (None, _OUTPUTS[name]):
            raise _Refusal(f"{path}: {name} = {value!r:.80} cannot be expressed here, only {_OUTPUTS[name]!r}")
    tokenizer_path = directory / "tokenizer_config.json"
    tokenizer = _settings(tokenizer_path)
    if tokenizer.get("truncation_side", "right") != "right":
        raise _Refusal(f"{tokenizer_path}: long texts are cut at their beginning, which cannot be expressed here")
    length = settings.get("max_seq_length")
    if length is None:
        # transformers writes 1e30, a float in some releases, for "no limit".
        length = tokenizer.get("model_max_length")
        if length is None or (isinstance(length, int | float) and length > 10**9):
            return None
        path = tokenizer_path
    if not isinstance(length, int) or isinstance(length, bool) or length < _SHORTEST_LENGTH:
        raise _Refusal(f"{path}: a longest input of {length!r} tokens is not understood")
    return length


def _prompts(settings, path):
    """{name: text}; empty if no text is."""
    prompts = settings.get("prompts") or {}
    # A prompt without text is null in some releases.
    texts = {name: "" if text is None else text for name, text in prompts.items()} if isinstance(prompts, dict) else {}
    if not isinstance(prompts, dict) or not all(isinstance(text, str) for text in texts.values()):
        raise _Refusal(f"{path}: prompts = {prompts!r} are not understood")
    return texts if any(texts.values()) else {}


def _check_settings(settings, prompts, path):
    if settings.get("truncate_dim") is not None:
        raise _Refusal(f"{path}: truncate_dim = {settings['truncate_dim']!r} cannot be expressed here")
    default = settings.get("default_prompt_name")
    if not isinstance(default, str | None):
        raise _Refusal(f"{path}: default_prompt_name = {default!r} is not understood")
    if default is not None and prompts.get(default):
        raise _Refusal(
            f"{path}: the default prompt {prompts[default]!r}, put before every text, cannot be expressed here; with "
            f"--pooling, vectors are without it, and in Python encode(texts, pooling=..., prompt={default!r}) has it"
        )


def _settings(path, required=False):
    """The dict in a JSON file; empty for a file that is not there unless `required`."""
    if not path.exists() and not path.is_symlink():
        if required:
            raise _Refusal(f"{path}: no such file")
        return {}
    try:
        content = read_json(path)
    except InputError as error:
        raise _Refusal(str(error)) from None
    if not isinstance(content, dict):
        raise _Refusal(f"{path}: holds no settings")
    return content
