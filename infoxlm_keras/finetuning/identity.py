"""What a fine-tuning run was made of: it is continued and reused with the same model, data and settings only."""

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from infoxlm_keras.finetuning.head import FineTuningHead
    from infoxlm_keras.finetuning.settings import FineTuningSettings

# Fields of samples that say where they were read; the same samples may lie in other files.
OF_FILES = ("files", "reasons", "places", "lines", "misplaced", "left_out", "negatives_left_out", "remarks")
DATA = ("training", "development", "test")


def run_identity(head: "FineTuningHead", settings: "FineTuningSettings", model: str) -> dict[str, Any]:
    """What a run is made of, a dict that is ready for JSON.

    Args:
        head: `FineTuningHead` with its data.
        settings: `FineTuningSettings`.
        model: str, `infoxlm_keras.pretrained.digest.model_digest` of the model that is trained.

    Returns:
        `{"settings": dict, "model": str, "training": str, "development": str, "test": str}`, the last three SHA-256;
        with `"sources"`, {name: SHA-256}, if training reads more than that.
    """
    data = {name: digest(getattr(head, name)) for name in DATA}
    sources = head.sources(settings)
    further = {"sources": sources} if sources else {}
    return {"settings": dataclasses.asdict(settings), "model": model, **data, **further}


def differences(settings: "FineTuningSettings", now: Mapping[str, Any], before: Mapping[str, Any]) -> list[str]:
    """What differs between two results of `run_identity`, list of str; `settings` are those of `now`."""
    found = settings.differences(before["settings"])
    found += ["the model was another"] if before.get("model") != now["model"] else []
    found += [f"the {name} samples were others" for name in DATA if before.get(name) != now[name]]
    old, new = before.get("sources", {}), now.get("sources", {})
    return found + [
        f"the vectors of {name} were others" for name in sorted({*old, *new}) if old.get(name) != new.get(name)
    ]


def digest(parts: Iterable[Any]) -> str:
    """SHA-256 of the samples of all languages, wherever they were read, in hexadecimal."""
    found = hashlib.sha256()
    for part in parts:
        for name, value in sorted(vars(part).items()):
            if name not in OF_FILES:
                found.update(f"{name} {value!r}\n".encode("utf-8", "surrogatepass"))
    return found.hexdigest()
