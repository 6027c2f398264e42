"""Pre-trains an InfoXLM encoder with any of its pretext tasks, from scratch or from a trained model.

Reads the records that infoxlm build-monolingual (MMLM, MRTD) and infoxlm build-bitext (TLM, XLCO, DWA, TRTD) wrote.

  infoxlm pretrain --config tiny --data_dir data --output_dir runs/tiny
  infoxlm pretrain --config infoxlm_base --init xlm_roberta_base_multi \\
      --data_dir data --output_dir runs/base --set optimizer.accumulation_steps=16

The same command again continues from the newest intact checkpoint, on the very next batch, whatever ended the run: a
kill, a full disk, SIGTERM or Ctrl-C. On SIGTERM or Ctrl-C the run finishes its step, saves and exits with 0; a second
signal ends it at once. So let a scheduler repeat the plain command. --fresh refuses an OUTPUT_DIR that holds a run.
--fresh --overwrite removes that run at every start: never give it to a scheduler. Between two starts these settings
may change, since the training does not depend on them: log_every, peak_tflops, save_every, keep_checkpoints,
keep_best, save_initial_model, max_consecutive_skips, model.rematerialize, evaluation.*. steps may change too; the
learning rate then follows the new length.

Devices, by --strategy (docs/distribution.md; docs/tpu.md):
  one              the first GPU, else the CPU
  mirrored         all GPUs of this machine; without GPUs, --replicas N parts of the CPU, to try things
  multiworker      several processes, each started with this command: by srun; on TensorFlow also with TF_CONFIG, or
                   in Kubernetes; on JAX also with --coordinator, --processes and --process; on PyTorch by torchrun:
                   KERAS_BACKEND=torch torchrun --nproc_per_node N recipes/pretrain.py ..., a process for each GPU
  tpu              the TPU named by --tpu; "local" on the TPU's own virtual machine. On JAX a slice of several machines
                   needs this command on each of them
  fsdp             JAX: as mirrored, but weights and optimizer state are cut over all devices too: for large models
  model_parallel   JAX: large weight matrices cut over all devices
  auto             tpu if --tpu is given, else multiworker if the environment names a cluster, else all GPUs, else one
A batch size counts all replicas together: their number changes the speed, and nothing else.

DATA_DIR, OUTPUT_DIR, --init and --config may be addresses in a store, such as gs://bucket/run (docs/storage.md).

Writes to OUTPUT_DIR: config.yaml, checkpoints/, history.csv, tensorboard/, plots/, language_probabilities.json,
skipped_steps.jsonl (which samples a step with gradients that are not finite read), pretraining.json, and the trained
encoder as a KerasHub preset in model/ (best_model/: the one that retrieved best, with --set evaluation.pairs=HELDOUT).
The Keras backend is chosen by the environment variable KERAS_BACKEND.
"""

import math
from collections.abc import Sequence

from infoxlm_keras.command_line import argument_parser, print_settings, quiet_imports, show_table
from infoxlm_keras.commands.device_options import add_device_options, distribution_of
from infoxlm_keras.configs import shipped_configurations
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import write_json


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argument_parser(__doc__)
    shipped = ", ".join(shipped_configurations())
    parser.add_argument("--config", required=True, help=f"YAML file of settings, or the name of one of {shipped}")
    parser.add_argument("--data_dir", required=True, help="directory that holds mmlm/ and bitext/")
    parser.add_argument("--output_dir", required=True, help="directory of this run")
    add_device_options(parser)
    parser.add_argument("--tasks", help="comma-separated pretext tasks, such as mmlm,tlm; overrides the configuration")
    parser.add_argument(
        "--init", help="model to continue from: a preset or Hugging Face directory, org/name, or a KerasHub name"
    )
    parser.add_argument("--steps", type=int, help="optimizer updates; overrides the configuration")
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="override settings; may be repeated"
    )
    parser.add_argument("--fresh", action="store_true", help="start at step 0; refused if OUTPUT_DIR holds a run")
    parser.add_argument(
        "--overwrite", action="store_true", help="with --fresh: remove the run in OUTPUT_DIR once all input is checked"
    )
    parser.add_argument("--wandb", metavar="PROJECT", help="log to this Weights & Biases project, too")
    options = parser.parse_args(arguments)

    overrides = list(options.set)
    if options.tasks is not None:
        overrides.append(f"tasks=[{options.tasks}]")
    if options.steps is not None:
        overrides.append(f"steps={options.steps}")
    with quiet_imports():
        import keras  # noqa: F401

        import infoxlm_keras.runs.pretraining  # noqa: F401
        from infoxlm_keras.config import flatten, load_config
        from infoxlm_keras.distribution.strategies import ending_together

    config = load_config(options.config, overrides)
    with quiet_imports():
        in_common = {name: str(value) for name, value in flatten(config).items()}
        in_common.update({f"--{name}": str(getattr(options, name)) for name in ("init", "fresh", "overwrite")})
        distribution = distribution_of(options, in_common)
    with ending_together(distribution):
        _train(config, options, distribution)


def _train(config, options, distribution):
    import keras

    from infoxlm_keras.config import flatten
    from infoxlm_keras.distribution import is_chief
    from infoxlm_keras.distribution.strategies import check_batches, describe
    from infoxlm_keras.runs.pretraining import pretrain
    from infoxlm_keras.tasks.registry import task_classes

    check_batches(config, distribution)
    given = {"data_dir": options.data_dir, "output_dir": options.output_dir, "init": options.init}
    devices = {"keras backend": keras.backend.backend(), **describe(config, distribution)}
    unused = tuple(f"{name}." for name in task_classes() if name not in config.tasks)
    settings = {name: value for name, value in flatten(config).items() if not name.startswith(unused)}
    print_settings("pre-training", {**given, **devices, **settings})
    with distribution.scope():
        result = pretrain(
            config,
            options.data_dir,
            options.output_dir,
            init=options.init,
            fresh=options.fresh,
            overwrite=options.overwrite,
            wandb_project=options.wandb,
        )
        if not is_chief():
            return
    if result.stopped_by is not None:
        print(
            f"stopped by {result.stopped_by} at step {result.step} of {config.steps}, which is saved; to continue, "
            "repeat the command" + (" without --fresh" if options.fresh else "")
        )
        return
    # JSON has no number for what is not finite.
    record = {name: value for name, value in (result.record or {}).items() if math.isfinite(value)}
    content = {"step": result.step, "last_interval": record, "best": result.best}
    write_json(f"{options.output_dir}/pretraining.json", content)
    _print_result(result)


def _print_result(result):
    from rich.table import Table

    if not result.record:
        raise InputError("the run has no finished interval; give more --steps")
    table = Table(title=f"after {result.step} steps (means of the last interval)")
    for column in ("task", "loss", "accuracy", "mutual information, nats, at least"):
        table.add_column(column, justify="left" if column == "task" else "right")
    for task in result.tasks:
        if f"{task.task_name}_loss" in result.record:
            names = [f"{task.task_name}_{name}" for name in ("loss", "accuracy", "mi_lower_bound")]
            numbers = [f"{result.record[name]:.3f}" if name in result.record else "-" for name in names]
            table.add_row(task.task_name, *numbers)
    show_table(table)
    print(f"preset: {result.model_directory}")
    if result.best is not None:
        best = result.best
        print(f"best {best['name']}: {best['value']:.4f} at step {best['step']}, preset best_model/ beside it")
