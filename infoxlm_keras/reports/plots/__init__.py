"""Figures, one file each; every function returns a `matplotlib.figure.Figure`, `save_figure` writes it."""

from infoxlm_keras.reports.plots.accuracy_by_language import accuracy_by_language
from infoxlm_keras.reports.plots.language_projection import language_projection
from infoxlm_keras.reports.plots.retrieval_heatmap import retrieval_heatmap
from infoxlm_keras.reports.plots.run_overview import run_overview
from infoxlm_keras.reports.plots.style import save_figure
from infoxlm_keras.reports.plots.training_curves import read_history, training_curves

__all__ = [
    "accuracy_by_language",
    "language_projection",
    "read_history",
    "retrieval_heatmap",
    "run_overview",
    "save_figure",
    "training_curves",
]
