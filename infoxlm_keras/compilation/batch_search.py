"""The largest micro-batch whose training step fits the memory of a chip."""

from infoxlm_keras.compilation.step import CompiledStep, DoesNotFitError, compile_step
from infoxlm_keras.compilation.targets import Target
from infoxlm_keras.config import RunSettings
from infoxlm_keras.errors import InputError
from infoxlm_keras.tasks.pretext_task import SampleLengths

MOST_ROWS = 1 << 12


def find_batch(
    config: RunSettings, target: Target, vocabulary_size: int, lengths: SampleLengths, strategy: str = "mirrored"
) -> tuple[RunSettings, CompiledStep]:
    """The largest batch size, the same for all tasks, whose step fits a chip's memory; to within a quarter.

    A size is a number of rows times the number of chips. The rows are doubled until a step does not fit (or to
    4,096), then the gap is halved. Each try is a compilation, and prints a line.

    Args:
        config, target, vocabulary_size, lengths, strategy: see `compile_step`; the batch sizes of `config` are not
            used.

    Returns:
        (`config` with the batch size, its compiled step).

    Raises:
        InputError: if the chip's memory is not known (a CPU), or not even one row on each chip fits.
    """
    if not target.chip.memory:
        raise InputError(f"--find_batch: {target.name} has no memory of its own; take a tpu: or gpu: target")

    def attempt(rows):
        batch_size = rows * target.chips
        sections = {
            name: config.task(name).model_copy(update={"batch_size": batch_size}) for name in config.batch_sizes
        }
        tried = config.model_copy(update=sections)
        try:
            compiled = compile_step(tried, target, vocabulary_size, lengths, strategy)
        except DoesNotFitError:
            compiled = None
        fits = compiled is not None and compiled.program.peak_bytes <= target.chip.memory
        print(f"  batch_size {batch_size}: {'fits' if fits else 'does not fit'}", flush=True)
        return (tried, compiled) if fits else None

    low, high, best = 0, 1, None
    while high <= MOST_ROWS and (found := attempt(high)) is not None:
        low, high, best = high, 2 * high, found
    if best is None:
        raise InputError(f"{target.name}: not even one row of each task on a chip fits its memory; take more chips")
    while high <= MOST_ROWS and high - low > max(1, low // 4):
        middle = (low + high) // 2
        found = attempt(middle)
        if found is None:
            high = middle
        else:
            low, best = middle, found
    return best
