"""A pre-training run from configuration to saved model: build, fill the queue, `model.fit`, save."""

import dataclasses
import hashlib
import pathlib

import keras
import numpy as np

from infoxlm_keras.config import dump_config
from infoxlm_keras.data.manifest import read_manifest
from infoxlm_keras.distribution import current_distribution, is_chief
from infoxlm_keras.distribution.agreement import check_agreement
from infoxlm_keras.distribution.inputs import distribute_batches
from infoxlm_keras.distribution.strategies import check_batches
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import read_text, write_atomically
from infoxlm_keras.models import build_masked_lm, default_universal_layer, with_dropout
from infoxlm_keras.pretrained import PretrainingInfo, load_pretrained, save_pretrained
from infoxlm_keras.progress import progress_bar
from infoxlm_keras.tokenizer import load_tokenizer
from infoxlm_keras.training.assemble import build_pretrainer, build_streams
from infoxlm_keras.training.callbacks import Checkpoints, IntervalLog, StopAfterSkips
from infoxlm_keras.training.checkpoint import restore_newest
from infoxlm_keras.training.history import HistoryFile, ProgressBar, TensorBoardLog


@dataclasses.dataclass
class RunResult:
    """What a run leaves: the last interval's record, the step reached, and the preset directory."""

    record: dict
    step: int
    model_directory: pathlib.Path


def pretrain(config, data_dir, output_dir, init=None):
    """Runs, or resumes, pre-training, on what `current_distribution()` says.

    Several workers run this with the same arguments and see the same directories; the chief alone writes.

    Args:
        config: `PretrainingConfig`.
        data_dir: str or path, the builders' output.
        output_dir: str or path. Holds `config.yaml`, `checkpoints/`, `history.csv`, `tensorboard/` and, at the end,
            the preset `model/`. If it holds checkpoints of the same configuration, the run goes on from the newest.
        init: optional model to start from, all that `load_pretrained` takes; None starts from random weights.

    Returns:
        `RunResult`.

    Raises:
        InputError: for records or a model that do not fit the configuration, or an output directory of another run.
    """
    output_dir = pathlib.Path(output_dir)
    check_batches(config, current_distribution())
    _check_same_run(config, output_dir)
    seed_everything(config.seed, compiled=config.jit_compile)
    with current_distribution().variables():
        masked_lm, tokenizer = _starting_point(config, data_dir, init)
    streams = build_streams(config, data_dir, tokenizer, masked_lm.backbone.max_sequence_length)
    with current_distribution().variables():
        pretrainer = build_pretrainer(config, masked_lm)

    if is_chief():
        output_dir.mkdir(parents=True, exist_ok=True)
        write_atomically(output_dir / "config.yaml", dump_config(config))
    info = _info(config, pretrainer, tokenizer, data_dir)
    start_step = restore_newest(output_dir / "checkpoints", pretrainer)
    check_agreement(start_step or 0, "the step to resume at; all of them must see the same --output_dir")
    if start_step is None:
        start_step = 0
        if config.save_initial_model and is_chief():
            save_pretrained(output_dir / "initial_model", masked_lm, tokenizer, info, replace=True)
        if "xlco" in config.tasks:
            _warn_of_short_corpus(config, data_dir)
            fill_queue(pretrainer, _filling_batches(config, data_dir, tokenizer, masked_lm))
    else:
        print(f"resuming at step {start_step} of {config.steps}")
    if start_step < config.steps:
        _fit(pretrainer, config, streams, output_dir, start_step)
    info = dataclasses.replace(info, steps=config.steps)
    if is_chief():
        save_pretrained(output_dir / "model", masked_lm, tokenizer, info, replace=True)
    check_agreement(config.steps, "the last step")
    rows = HistoryFile(output_dir / "history.csv", config.steps).rows
    return RunResult(rows[-1] if rows else {}, config.steps, output_dir / "model")


def seed_everything(seed, compiled):
    """Seeds Keras, Python and NumPy, and makes TensorFlow's kernels deterministic: one seed, one result.

    Args:
        seed: int.
        compiled: bool, whether the step is compiled by XLA, which is deterministic on the CPU as it is; Keras
            compiles nothing once TensorFlow's own deterministic kernels are asked for.
    """
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow" and not compiled:
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def fill_queue(pretrainer, batches):
    """Fills the queue of past keys with the key encoder, before the first step.

    Args:
        pretrainer: `InfoXLMPretrainer` with the task `xlco`.
        batches: iterable of batches `{"xlco": ...}`, enough for the whole queue; under a `tf.distribute.Strategy` a
            data set.
    """
    length = pretrainer.task("xlco").queue_length
    enqueue = _compiled_enqueue(pretrainer)
    iterator = iter(distribute_batches(batches, pretrainer.accumulation_steps))
    with progress_bar("filling the queue", total=length, unit="keys") as advance:
        filled = 0
        while filled < length:
            added = int(enqueue(next(iterator)))
            filled += added
            advance(added, units=added)


