"""The samples that a skipped step read, in one line."""

from typing import Any


def describe_samples(samples: dict[str, list[dict[str, Any]]]) -> str:
    """One line of what `samples_of_steps` found: ranges of samples, and how many records of each language."""
    parts = []
    for task, runs in samples.items():
        for run in runs:
            counts = {name: sum(map(len, shards.values())) for name, shards in run["records"].items()}
            languages = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
            of_length = "" if run["length"] is None else f" of length {run['length']}"
            read = f" ({languages})" if languages else ""
            parts.append(f"{task} samples {run['first_sample']}..{run['last_sample']}{of_length}{read}")
    return "; ".join(parts) or "unknown samples"
