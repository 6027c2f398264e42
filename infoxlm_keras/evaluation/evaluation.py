"""The base of the evaluations: what is measured on held-out data, while training and by a command of its own."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from infoxlm_keras.settings import Settings

if TYPE_CHECKING:
    from infoxlm_keras.config import RunSettings
    from infoxlm_keras.data.batch_stream import BatchStream
    from infoxlm_keras.tokenizer import Tokenizer
    from infoxlm_keras.training.pretrainer import InfoXLMPretrainer


class Evaluation:
    """Something that is measured on held-out data. It has one or both of two uses.

    While training: `from_config` reads the data, `bind` receives the model, and `measure` is called before step 1,
    every `evaluation.every` steps and at the end. Its numbers go to history.csv, the console, TensorBoard and the
    plots, and may choose the best checkpoint.

    As `infoxlm evaluate-<name>`: `add_arguments` declares its options, `from_options` reads the data, `resolve`
    completes the settings from the model, and `evaluate` gives the result, which `--output` writes as JSON.

    Attributes:
        name: str, the name in the registry.
        Settings: subclass of `Settings` with the settings of its use while training, or None.
        own_section: bool, `Settings` is the section `evaluation.<name>` of a configuration; False: its settings stand
            in the section `evaluation` itself.
        switched_on_by: str, the setting that switches it on while training; empty: it has no such use.
        reads_validation_records: bool, `bind` needs the streams of data.validation_records.
        prefix: str, all its columns begin with `<prefix>_`, which is its group in TensorBoard. Lower is better in
            a column whose name ends in `loss`; higher is better in all others.
        console_numbers: dict of column to a format string, shown on the console line.
        panels: dict of a plot's title to {column: legend}, for the overview of a run.
        description: str, the text of `infoxlm evaluate-<name> --help`.
        epilog: str, what follows the options in that text.
        report: str, address `module:function` of (result, `PretrainingInfo` or None) -> list of tables and lines to
            print.
        rows: str, address of (result) -> list of dict, the rows of the file of `--csv`; empty: no such option.
        figures: dict of file name to the address of (result) -> `matplotlib.figure.Figure`, for `--plots`.
    """

    name: str = ""
    Settings: type[Settings] | None = None
    own_section: bool = True
    switched_on_by: str = ""
    reads_validation_records: bool = False
    prefix: str = ""
    console_numbers: dict[str, str] = {}
    panels: dict[str, dict[str, str]] = {}
    description: str = ""
    epilog: str = ""
    report: str = ""
    rows: str = ""
    figures: dict[str, str] = {}

    # === While training ===

    @classmethod
    def from_config(cls, config: RunSettings) -> Evaluation | None:
        """The evaluation with its data, or None where `config` (`PretrainingConfig`) does not switch it on.

        Raises:
            InputError: for data that cannot be read.
        """
        return None

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all numbers that `measure` gives; by default the first one chooses the best checkpoint."""
        raise NotImplementedError

    def bind(
        self, pretrainer: InfoXLMPretrainer, tokenizer: Tokenizer, validation_streams: Sequence[BatchStream]
    ) -> None:
        """Prepares the measurements of a run.

        Args:
            pretrainer: `InfoXLMPretrainer`, whose encoder is measured.
            tokenizer: `Tokenizer` of the encoder.
            validation_streams: list of streams of the held-out records; empty unless `reads_validation_records`.
        """

    def measure(self, pretrainer: InfoXLMPretrainer) -> dict[str, float]:
        """dict of column to float. It must not change the state of training.

        Args:
            pretrainer: `InfoXLMPretrainer` with the weights of the present step.
        """
        raise NotImplementedError

    # === As a command ===

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Adds the options of the command, besides `--model`, `--output`, `--csv` and `--plots`, to `parser`."""

    @classmethod
    def from_options(cls, options: argparse.Namespace) -> Evaluation:
        """The evaluation with its data, read before the model is loaded.

        Raises:
            InputError: for options out of range, or data that cannot be read.
        """
        raise NotImplementedError

    def resolve(self, model: Any) -> dict[str, Any]:
        """The settings that `model` (`PretrainedModel`) completes, dict of option to value, for printing.

        Raises:
            InputError: for options that do not fit the model.
        """
        return {}

    @property
    def notes(self) -> list[str]:
        """Lines about the data, printed before the measurement: what was passed over."""
        return []

    def evaluate(self, model: Any) -> dict[str, Any]:
        """The result on `model` (`PretrainedModel`), a dict that is ready for JSON."""
        raise NotImplementedError