def _compiled_enqueue(pretrainer):
    if keras.backend.backend() != "tensorflow":
        # The stream's tensors are TensorFlow's, which other backends take by way of NumPy.
        return lambda batch: pretrainer.enqueue_keys(keras.tree.map_structure(np.asarray, batch))
    import tensorflow as tf

    strategy = pretrainer.distribute_strategy

    @tf.function(reduce_retracing=True, autograph=False)
    def enqueue(batch):
        return strategy.experimental_local_results(strategy.run(pretrainer.enqueue_keys, (batch,)))[0]

    return enqueue


def _fit(pretrainer, config, streams, output_dir, start_step):
    from infoxlm_keras.data.streams import joined_dataset

    writers = []
    callbacks = [
        StopAfterSkips(config.max_consecutive_skips, start_step),
        IntervalLog(writers, start_step, config.steps, config.log_every),
    ]
    if is_chief():
        writers += [
            HistoryFile(output_dir / "history.csv", start_step),
            TensorBoardLog(output_dir / "tensorboard"),
            ProgressBar(config.steps, start_step),
        ]
        info = {"seed": config.seed, "tasks": config.tasks}
        callbacks.append(
            Checkpoints(output_dir / "checkpoints", start_step, config.save_every, config.keep_checkpoints, info)
        )
    dataset = joined_dataset(streams, start_step).map(lambda batch: (batch,))
    # One epoch of all steps left: an endless dataset and a known number of steps, so that nothing runs once more.
    pretrainer.fit(
        dataset, epochs=1, steps_per_epoch=config.steps - start_step, verbose=0, shuffle=False, callbacks=callbacks
    )


def _starting_point(config, data_dir, init):
    if init is None:
        manifest = read_manifest(data_dir, "mmlm" if "mmlm" in config.tasks else "bitext")
        tokenizer = load_tokenizer(manifest.directory / manifest.tokenizer.file)
        dropout = 0.1 if config.model.dropout is None else config.model.dropout
        masked_lm = build_masked_lm(
            config.model.encoder_size, tokenizer.vocabulary_size, dropout=dropout, dtype=config.model.dtype
        )
        return masked_lm, tokenizer
    model = load_pretrained(init, dtype=config.model.dtype)
    if not model.has_head:
        print(f"warning: {init} holds no masked-LM head: MMLM and TLM begin with a random one")
    return with_dropout(model.masked_lm, config.model.dropout or 0.0), model.tokenizer


def _filling_batches(config, data_dir, tokenizer, masked_lm):
    """The XLCO stream under another seed: training does not begin with the pairs whose keys fill the queue."""
    from infoxlm_keras.data.streams import joined_dataset

    only_xlco = config.model_copy(update={"tasks": ["xlco"]})
    streams = build_streams(
        only_xlco, data_dir, tokenizer, masked_lm.backbone.max_sequence_length, seed=config.seed + 1_000_003
    )
    return joined_dataset(streams)


def _warn_of_short_corpus(config, data_dir):
    pairs = sum(stream.records for stream in read_manifest(data_dir, "bitext").streams)
    if config.xlco.queue_length > pairs:
        print(
            f"warning: xlco.queue_length = {config.xlco.queue_length} exceeds the {pairs} distinct pairs: the queue "
            "will hold keys of the same pair (false negatives); lower it"
        )


def _info(config, pretrainer, tokenizer, data_dir):
    layers = pretrainer.backbone.num_layers
    kinds = sorted({"mmlm" if name == "mmlm" else "bitext" for name in config.tasks})
    paths = {kind: pathlib.Path(data_dir) / kind / "manifest.json" for kind in kinds}
    return PretrainingInfo(
        universal_layer=config.xlco.universal_layer or default_universal_layer(layers),
        pooling=config.xlco.pooling,
        normalize=config.xlco.normalize,
        tasks=list(config.tasks),
        tokenizer_fingerprint=tokenizer.fingerprint,
        data={kind: "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest() for kind, path in paths.items()},
        settings=config.model_dump(),
    )


def _check_same_run(config, output_dir):
    path = output_dir / "config.yaml"
    if (output_dir / "checkpoints").is_dir() and path.is_file() and read_text(path) != dump_config(config):
        raise InputError(
            f"{output_dir}: holds a run of another configuration ({path}); resume it with that configuration, or give "
            "a new --output_dir"
        )
