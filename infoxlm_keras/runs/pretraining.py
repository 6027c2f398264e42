"""A pre-training run from configuration to saved model: build, fill the queue, `model.fit`, save."""

import contextlib
import dataclasses
import hashlib
import pathlib

import keras
import numpy as np

from infoxlm_keras.records.manifest import read_manifest
from infoxlm_keras.distribution import current_distribution, is_chief
from infoxlm_keras.distribution.agreement import check_agreement
from infoxlm_keras.distribution.inputs import distribute_batches
from infoxlm_keras.distribution.strategies import check_batches
from infoxlm_keras.errors import InputError
from infoxlm_keras.models import build_masked_lm, default_universal_layer, with_dropout
from infoxlm_keras.pretrained import PretrainingInfo, load_pretrained, save_pretrained
from infoxlm_keras.progress import progress_bar
from infoxlm_keras.conversion.tokenizers import load_tokenizer
from infoxlm_keras.runs.assemble import build_pretrainer, build_streams
from infoxlm_keras.runs.checkpoint import newest_step, restore_best, restore_newest
from infoxlm_keras.runs.fitting import best_by, fit, has_validation
from infoxlm_keras.reports.history import read_rows
from infoxlm_keras.runs.directory import check_output_dir, claimed, start_over, write_config
from infoxlm_keras.reports.wandb_log import import_wandb


@dataclasses.dataclass
class RunResult:
    """What a run leaves.

    Attributes:
        record: dict, the numbers of the last row of history.csv.
        step: int, steps done.
        model_directory: path of the preset; None if the run was stopped.
        stopped_by: name of the signal that stopped the run before its last step, else None.
        best: None, or `{"name", "value", "step"}` of the best checkpoint, whose weights are the preset `best_model/`.
    """

    record: dict
    step: int
    model_directory: pathlib.Path | None
    stopped_by: str | None = None
    best: dict | None = None


def pretrain(config, data_dir, output_dir, init=None, fresh=False, overwrite=False, wandb_project=None):
    """Runs, or resumes, pre-training, on what `current_distribution()` says.

    Several workers run this with the same arguments and see the same directories; the chief alone writes.

    Args:
        config: `PretrainingConfig`.
        data_dir: str or path, the builders' output.
        output_dir: str or path. Holds `config.yaml`, `checkpoints/`, `history.csv`, `tensorboard/`, `plots/` and, at
            the end, the preset `model/`. If it holds checkpoints of this run, it goes on from the newest intact one.
        init: optional model to start from, all that `load_pretrained` takes; None starts from random weights.
        fresh: bool, start at step 0; an error if `output_dir` holds a run.
        overwrite: bool, with `fresh`: remove that run, once everything for the new one is known to be in order.
        wandb_project: optional name of a Weights & Biases project.

    Returns:
        `RunResult`.

    Raises:
        InputError: for records or a model that do not fit the configuration, or an output directory of another run.
    """
    output_dir = pathlib.Path(output_dir)
    check_batches(config, current_distribution())
    changes = check_output_dir(output_dir, config, fresh, overwrite)
    if wandb_project is not None:
        import_wandb()
    pair_sets = _pair_sets(config)
    best_name = best_by(config, pair_sets)
    seed_everything(config.seed, compiled=config.jit_compile)
    with current_distribution().variables():
        masked_lm, tokenizer = _starting_point(config, data_dir, init)
    streams = build_streams(config, data_dir, tokenizer, masked_lm.backbone.max_sequence_length)
    validation_streams = _validation_streams(config, data_dir, tokenizer, masked_lm)
    with current_distribution().variables():
        pretrainer = build_pretrainer(config, masked_lm)
    info = _info(config, pretrainer, tokenizer, data_dir)

    with claimed(output_dir) if is_chief() else contextlib.nullcontext():
        if overwrite and is_chief():
            start_over(output_dir)
        check_agreement(config.steps, "the number of steps; start all of them with the same arguments")
        restored = restore_newest(
            output_dir / "checkpoints", pretrainer, lambda kept: check_same_data(kept, info, output_dir)
        )
        start = 0 if restored is None else restored.step
        check_agreement(start, "the step to resume at; all of them must see the same --output_dir")
        _check_steps(config, restored, output_dir)
        if is_chief():
            write_config(output_dir, config)
        if restored is None:
            if config.save_initial_model and is_chief():
                save_pretrained(output_dir / "initial_model", masked_lm, tokenizer, info, replace=True)
            if "xlco" in config.tasks:
                _warn_of_short_corpus(config, data_dir)
                fill_queue(pretrainer, _filling_batches(config, data_dir, tokenizer, masked_lm))
        else:
            print("\n".join([*changes, f"resuming at step {start} of {config.steps}"]), flush=True)

        if start < config.steps:
            checkpoint_info = {"seed": config.seed, "tasks": config.tasks, "data": info.data}
            stopped_by = fit(
                pretrainer,
                config,
                streams,
                output_dir,
                restored,
                checkpoint_info,
                pair_sets,
                tokenizer,
                wandb_project,
                validation_streams,
            )
            if stopped_by is not None:
                check_agreement(newest_step(output_dir / "checkpoints"), "the step that was saved last")
                return RunResult(_last_row(output_dir), newest_step(output_dir / "checkpoints"), None, stopped_by)
        if is_chief():
            info = dataclasses.replace(info, steps=config.steps)
            save_pretrained(output_dir / "model", masked_lm, tokenizer, info, replace=True)
        best = _save_best(output_dir, pretrainer, masked_lm, tokenizer, info, best_name)
        # No worker ends, and takes the others' connections with it, before the chief has written all.
        check_agreement(config.steps, "the last step")
        return RunResult(_last_row(output_dir), config.steps, output_dir / "model", best=best)


