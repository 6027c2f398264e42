"""The sampling probability of each language, which `language_exponent` computes from the sizes of the corpus."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from infoxlm_keras.data.streams import BitextStream, MonolingualStream


def language_probabilities_of(
    streams: "Sequence[MonolingualStream | BitextStream]", steps: int
) -> dict[str, dict[str, dict[str, float]]]:
    """The effective sampling probabilities of a run.

    Args:
        streams: list of streams; one that draws by no `LanguageMixture` (an own one of a task) is left out.
        steps: int, of the whole run.

    Returns:
        {task: {language: {"probability", "records", "epochs"}}}: `records` is the number of records of the language,
        and `epochs` how often the run reads each on average. A value far above 1 means that a small language is
        repeated.
    """
    return {
        str(stream.name): _of_stream(stream, steps)
        for stream in streams
        if hasattr(stream, "mixture") or hasattr(stream, "mixtures")
    }


def probabilities_table(probabilities: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """A Markdown table of `language_probabilities_of`'s result."""
    lines = ["| task | language | probability | records | epochs |", "|---|---|---:|---:|---:|"]
    for task, languages in probabilities.items():
        for name, found in languages.items():
            lines.append(
                f"| {task} | {name} | {found['probability']:.4f} | {found['records']} | {found['epochs']:.2f} |"
            )
    return "\n".join(lines)


def _of_stream(stream, steps):
    mixtures = getattr(stream, "mixtures", None) or [stream.mixture]
    shares = [1.0] if not hasattr(stream, "bucket_schedule") else _shares(stream.bucket_schedule)
    drawn = steps * stream.batch_size * getattr(stream, "pairs_per_sample", 1)
    found: dict[str, dict[str, float]] = {}
    for mixture, share in zip(mixtures, shares, strict=True):
        for known, probability in zip(mixture.parts, _shares(mixture.schedule), strict=True):
            entry = found.setdefault(known.name, {"probability": 0.0, "records": 0})
            entry["probability"] += share * probability
            entry["records"] += known.records
    for entry in found.values():
        entry["epochs"] = drawn * entry["probability"] / entry["records"]
    return dict(sorted(found.items()))


def _shares(schedule):
    """The probabilities that a `StratifiedSchedule` draws by, list of float."""
    from infoxlm_keras.data.order import MODULUS

    edges = [0, *schedule.edges.tolist()]
    return [(after - before) / MODULUS for before, after in zip(edges, edges[1:], strict=False)]
