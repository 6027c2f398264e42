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
        with `"sources"`, dict, if training reads more than that, and `"resolved"`, dict, if the model decides
        settings that are unset.
    """
    data = {name: digest(getattr(head, name)) for name in DATA}
    further = {"sources": head.sources(settings), "resolved": head.resolved(settings)}
    found = {"settings": dataclasses.asdict(settings), "model": model, **data}
    return {**found, **{name: values for name, values in further.items() if values}}


def differences(settings: "FineTuningSettings", now: Mapping[str, Any], before: Mapping[str, Any]) -> list[str]:
    """What differs between two results of `run_identity`, list of str; `settings` are those of `now`."""
    found = settings.differences(before["settings"])
    found += ["the model was another"] if before.get("model") != now["model"] else []
    found += [f"the {name} samples were others" for name in DATA if before.get(name) != now[name]]
    # Runs of earlier releases do not say what their model decided.
    old, new = before.get("resolved", {}), now.get("resolved", {})
    found += [_changed(name, old[name], new[name]) for name in new if name in old and old[name] != new[name]]
    old, new = before.get("sources", {}), now.get("sources", {})
    if old.keys() & {"guide_query", "guide_document"} or isinstance(old.get("teacher"), str):
        return [
            *found,
            "an earlier release started it and kept digests of the computed vectors of guide or teacher, which this "
            "one does not compare (that release continues it)",
        ]
    return found + [line for name in sorted({*old, *new}) for line in _differing(name, old.get(name), new.get(name))]


def _differing(name, before, now):
    """What differs between two entries of `FineTuningHead.sources`, list of str."""
    if before == now:
        return []
    if not isinstance(before, dict) or not isinstance(now, dict) or before.get("model") != now.get("model"):
        return [f"the {name} was another"]
    names = [part for part in {**before, **now} if before.get(part) != now.get(part)]
    return [_changed(f"{part} of the {name}", before.get(part), now.get(part)) for part in names]


def _changed(name, before, now):
    return f"{name} was {before!r} and is {now!r}"


def digest(parts: Iterable[Any]) -> str:
    """SHA-256 of the samples of all languages, wherever they were read, in hexadecimal."""
    found = hashlib.sha256()
    for part in parts:
        for name, value in sorted(vars(part).items()):
            if name not in OF_FILES:
                found.update(f"{name} {value!r}\n".encode("utf-8", "surrogatepass"))
    return found.hexdigest()