def check_same_data(kept, info, output_dir):
    """Raises `InputError` if the checkpoint's run read other records than these: samples have other numbers there."""
    different = sorted(kind for kind in info.data if kept["data"].get(kind) != info.data[kind])
    if different:
        raise InputError(
            f"{output_dir}: its run read other records ({', '.join(different)}/manifest.json differs); give the "
            "--data_dir of that run, or a new --output_dir"
        )


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


def _validation_streams(config, data_dir, tokenizer, masked_lm):
    """Streams of what is held out, or none. Without accumulation: `evaluate` takes a batch in one piece."""
    if not has_validation(config):
        return []
    optimizer = config.optimizer.model_copy(update={"accumulation_steps": 1})
    config = config.model_copy(update={"optimizer": optimizer})
    return build_streams(config, data_dir, tokenizer, masked_lm.backbone.max_sequence_length, split="validation")


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


def _pair_sets(config):
    if config.evaluation.pairs is None:
        return []
    from infoxlm_keras.text.readers.found import describe
    from infoxlm_keras.evaluation.pairs import read_pair_sets

    pair_sets = read_pair_sets([config.evaluation.pairs], config.evaluation.max_pairs)
    for line in describe(pair_sets.passed_over):
        print(f"evaluation.pairs: {line}", flush=True)
    return pair_sets


def _check_steps(config, restored, output_dir):
    if restored is not None and restored.step > config.steps:
        raise InputError(
            f"{output_dir}: its run is at step {restored.step} already, steps = {config.steps}; give --steps "
            f"{restored.step} or more, or a new --output_dir"
        )


def _save_best(output_dir, pretrainer, masked_lm, tokenizer, info, best_name):
    """Writes the preset of the best checkpoint, the training being over; returns what `RunResult.best` holds."""
    found = restore_best(output_dir / "checkpoints", pretrainer, best_name)
    if found is None:
        return None
    step, value = found
    if is_chief():
        best_info = dataclasses.replace(info, steps=step)
        save_pretrained(output_dir / "best_model", masked_lm, tokenizer, best_info, replace=True)
    return {"name": best_name, "value": value, "step": step}


def _last_row(output_dir):
    rows = read_rows(output_dir / "history.csv")
    return rows[-1] if rows else {}
