"""SIGTERM and SIGINT end a run after the step in progress, with a checkpoint; a second one ends it at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from typing import Any

from infoxlm_keras.distribution.agreement import on_any_worker
from infoxlm_keras.distribution.current import current_distribution
from infoxlm_keras.runs.callbacks.step_callback import StepCallback

WORKERS_ASK_EVERY = 10


class StopSignals:
    """Context in which the signals only set `received`, a signal's name or None.

    The second signal restores the default handler and is sent again. Python allows handlers in the main thread only,
    so in another thread the context does nothing.
    """

    def __init__(self, signals: Sequence[signal.Signals] = (signal.SIGTERM, signal.SIGINT)) -> None:
        self.signals = signals
        self.received: str | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        for number in self.signals:
            try:
                self._previous[number] = signal.signal(number, self._handle)
            except ValueError:
                break
        return self

    def __exit__(self, *exception: Any) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def _handle(self, number, frame):
        name = signal.Signals(number).name
        if self.received is not None:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        self.received = name
        # Not print(): the signal may have come in the middle of one.
        os.write(2, f"\n{name}: finishing the step and saving; once more to end at once\n".encode())


class StopOnSignal(StepCallback):
    """Ends `fit` after the step in which a signal came. `Checkpoints` saves when `fit` ends.

    Several workers must end at the same step, so they exchange their flags at every tenth step.

    Args:
        start_step: int.
        stop: `StopSignals`.
    """

    def __init__(self, start_step: int, stop: StopSignals) -> None:
        super().__init__(start_step)
        self.stop = stop

    def after_step(self) -> None:
        if current_distribution().num_workers > 1:
            if not self.passed_multiple_of(WORKERS_ASK_EVERY) or not on_any_worker(self.stop.received is not None):
                return
            self.stop.received = self.stop.received or "a signal to another worker"
        if self.stop.received is not None:
            self.model.stop_training = True
