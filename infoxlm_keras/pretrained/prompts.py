"""Prompts: texts that a model was trained to find before each query and each document, as in multilingual-e5.

They are kept by name in `PretrainingInfo.prompts`. Commands use two of them: that of queries, which are searched with,
and that of documents, which are found. Their tokens count in pooling.
"""

from typing import Any

from infoxlm_keras.errors import InputError
from infoxlm_keras.pretrained.information import PretrainingInfo

QUERY, DOCUMENT = "query", "document"
SIDES = (QUERY, DOCUMENT)
# Names of the prompt of documents, as sentence-transformers' `encode_document` looks for them.
_DOCUMENT_NAMES = (DOCUMENT, "passage", "corpus")


def prompt_text(info: PretrainingInfo | None, name: str | None) -> str:
    """The text of the prompt `name`; empty for None.

    Args:
        info: `PretrainingInfo` of the model, or None.
        name: str or None.

    Raises:
        InputError: if the model has no such prompt.
    """
    if name is None:
        return ""
    prompts = {} if info is None else info.prompts
    check_prompts(prompts)
    if name not in prompts:
        known = f"the model has {', '.join(prompts)}" if prompts else "the model has no prompts; leave it out"
        raise InputError(f"prompt {name!r}: no such prompt; {known}")
    return prompts[name]


def side_prompts(info: PretrainingInfo | None) -> dict[str, str]:
    """{"query": str, "document": str}: what stands before queries and before documents; empty if nothing does.

    Args:
        info: `PretrainingInfo` of the model, or None.
    """
    prompts = {} if info is None else info.prompts
    check_prompts(prompts)
    document = next((prompts[name] for name in _DOCUMENT_NAMES if name in prompts), "")
    found = {QUERY: prompts.get(QUERY, ""), DOCUMENT: document}
    return found if any(found.values()) else {}


def check_prompts(prompts: Any) -> None:
    """Raises `InputError` unless `prompts` are a dict of names with a text each."""
    if not isinstance(prompts, dict) or not all(isinstance(part, str) for pair in prompts.items() for part in pair):
        raise InputError(f"prompts = {prompts!r:.200}: must be a dict of names with a text each")
