"""An object of every public Keras class, and the check that it survives its configuration.

`python keras_contract.py DIRECTORY` checks all on the backend named by KERAS_BACKEND, loads the pretrainers in
DIRECTORY, and saves one as `<backend>.keras`.
"""

import copy
import dataclasses
import inspect
import json
import pathlib
import sys

if __name__ == "__main__":
    # Not needed on the other backends, and slow to import.
    sys.modules["tensorflow"] = sys.modules["tensorflow_text"] = None

import keras
import numpy as np
from keras import ops

from infoxlm_keras import (
    DWA,
    MMLM,
    MRTD,
    TLM,
    TRTD,
    XLCO,
    Distillation,
    InfoXLMPretrainer,
    MomentumSchedule,
    PretextTask,
)
from infoxlm_keras.contrast import KeyEncoder, KeyQueue, MovingAverage
from infoxlm_keras.finetuning import EmbeddingTask, UpdateLoss
from infoxlm_keras.models import Encoder, QuestionAnswering, TokenClassification
from infoxlm_keras.models.fused_attention import CutLength, PadLength
from infoxlm_keras.models.sentence_vector_model import UnitVector
from infoxlm_keras.tasks.masked_lm import MaskedLanguageModeling
from infoxlm_keras.tasks.replaced_tokens import ReplacedTokenDetection
from infoxlm_keras.training.muon import MatrixMuon
from infoxlm_keras.training.schedule_free import ScheduleFreeAdamW
from infoxlm_keras.training.schedules import WarmupConstant, WarmupCosineDecay, WarmupLinearDecay, WarmupStableDecay
from infoxlm_keras.training.smoothed_mean import SmoothedMean
from tiny_pretraining import (
    TINY_SIZE,
    array,
    embedding_batch,
    joint_batch,
    randomize,
    state,
    tiny_masked_lm,
    tiny_pretrainer,
    translation_batch,
    with_draws,
)

ONE_LAYER = dataclasses.replace(TINY_SIZE, num_layers=1)
# Otherwise JAX compiles each operation for itself.
COMPILED = keras.backend.backend() == "jax"
BATCH = joint_batch(np.random.default_rng(3))
BATCH["dwa"] = translation_batch(np.random.default_rng(5), 4, 13)
BATCH["training"] = embedding_batch(np.random.default_rng(7), 4, 8)
BATCH["mrtd"] = BATCH["trtd"] = with_draws(np.random.default_rng(6), BATCH["dwa"])
INPUTS = {name: BATCH["mmlm"][name] for name in ("token_ids", "padding_mask")}
LINEAR = MomentumSchedule("linear", value=0.5, final_value=0.75, start_step=2, end_step=6)


def tensors(batch):
    return keras.tree.map_structure(ops.convert_to_tensor, batch)


def moved(average):
    key, query = (keras.Variable(np.array(values, "float32")) for values in ([1.0, 2.0], [3.0, 5.0]))
    average.update([(key, query)], ops.convert_to_tensor(0.9))
    return [key, average.rounding_errors]


def filled(queue):
    queue.enqueue(ops.reshape(ops.arange(6, dtype="float32"), (3, 2)))
    return [queue.keys, queue.mask()]


def loss_of_task(task):
    """The loss of a task that is bound to an encoder of fixed weights."""
    keras.utils.set_random_seed(4)
    task.bind(Encoder(tiny_masked_lm(size=ONE_LAYER)))
    batch = tensors(BATCH.get(task.task_name, BATCH["mrtd"]))
    result = task.result({**batch, **task.prepare(batch)}, training=False)
    return [result.loss_sum, task.weight_at(1), task.weight_at(9)]


def loss_with_teacher(task):
    """`loss_of_task` of a task that lost its teacher's weights with its configuration."""
    randomize(task.given.masked_lm.weights, seed=2)
    return loss_of_task(task)


def smoothed(metric):
    for value in (1.0, 4.0, 2.0):
        metric.update_state(value)
    return [metric.result()]


