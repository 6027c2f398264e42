"""From a configuration to the objects it describes."""

from infoxlm_keras.contrast import MomentumSchedule
from infoxlm_keras.distribution import current_distribution
from infoxlm_keras.errors import InputError
from infoxlm_keras.tasks import MMLM, TLM, XLCO
from infoxlm_keras.training.optimizer import build_optimizer
from infoxlm_keras.training.pretrainer import InfoXLMPretrainer

# Settings of the xlco section that shape the data, not the task.
_XLCO_DATA_SETTINGS = {"batch_size", "mixup", "mask_inputs", "momentum"}


def build_task(name, config):
    """The pretext task `name` as `config` (`PretrainingConfig`) sets it."""
    if name == "mmlm":
        return MMLM(weight=config.mmlm.weight)
    if name == "tlm":
        return TLM(weight=config.tlm.weight)
    settings = config.xlco.model_dump(exclude=_XLCO_DATA_SETTINGS)
    return XLCO(momentum=MomentumSchedule(**config.xlco.momentum.model_dump()), **settings)


def build_pretrainer(config, masked_lm):
    """A compiled `InfoXLMPretrainer` of `masked_lm` with the tasks and the optimizer of `config`.

    Call it, and what makes `masked_lm`, within the `variables()` of the run's `Distribution`.
    """
    pretrainer = InfoXLMPretrainer(
        masked_lm,
        [build_task(name, config) for name in config.tasks],
        loss_combination=config.loss_combination,
        accumulation_steps=config.optimizer.accumulation_steps,
        clip_norm=config.optimizer.clip_norm,
    )
    settings = config.optimizer.model_dump(exclude={"clip_norm", "accumulation_steps"})
    pretrainer.compile(
        optimizer=build_optimizer(total_steps=config.steps, **settings),
        # Whatever a TPU runs is compiled, and it takes no further request.
        jit_compile=config.jit_compile and current_distribution().name != "tpu",
        steps_per_execution=config.steps_per_execution,
    )
    return pretrainer


def build_streams(config, data_dir, tokenizer, max_sequence_length, seed=None, split="train"):
    """The streams of `config.tasks`, checked against tokenizer and model.

    Args:
        config: `PretrainingConfig`.
        data_dir: str or path, the builders' output.
        tokenizer: `Tokenizer` of the model; records of another are refused.
        max_sequence_length: int, positions of the model.
        seed: optional int instead of `config.seed`.
        split: "train" or "validation"; `config.data.validation_records` says what is held out.

    Returns:
        list of streams for `joined_dataset`.

    Raises:
        InputError: if the records of a task are missing, were made with another tokenizer, or are too long.
    """
    from infoxlm_keras.records.manifest import check_tokenizer, read_manifest
    from infoxlm_keras.data.masking import Masking
    from infoxlm_keras.data.streams import MonolingualStream, TLMStream, XLCOStream

    seed = config.seed if seed is None else seed
    common = {
        "vocabulary_size": tokenizer.vocabulary_size,
        "seed": seed,
        "language_exponent": config.data.language_exponent,
        "masking": Masking(**config.masking.model_dump()),
        "split": split,
        "validation_records": config.data.validation_records,
    }
    manifests = {kind: read_manifest(data_dir, kind) for kind in sorted({_kind(name) for name in config.tasks})}
    for manifest in manifests.values():
        check_tokenizer(manifest, tokenizer)
    streams = []
    for name in config.tasks:
        manifest = manifests[_kind(name)]
        micro_batches = config.optimizer.accumulation_steps
        if name == "mmlm":
            remedy = "build them with a shorter --sequence_length"
            _check_length(manifest.sequence_length, max_sequence_length, f"{data_dir}/mmlm: blocks", remedy)
            streams.append(MonolingualStream(manifest, config.mmlm.batch_size * micro_batches, **common))
            continue
        longest = config.data.longest_pair
        read = [stream.length for stream in manifest.streams if longest is None or stream.length <= longest]
        longest_joined = 2 * max(read, default=0) + 3
        remedy = f"leave out long pairs by --set data.longest_pair={max((max_sequence_length - 3) // 2, 1)} or less"
        _check_length(longest_joined, max_sequence_length, f"{data_dir}/bitext: pairs joined", remedy)
        if name == "tlm":
            streams.append(TLMStream(manifest, config.tlm.batch_size * micro_batches, longest=longest, **common))
        else:
            batch_size = config.xlco.batch_size * micro_batches
            options = {"mixup": config.xlco.mixup, "mask_inputs": config.xlco.mask_inputs, "longest": longest}
            streams.append(XLCOStream(manifest, batch_size, **options, **common))
    return streams


def _kind(task_name):
    return "mmlm" if task_name == "mmlm" else "bitext"


def _check_length(length, limit, what, remedy):
    if length > limit:
        raise InputError(
            f"{what} have {length} tokens, but the model has {limit} positions; {remedy}, or train a model with more "
            f"(without --init: --set model.max_sequence_length={length})"
        )
