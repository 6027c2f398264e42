"""What happens between the steps of `model.fit`, in this order after each step:

freed_memory.py          after steps 1, 2, 4, ... memory that compilers have freed goes back to the system
skipped_steps.py         notes steps whose gradients are not finite; too many in a row end the run
interval_log.py          every `log_every` steps the interval's means, to all writers
periodic_evaluation.py   every `every` steps a measure on held-out data (`infoxlm_keras.evaluation`), to all writers
checkpoints.py           every `save_every` steps, at a new best score, and before a stop: a checkpoint
stop_signals.py          SIGTERM and SIGINT end the run after the step in progress
"""

from infoxlm_keras.runs.callbacks.checkpoints import Checkpoints
from infoxlm_keras.runs.callbacks.freed_memory import FreedMemory
from infoxlm_keras.runs.callbacks.interval_log import IntervalLog
from infoxlm_keras.runs.callbacks.periodic_evaluation import PeriodicEvaluation
from infoxlm_keras.runs.callbacks.skipped_steps import SkippedSteps
from infoxlm_keras.runs.callbacks.stop_signals import StopOnSignal, StopSignals

__all__ = [
    "Checkpoints",
    "FreedMemory",
    "IntervalLog",
    "PeriodicEvaluation",
    "SkippedSteps",
    "StopOnSignal",
    "StopSignals",
]