def rates(schedule):
    return [schedule(step) for step in range(9)]


def moved_by(optimizer):
    """An attention kernel, a matrix and a bias after an update."""
    shapes = {"key/kernel": (4, 2, 2), "query/kernel": (4, 2, 2), "dense/kernel": (4, 6), "dense/bias": (6,)}
    draw = np.random.default_rng(2).normal
    variables = []
    for path, shape in shapes.items():
        variable = keras.Variable(draw(size=shape).astype("float32"), name="kernel")
        variable._path = path
        variables.append(variable)
    optimizer.build(variables)
    optimizer.apply([ops.convert_to_tensor(draw(size=shape).astype("float32")) for shape in shapes.values()])
    return variables


def loss_of_pretrainer(pretrainer):
    scales = {task.task_name: ops.convert_to_tensor(0.5) for task in pretrainer.tasks}
    return [pretrainer.forward(tensors(BATCH), scales, training=False)[0]]


def example_pretrainer():
    tasks = [MMLM(max_logits=100), TLM(weight=0.25), XLCO(queue_length=16, momentum=LINEAR)]
    options = {"loss_combination": "sum_of_means", "accumulation_steps": 1, "clip_norm": 0.5}
    return tiny_pretrainer(tasks, size=ONE_LAYER, learning_rate=0.01, warmup_steps=2, jit_compile=COMPILED, **options)


# Class -> (an object whose arguments are not the defaults, its values after the object was built anew).
EXAMPLES = {
    KeyEncoder: (lambda: KeyEncoder(tiny_masked_lm().backbone, 2), lambda layer: [layer(INPUTS)]),
    MovingAverage: (lambda: MovingAverage(2, name="average"), moved),
    KeyQueue: (lambda: KeyQueue(5, 2, name="keys"), filled),
    MomentumSchedule: (lambda: LINEAR, lambda schedule: [schedule(step) for step in range(1, 9)]),
    PretextTask: (lambda: PretextTask(weight=0.5, name="none"), lambda task: [task.weight_at(3)]),
    MaskedLanguageModeling: (lambda: MaskedLanguageModeling(100, 0.5, name="any"), loss_of_task),
    MMLM: (lambda: MMLM(max_logits=100, weight=0.5), loss_of_task),
    TLM: (lambda: TLM(max_logits=100, weight=0.5), loss_of_task),
    XLCO: (
        lambda: XLCO(1, 16, 0.5, "mean", True, True, True, True, LINEAR, 5, 0.25),
        loss_of_task,
    ),
    DWA: (lambda: DWA(1, 1, 3, 0.5, 4, 0.25), loss_of_task),
    ReplacedTokenDetection: (lambda: ReplacedTokenDetection(2, False, 3.0, 100, 0.5, name="any"), loss_of_task),
    MRTD: (lambda: MRTD(2, False, 3.0, 100, 0.5), loss_of_task),
    TRTD: (lambda: TRTD(2, True, 3.0, 100, 0.5), loss_of_task),
    EmbeddingTask: (lambda: EmbeddingTask(UpdateLoss(0.5, False, (4, 2), 0.1, 0.7, 0.3), 1, "max"), loss_of_task),
    UnitVector: (
        lambda: UnitVector("max", name="vector"),
        lambda layer: [layer(np.arange(24, dtype="float32").reshape(2, 3, 4), padding_mask=np.array([[1, 1, 0]] * 2))],
    ),
    Distillation: (lambda: Distillation(tiny_masked_lm(TINY_SIZE), [[0, 1], [1, 3]], 0.25), loss_with_teacher),
    SmoothedMean: (lambda: SmoothedMean("bound", decay=0.5), smoothed),
    WarmupLinearDecay: (lambda: WarmupLinearDecay(0.1, 3, 9), rates),
    WarmupCosineDecay: (lambda: WarmupCosineDecay(0.1, 3, 9, 0.2), rates),
    WarmupStableDecay: (lambda: WarmupStableDecay(0.1, 3, 9, 0.2, 0.5), rates),
    WarmupConstant: (lambda: WarmupConstant(0.1, 3, 9), rates),
    ScheduleFreeAdamW: (lambda: ScheduleFreeAdamW(WarmupConstant(0.1, 3, 9), 0.8, 0.9, 1e-7, 0.1, "free"), moved_by),
    MatrixMuon: (lambda: MatrixMuon(0.1, ns_steps=3, exclude_layers=["query"]), moved_by),
    PadLength: (lambda: PadLength(name="pad"), lambda layer: [layer(np.ones((2, 13, 3), "float32"))]),
    CutLength: (
        lambda: CutLength(name="cut"),
        lambda layer: [layer(np.ones((2, 16, 3), "float32"), padding_mask=np.ones((2, 13), "int32"))],
    ),
    InfoXLMPretrainer: (example_pretrainer, loss_of_pretrainer),
    QuestionAnswering: (
        lambda: QuestionAnswering(tiny_masked_lm(ONE_LAYER).backbone, name="spans"),
        lambda model: [model(INPUTS)],
    ),
    TokenClassification: (
        lambda: TokenClassification(tiny_masked_lm(ONE_LAYER).backbone, 3, dropout=0.5, name="tags"),
        lambda model: [model(INPUTS)],
    ),
}


