"""Figures: what is drawn in them is the data, and what is written is a picture."""

import math
import warnings

import matplotlib
import matplotlib.image
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex

from infoxlm_keras.errors import InputError
from infoxlm_keras.reports.plots import (
    accuracy_by_language,
    language_projection,
    read_history,
    retrieval_heatmap,
    save_figure,
    training_curves,
)
from infoxlm_keras.reports.plots.language_projection import principal_components
from infoxlm_keras.reports.plots.records import language_shares, length_histogram
from infoxlm_keras.reports.plots.style import new_figure
from infoxlm_keras.reports.plots.training_curves import smooth, spread
from retrieval_results import retrieval_result

HISTORY = """step,mmlm_loss,mmlm_mi_lower_bound,xlco_loss,xlco_mi_lower_bound,learning_rate,tokens_per_second
10,9.0,0.5,,,0.1,1000
20,8.0,1.5,6.0,-0.5,0.2,1000
30,7.0,2.5,4.0,1.5,0.3,nan
"""


@pytest.fixture
def history(tmp_path):
    (tmp_path / "history.csv").write_text(HISTORY)
    return read_history(tmp_path / "history.csv")


def sentence_vectors(languages, offset, seed=0):
    """{language: [40, 6]}: one meaning a row, and every language `offset` away from the others."""
    generator = np.random.default_rng(seed)
    meanings = generator.normal(size=(40, 6))
    return {language: meanings + offset * generator.normal(size=6) for language in languages}


def picture(path):
    """The pixels of a PNG, float [height, width, 4]."""
    assert path.read_bytes().startswith(b"\x89PNG")
    return matplotlib.image.imread(path)


def figures():
    steps = np.arange(1.0, 401.0)
    vectors = sentence_vectors(["en", "de", "hi"], 5.0)
    accuracies = {"de": ([0.1, 0.9], [0.2, 0.8]), "hi": ([0.1, 0.5], [0.0, 0.4])}
    return {
        "training_curves": training_curves(steps, {"mmlm_loss": 1 + 1 / steps, "mmlm_mi_lower_bound": 1 - 1 / steps}),
        "retrieval_heatmap": retrieval_heatmap(retrieval_result(accuracies)),
        "language_projection": language_projection({"Untrained": vectors, "Trained": vectors}),
    }


@pytest.mark.parametrize("name", ["training_curves", "retrieval_heatmap", "language_projection"])
def test_pictures_are_written_large_enough_and_not_blank(name, tmp_path):
    settings = dict(matplotlib.rcParams)
    figure = figures()[name]
    path = tmp_path / "plots" / f"{name}.png"
    save_figure(figure, path)
    pixels = picture(path)
    width, height = figure.get_size_inches() * 180
    assert pixels.shape[:2] == (round(height), round(width))
    assert min(pixels.shape[:2]) >= 350
    assert len(np.unique(pixels.reshape(-1, 4), axis=0)) > 20
    assert np.mean(pixels[..., :3] < 0.99) > 0.01
    assert [item.name for item in path.parent.iterdir()] == [path.name]
    assert dict(matplotlib.rcParams) == settings
    # No label is cut off: the border of the picture is white.
    for border in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
        assert np.all(border[..., :3] == 1.0)


def test_equal_data_gives_equal_files(tmp_path):
    for number in range(2):
        save_figure(figures()["retrieval_heatmap"], tmp_path / f"{number}.png")
    assert (tmp_path / "0.png").read_bytes() == (tmp_path / "1.png").read_bytes()


def test_a_failed_save_leaves_nothing(tmp_path):
    class Broken:
        def get_size_inches(self):
            return 1, 1

        def savefig(self, file, **options):
            file.write(b"half")
            raise OSError("disk full")

    with pytest.raises(OSError):
        save_figure(Broken(), tmp_path / "figure.png")
    assert list(tmp_path.iterdir()) == []


def test_history_is_read_with_gaps(history):
    steps, metrics = history
    assert steps.tolist() == [10, 20, 30]
    assert metrics["mmlm_loss"].tolist() == [9, 8, 7]
    assert np.isnan(metrics["xlco_loss"][0]) and metrics["xlco_loss"][1:].tolist() == [6, 4]
    assert "step" not in metrics


