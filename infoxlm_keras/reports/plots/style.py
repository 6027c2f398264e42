"""The common style of all figures, and how they are written."""

import functools
import warnings
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, TypeVar

import matplotlib
from matplotlib.figure import Figure

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.files.written_files import whole_file

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
# Okabe and Ito's colours, which colour-blind people can distinguish (without their yellow, too faint for thin marks).
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "^", "s", "D", "v", "P", "X")
TEXT_COLOR = "#222222"
QUIET_COLOR = "#8A8A8A"
DOTS_PER_INCH = 180
# Matplotlib draws at most 2 ** 16 dots a side; a figure for very many languages gets fewer dots an inch.
MOST_DOTS = 20_000
LONGEST_LEVEL_NAME = 4
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelcolor": TEXT_COLOR,
    "axes.edgecolor": QUIET_COLOR,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "text.color": TEXT_COLOR,
    # Names may contain dollar signs, which are no mathematics.
    "text.parse_math": False,
    "xtick.color": TEXT_COLOR,
    "ytick.color": TEXT_COLOR,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
}


def styled(draw: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Decorator: runs a drawing function under `STYLE` without changing matplotlib's global settings."""

    @functools.wraps(draw)
    def wrapper(*arguments: Arguments.args, **keywords: Arguments.kwargs) -> Result:
        with matplotlib.rc_context(STYLE):
            return draw(*arguments, **keywords)

    return wrapper


def name_options(names: Iterable[str]) -> dict[str, Any]:
    """Options of `set_xticks` for names about half an inch apart: rotates long names, so that they do not overlap."""
    return {"rotation": 90} if any(len(name) > LONGEST_LEVEL_NAME for name in names) else {}


def new_figure(width: float, height: float) -> Figure:
    """A figure of `width` x `height` inches that belongs to no window system."""
    return Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout="constrained")


@styled
def save_figure(figure: Figure, path: PathLike) -> None:
    """Writes `figure` as PNG to `path` (str or path), parents included; the file is written completely or not at all.

    A character that the font lacks is drawn as a box, without a warning.
    """
    dots = min(DOTS_PER_INCH, MOST_DOTS / max(figure.get_size_inches()))
    with whole_file(path) as file, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(file, format="png", dpi=dots, facecolor="white", metadata={"Software": None})