def check(kind):
    """Asserts the contract of the class `kind`."""
    make, values = EXAMPLES[kind]
    first = make()
    config = json.loads(json.dumps(first.get_config()))
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    parameters = inspect.signature(kind).parameters.values()
    missing = {each.name for each in parameters if each.kind not in kinds} - set(config)
    assert not missing, f"{kind.__name__}: get_config lacks {missing}"
    # KerasHub's `from_config` writes into its argument.
    second = kind.from_config(copy.deepcopy(config))
    assert json.loads(json.dumps(second.get_config())) == config, kind.__name__
    # As a part of another object, found by its registered name.
    described = json.loads(json.dumps(keras.saving.serialize_keras_object(make())))
    assert described["registered_name"] == f"infoxlm_keras>{kind.__name__}"
    third = keras.saving.deserialize_keras_object({**described, "compile_config": None})
    assert type(third) is kind and json.loads(json.dumps(third.get_config()))
    for variable, value in zip(getattr(second, "weights", ()), getattr(first, "weights", ()), strict=True):
        variable.assign(ops.convert_to_numpy(value))
    for one, other in zip(values(first), values(second), strict=True):
        np.testing.assert_array_equal(array(one), array(other), err_msg=kind.__name__)


def trained():
    """A pretrainer after two steps."""
    pretrainer = example_pretrainer()
    pretrainer.fit(((BATCH,) for _ in range(2)), steps_per_epoch=2, verbose=0, shuffle=False)
    return pretrainer


def save_with_state(pretrainer, directory):
    """Writes `<backend>.keras` and what its variables hold."""
    name = keras.backend.backend()
    pretrainer.save(directory / f"{name}.keras")
    np.savez(directory / f"{name}.npz", *state(pretrainer))


def check_saved(directory, backend):
    """Asserts that the pretrainer that `backend` saved is loaded whole, and can be trained."""
    loaded = keras.saving.load_model(directory / f"{backend}.keras")
    with np.load(directory / f"{backend}.npz") as saved:
        for value, name in zip(state(loaded), saved.files, strict=True):
            np.testing.assert_array_equal(value, saved[name])
    bias = next(variable for variable in loaded.trainable_variables if variable.name == "bias")
    assert not loaded.optimizer._use_weight_decay(bias)
    loaded.jit_compile = COMPILED
    loaded.fit(((BATCH,) for _ in range(1)), steps_per_epoch=1, verbose=0, shuffle=False)
    assert int(ops.convert_to_numpy(loaded.optimizer.iterations)) == 3
    return loaded


if __name__ == "__main__":
    for known in EXAMPLES:
        check(known)
    folder = pathlib.Path(sys.argv[1])
    save_with_state(trained(), folder)
    check_saved(folder, "tensorflow")
