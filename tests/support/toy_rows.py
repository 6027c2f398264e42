"""An evaluation and a fine-tuning head of one file each, written on the spot, and processes with a row for them."""

import os
import sys

from repository import REPOSITORY

EVALUATION = '''
"""The mean length of the encoder's token vectors."""

import numpy as np
from keras import ops

from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation.evaluation import Evaluation
from infoxlm_keras.settings import PositiveInt, Settings


class RowLengthSettings(Settings):
    rows: PositiveInt | None = None


class RowLength(Evaluation):
    name = "row_length"
    Settings = RowLengthSettings
    switched_on_by = "evaluation.row_length.rows"
    prefix = "row_length"
    console_numbers = {"row_length_mean": "row length {:.4f}"}
    panels = {"Length of token vectors": {"row_length_mean": "mean", "row_length_longest": "longest"}}
    description = "Measures the length of token vectors."
    report = "toy_evaluation:lines"

    def __init__(self, rows):
        self.rows = rows

    @classmethod
    def from_config(cls, config):
        rows = config.evaluation.of(cls).rows
        return None if rows is None else cls(rows)

    @property
    def columns(self):
        return "row_length_mean", "row_length_longest"

    def measure(self, pretrainer):
        lengths = self.lengths(pretrainer.backbone)
        return {"row_length_mean": float(lengths.mean()), "row_length_longest": float(lengths.max())}

    def lengths(self, backbone):
        table = ops.convert_to_numpy(backbone.token_embedding.embeddings)[: self.rows]
        return np.linalg.norm(table, axis=-1)

    @classmethod
    def add_arguments(cls, parser):
        parser.add_argument("--rows", type=int, default=10, help="rows that are measured")

    @classmethod
    def from_options(cls, options):
        if options.rows < 1:
            raise InputError(f"--rows {options.rows}: must be at least 1")
        return cls(options.rows)

    def resolve(self, model):
        return {"rows": min(self.rows, model.backbone.vocabulary_size)}

    def evaluate(self, model):
        return {"mean": float(self.lengths(model.backbone).mean())}


def lines(result, info):
    return [f"mean length {result['mean']:.4f}"]
'''

HEAD = '''
"""How many words has a text? A regression on the last state of `<s>`."""

import dataclasses
import pathlib

import keras
import numpy as np
from keras import ops

from infoxlm_keras.finetuning.classification import encode
from infoxlm_keras.finetuning.head import FineTuningHead
from infoxlm_keras.finetuning.settings import FineTuningSettings


@dataclasses.dataclass(frozen=True)
class WordCountSettings(FineTuningSettings):
    unit: float = 1.0


class Texts:
    def __init__(self, path):
        self.language, self.files, self.left_out = path.stem, [str(path)], 0
        self.texts = path.read_text().splitlines()
        self.reasons = {str(path): {"no text": self.texts.count("")}} if "" in self.texts else {}
        self.left_out = self.texts.count("")
        self.texts = [text for text in self.texts if text]

    def __len__(self):
        return len(self.texts)


class WordCount(FineTuningHead):
    name = "word_count"
    description = "Counts the words of texts."
    samples = "texts, one a line"
    Settings = WordCountSettings
    metric = "closeness"

    @classmethod
    def add_arguments(cls, parser):
        parser.add_argument("--unit", type=float, default=1.0, help="words of one unit")

    @classmethod
    def read(cls, paths, languages=None, max_samples=None):
        return [Texts(pathlib.Path(path)) for path in paths]

    def facts(self):
        return {"longest": max(len(text.split()) for part in self.training for text in part.texts)}

    def notes(self):
        return ["note: words are what white space separates"]

    def make_model(self, settings):
        self.unit = settings.unit
        output = keras.layers.Dense(1, name="count")(self.backbone.output[:, 0])
        return keras.Model(self.backbone.input, output[:, 0])

    def arrays(self, parts):
        texts = [text for part in parts for text in part.texts]
        counts = np.array([len(text.split()) / self.unit for text in texts], np.float32)
        return encode(self.tokenizer, [texts], 16), counts

    def training_arrays(self):
        inputs, targets = self.arrays(self.training)
        return {**inputs, "targets": targets, "weights": np.ones_like(targets)}

    def losses(self, outputs, batch):
        errors = ops.cast(outputs, "float32") - batch["targets"]
        return errors**2, ops.cast(ops.abs(errors) < 0.5, "float32")

    def measure(self, parts, batch_size, progress):
        errors = {}
        for part in parts:
            inputs, targets = self.arrays([part])
            predicted = self.predict(inputs, batch_size)
            errors[part.language] = float(np.abs(predicted - targets).mean())
            progress(len(part))
        return {"closeness": {name: 1 / (1 + error) for name, error in errors.items()}, "error": errors}

    def save(self, directory):
        self.model.save_weights(str(pathlib.Path(directory) / "count.weights.h5"))
'''

ROWS = {
    "evaluation": (
        "from infoxlm_keras.evaluation.registry import EVALUATIONS, EvaluationRow\n"
        "EVALUATIONS['row_length'] = EvaluationRow('toy_evaluation:RowLength', 'measure token vectors')\n"
    ),
    "head": (
        "from infoxlm_keras.finetuning.registry import FINETUNING_HEADS, FineTuningRow\n"
        "FINETUNING_HEADS['word_count'] = FineTuningRow('toy_head:WordCount', 'count the words of texts')\n"
    ),
}
# In a process that was forked, what the project has imported is imported anew, with the row.
ANEW = (
    "import sys\n"
    "for name in [name for name in sys.modules if name.partition('.')[0] == 'infoxlm_keras']:\n"
    "    del sys.modules[name]\n"
)
COMMAND = "from infoxlm_keras.commands.dispatch import console_script\nconsole_script()\n"


def write_modules(directory):
    """Writes both modules into `directory`; returns it."""
    (directory / "toy_evaluation.py").write_text(EVALUATION)
    (directory / "toy_head.py").write_text(HEAD)
    return directory


def run_with_row(forked_python, directory, kind, *arguments, code=COMMAND):
    """A process of `forked_python` that adds the row of `kind` and runs `code`, else `infoxlm` with `arguments`."""
    path = os.pathsep.join(map(str, (directory, REPOSITORY)))
    environment = {**os.environ, "PYTHONPATH": path, "KERAS_BACKEND": "tensorflow", "COLUMNS": "200"}
    return forked_python.run(
        [sys.executable, "-c", ANEW + ROWS[kind] + code, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