@pytest.mark.parametrize(
    "text, words",
    [
        (None, ["history.csv", "no such file"]),
        ("", ["history.csv", "`step`"]),
        ("epoch,loss\n1,2\n", ["history.csv", "`step`"]),
        ("step,mmlm_loss\n", ["history.csv", "no row"]),
        ("step,mmlm_loss\n1,2\n2,high\n", ["history.csv: line 3", "mmlm_loss", "'high'"]),
        ("step,mmlm_loss\n1,2\n2,\0\n", ["history.csv: line 3"]),
        ("step,mmlm_loss\n1,2,3\n", ["history.csv: line 2", "3 cells, the header 2"]),
        ("step,mmlm_loss\n1\n", ["history.csv: line 2", "1 cells, the header 2"]),
        ("step,mmlm_loss\n1,2\n" + "9" * 200_000 + "\n", ["history.csv: line 3"]),
        ('step,mmlm_loss\n1,"2\n', ["history.csv: line 2"]),
        (b"step,mmlm_loss\n1,\xff\n", ["history.csv", "UTF-8"]),
        ("1,2\n3,4\n", ["history.csv", "`step`"]),
        ("\0\n1,2\n", ["history.csv"]),
        ("step,mmlm_loss,mmlm_loss\n1,2,3\n", ["history.csv: line 1", "twice"]),
        ("DIRECTORY", ["history.csv", "is a directory"]),
    ],
)
def test_bad_history_is_named(tmp_path, text, words):
    path = tmp_path / "history.csv"
    if text == "DIRECTORY":
        path.mkdir()
    elif text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError) as caught:
        read_history(path)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_curves_carry_the_values_and_one_colour_a_task(history):
    losses, bounds = training_curves(*history).axes
    lines = {line.get_label(): line for line in losses.lines}
    assert set(lines) == {"mmlm", "xlco"}
    assert lines["mmlm"].get_xydata().tolist() == [[10, 9], [20, 8], [30, 7]]
    assert lines["xlco"].get_xydata().tolist() == [[20, 6], [30, 4]]
    by_task = {line.get_label(): line for line in bounds.lines}
    assert by_task["xlco"].get_ydata().tolist() == [-0.5, 1.5]
    assert bounds.get_ylim()[0] < -0.5 and losses.get_ylim()[0] == 0.0
    for axes, drawn in ((losses, lines), (bounds, by_task)):
        labels = {text.get_text(): to_hex(text.get_color()) for text in axes.texts}
        assert labels == {"MMLM": to_hex(lines["mmlm"].get_color()), "XLCO": to_hex(lines["xlco"].get_color())}
        assert all(drawn[task].get_color() == lines[task].get_color() for task in drawn)
    assert "nats" in losses.get_ylabel() and "nats" in bounds.get_ylabel()


def test_losses_on_held_out_records_are_dashed_in_their_tasks_color():
    metrics = {"mmlm_loss": [3.0, 2.0], "val_mmlm_loss": [math.nan, 2.5], "val_loss": [math.nan, 9.0]}
    axes = training_curves([1, 2], {name: np.array(values) for name, values in metrics.items()}).axes[0]
    lines = {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}
    assert set(lines) == {"mmlm", "val_mmlm"}
    assert lines["val_mmlm"].get_xydata().tolist() == [[2, 2.5]] and lines["val_mmlm"].get_linestyle() == "--"
    assert lines["val_mmlm"].get_color() == lines["mmlm"].get_color()
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["on held-out records"]


def test_many_points_are_smoothed_over_the_raw_ones():
    steps = np.arange(1000.0)
    values = np.random.default_rng(0).normal(5, 1, 1000)
    (axes,) = training_curves(steps, {"tlm_loss": values}).axes
    raw, line = axes.lines
    assert raw.get_ydata().tolist() == values.tolist()
    assert np.std(line.get_ydata()) < np.std(values) / 3
    assert smooth(np.array([1.0, 2.0, 6.0, 3.0]), 3).tolist() == [1.5, 3.0, pytest.approx(11 / 3), 4.5]


def test_curves_without_a_task_are_refused():
    with pytest.raises(InputError, match="<task>_loss"):
        training_curves(np.arange(2.0), {"learning_rate": np.ones(2), "xlco_loss": np.full(2, np.nan)})


def test_labels_are_spread_as_little_as_needed():
    assert spread([0.5, 0.1, 0.9], 0.1) == [0.5, 0.1, 0.9]
    assert spread([0.5, 0.5], 0.1) == pytest.approx([0.45, 0.55])
    assert spread([0.52, 0.5, 0.9], 0.1) == pytest.approx([0.56, 0.46, 0.9])
    assert spread([0.5, 0.5, 0.62], 0.1) == pytest.approx([0.44, 0.54, 0.64])


def test_heat_map_shows_each_cell_and_frames_the_best_layer():
    result = retrieval_result(
        {"de": ([0.1, 0.9, 0.8], [0.3, 0.7, 0.6]), "hi": ([0.0, 0.4, 0.3], [0.1, 0.5, 0.3])}, layers=[4, 6, 8]
    )
    (axes,) = retrieval_heatmap(result).axes
    languages, mean = axes.images
    np.testing.assert_allclose(languages.get_array(), [[20, 5], [80, 45], [70, 30]])
    np.testing.assert_allclose(mean.get_array(), [[12.5], [62.5], [50]])
    numbers = {text.get_position(): text.get_text() for text in axes.texts if text.get_text() != "best"}
    assert numbers[(0, 1)] == "80" and numbers[(1, 2)] == "30" and len(numbers) == 9
    assert [label.get_text() for label in axes.get_xticklabels()] == ["de", "hi", "mean"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["4", "6", "8"]
    assert [(frame.get_y(), frame.get_height()) for frame in axes.patches] == [(0.5, 1), (0.5, 1)]
    (best,) = (text for text in axes.texts if text.get_text() == "best")
    assert best.xy[1] == 1


def test_heat_map_of_one_layer_marks_no_best():
    (axes,) = retrieval_heatmap(retrieval_result({"de": ([0.5], [0.4])}, layers=[2])).axes
    assert [text.get_text() for text in axes.texts] == ["45", "45"]
    assert not axes.patches


def test_principal_components_are_those_of_the_covariance_matrix():
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(200, 5)) * [5, 3, 1, 0.5, 0.1] + 7
    coordinates, shares = principal_components(vectors)
    variances, directions = np.linalg.eigh(np.cov(vectors.T))
    np.testing.assert_allclose(shares, (variances / variances.sum())[[-1, -2]], rtol=1e-9)
    expected = (vectors - vectors.mean(axis=0)) @ directions[:, [-1, -2]]
    np.testing.assert_allclose(np.abs(coordinates), np.abs(expected), atol=1e-9)
    # One orientation: a vector far along the largest axis lies on the positive side.
    assert coordinates[vectors[:, 0].argmax(), 0] > 0 and coordinates[vectors[:, 1].argmax(), 1] > 0


def test_projection_shows_languages_apart_or_together_and_joins_translations():
    languages = ["en", "de", "hi", "ja", "ru", "tr", "vi", "zh"]  # more than there are colours
    apart, together = sentence_vectors(languages, 20.0), sentence_vectors(languages, 0.0)
    figure = language_projection({"Untrained": apart, "Trained": together}, joined=4)
    spreads = []
    for axes in figure.axes:
        clouds = [line for line in axes.lines if len(line.get_xdata()) == 40]
        assert len(clouds) == len(languages)
        points = np.stack([line.get_xydata() for line in clouds])
        spreads.append(points.mean(axis=1).std(axis=0).max() / points.std(axis=(0, 1)).max())
        joined = [line.get_xydata() for line in axes.lines if len(line.get_xdata()) == 2]
        assert len(joined) == 4 * len(languages)
        # A spoke goes from the middle of a sentence's translations to one of them.
        np.testing.assert_allclose(joined[1][0], points[:, 0].mean(axis=0))
        np.testing.assert_allclose(joined[1][1], points[1, 0])
    assert spreads[0] > 0.9 and spreads[1] < 1e-6
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Untrained", "Trained"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [*languages, "one\nsentence"]
    marks = [(to_hex(line.get_color()), line.get_marker()) for line in legend.get_lines()[:-1]]
    assert len(set(marks)) == len(languages)


def test_projection_compares_by_direction_as_retrieval_does():
    vectors = sentence_vectors(["en", "de"], 1.0)
    longer = {"en": vectors["en"] * 7, "de": vectors["de"] * 0.1}
    first, second = (language_projection({"": panel}).axes[0].lines for panel in (vectors, longer))
    for line, other in zip(first, second, strict=True):
        np.testing.assert_allclose(line.get_xydata(), other.get_xydata(), atol=1e-5)


@pytest.mark.parametrize(
    "panels",
    [
        {},
        {"a": {}},
        {"a": {"en": np.ones((3, 2)), "de": np.ones((2, 2))}},
        {"a": {"en": np.ones((1, 2))}},
        {"a": {"en": np.ones((3, 2))}, "b": {"de": np.ones((3, 2))}},
    ],
)
def test_projection_of_unequal_panels_is_refused(panels):
    with pytest.raises(InputError):
        language_projection(panels)


def many(count):
    """Names of languages and a result of each at two layers; every seventh name is long."""
    names = [f"zh_Hant-x{number}" if number % 7 == 0 else f"x{number}" for number in range(count)]
    return names, retrieval_result({name: ([0.5, 0.6], [0.4, 0.5]) for name in names})


def test_the_numbers_of_a_hundred_languages_stand_beside_their_names_and_do_not_overlap():
    generator = np.random.default_rng(0)
    names = [f"l{number}" for number in range(100)]
    result = retrieval_result({name: (generator.random(13), generator.random(13)) for name in names})
    figure = retrieval_heatmap(result)
    (axes,) = figure.axes
    figure.canvas.draw()
    places = dict(zip([*names, "mean"], axes.get_yticks().tolist(), strict=True))
    cells = {text.get_position(): text for text in axes.texts if text.get_text().isdecimal()}
    assert len(cells) == 101 * 13
    for name, row in result["languages"].items():
        for layer in range(13):
            both = (row["source_to_target"][layer] + row["target_to_source"][layer]) / 2
            assert cells[layer, places[name]].get_text() == f"{100 * both:.0f}"
    assert places["l0"] > places["l99"] and places["mean"] > places["l0"]
    boxes = [cells[layer, place].get_window_extent() for place in sorted(places.values())[:3] for layer in range(13)]
    assert not any(a.overlaps(b) for number, a in enumerate(boxes) for b in boxes[:number])
    width, height = figure.get_size_inches()
    assert width < 9 < height < 30


@pytest.mark.parametrize("count, layers", [(1, 1), (41, 1)])
@pytest.mark.parametrize("title", [None, "Tatoeba, the model of the whole corpus with a learning rate of 0.001"])
def test_the_title_is_whole(count, layers, title):
    result = retrieval_result({f"x{number}": ([0.5] * layers, [0.4] * layers) for number in range(count)})
    figure = retrieval_heatmap(result) if title is None else retrieval_heatmap(result, title)
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    (axes,) = figure.axes
    # The title stands at the left.
    box = axes._left_title.get_window_extent(renderer)
    assert box.width > 50 and figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1


@pytest.mark.parametrize("count", [1, 2, 100])
def test_any_number_of_languages_is_drawn_without_a_warning(count, tmp_path):
    names, result = many(count)
    vectors = np.random.default_rng(0).normal(size=(count, 3, 4))
    shares = {name: {"share": 1 / count, "sampling_probability": 1 / count} for name in names}
    figures = [
        retrieval_heatmap(result),
        accuracy_by_language(dict.fromkeys(names, 0.5), names[:1], 0.3),
        language_projection({"encoder": dict(zip(names, vectors, strict=True))}),
        language_shares(shares, 0.7),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number, figure in enumerate(figures):
            save_figure(figure, tmp_path / f"{number}.png")
            height, width, _ = matplotlib.image.imread(tmp_path / f"{number}.png").shape
            assert 300 < max(height, width) <= 20_000
    # Very many languages stand below each other.
    axes = figures[0].axes[0]
    labels = axes.get_xticklabels() if count <= 40 else axes.get_yticklabels()
    assert [text.get_text() for text in labels] == [*names, "mean"]
    # The names stand apart from each other. (`savefig` leaves the figure with a canvas that does not draw.)
    renderer = FigureCanvasAgg(figures[1]).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in figures[1].axes[0].get_xticklabels()]
    assert all(left.x1 < right.x0 for left, right in zip(boxes, boxes[1:], strict=False))


def test_a_figure_too_large_for_its_dots_gets_fewer(tmp_path):
    save_figure(new_figure(500, 2), tmp_path / "wide.png")
    assert picture(tmp_path / "wide.png").shape[1] == 20_000


def test_names_in_any_script_and_with_signs_of_formulas(tmp_path, capfd):
    names = ["中文", "ไทย", "$a$", "$", "a_b^{", "\\frac", "%d"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = accuracy_by_language(dict.fromkeys(names, 0.5))
        save_figure(figure, tmp_path / "accuracy.png")
        save_figure(
            retrieval_heatmap(retrieval_result({name: ([0.5], [0.5]) for name in names})), tmp_path / "map.png"
        )
    assert {text.get_text() for text in figure.axes[0].get_xticklabels()} == set(names)
    assert capfd.readouterr() == ("", "")


def test_lengths_of_a_bucket_without_records():
    figure = length_histogram({32: np.array([], np.int64), 64: np.array([3, 40])})
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["up to 32", "up to 64"]
    assert sum(patch.get_height() for patch in figure.axes[0].patches) == 2
    length_histogram({32: np.array([], np.int64)})
