import sys

import numpy as np
import pytest
import torch
from PIL import Image

from wsolrefine.viz import contact_sheet, draw_boxes, overlay, plot_bars, plot_curves


@pytest.fixture
def photograph():
    return np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def test_overlay_goes_from_the_photograph_to_the_colors(photograph):
    values = np.linspace(0, 1, 40 * 60).reshape(40, 60)
    np.testing.assert_array_equal(overlay(photograph, values, 0), photograph)
    full = overlay(photograph, values, 1, colormap="gray")
    np.testing.assert_allclose(full[..., 0], values * 255, atol=1)
    half = overlay(photograph, values, 0.5, colormap="gray")
    np.testing.assert_allclose(half, (photograph / 2.0 + full / 2.0), atol=1.5)
    assert half.dtype == np.uint8


def test_overlay_takes_tensors_of_any_dtype_and_values_out_of_range(photograph):
    values = torch.rand(40, 60, requires_grad=True)
    expected = overlay(photograph, values.detach().numpy())
    np.testing.assert_array_equal(overlay(torch.from_numpy(photograph), values), expected)
    overlay(photograph, values.bfloat16())
    wild = np.full((40, 60), np.nan)
    wild[0, :3] = np.inf, -np.inf, 7
    tame = np.zeros((40, 60))
    tame[0, :3] = 1, 0, 1
    np.testing.assert_array_equal(overlay(photograph, wild), overlay(photograph, tame))


def test_inputs_are_not_changed(photograph):
    before = photograph.copy()
    overlay(photograph, np.ones((40, 60)))[:] = 0
    draw_boxes(photograph, [1, 2, 30, 20])[:] = 0
    draw_boxes(photograph, [])[:] = 0
    np.testing.assert_array_equal(photograph, before)


def test_box_corners_are_half_open():
    drawn = draw_boxes(np.zeros((9, 9, 3), np.uint8), torch.tensor([[2.0, 3, 6, 8]]), width=1)
    rows, columns = np.nonzero(drawn[..., 0])
    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (2, 3, 6, 8)


@pytest.mark.parametrize("dashed", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (3, 2), (300, 400)])
def test_any_size_takes_any_box(size, dashed):
    image = np.zeros((*size, 3), np.uint8)
    boxes = [[0, 0, size[1], size[0]], [-50, -50, 5000, 5000], [0.2, 0.3, 0.4, 0.5]]
    drawn = draw_boxes(image, boxes, labels=["a", "ü 猫", ""], dashed=dashed)
    assert drawn.shape == image.shape
    assert drawn.any()


def test_boxes_without_area_draw_nothing(photograph):
    boxes = [[0, 0, 0, 0], [5, 5, 5, 9], [9, 9, 5, 5], [np.nan, 0, 5, 5]]
    np.testing.assert_array_equal(draw_boxes(photograph, boxes), photograph)
    np.testing.assert_array_equal(draw_boxes(photograph, torch.zeros(0, 4)), photograph)


def test_dashes_have_gaps():
    image = np.zeros((200, 200, 3), np.uint8)
    solid, dashed = (
        (draw_boxes(image, [10, 10, 190, 190], dashed=d) == 255).sum() for d in (False, True)
    )
    assert 0.3 * solid < dashed < 0.8 * solid


def test_contact_sheet_with_gaps_and_extreme_cells(tmp_path, photograph):
    dot, line = np.zeros((1, 1, 3), np.uint8), np.zeros((1, 900, 3), np.uint8)
    rows = [[photograph, torch.rand(7, 7)], [None, dot], [line], [], [None, None]]
    target = tmp_path / "sheet.png"
    captions = ["one $x", "", "three & <b>", "é", "five"]
    contact_sheet(rows, ["left", "right"], target, captions=captions)
    with Image.open(target) as sheet:
        pixels = np.asarray(sheet.convert("RGB")).astype(int)
    assert pixels.shape[1] > 2 * 300
    assert (np.ptp(pixels, axis=2) > 50).any()  # the map is in color


def test_pyplot_is_left_alone(tmp_path, photograph):
    loaded = sys.modules.pop("matplotlib.pyplot", None)
    try:
        contact_sheet([[photograph]], ["only"], tmp_path / "sheet.png")
        plot_curves({"a": ([0, 1], [0, 1])}, tmp_path / "lines.png", x_label="x", y_label="y")
        plot_bars({"a": 1}, tmp_path / "bars.png", x_label="x")
        assert "matplotlib.pyplot" not in sys.modules
    finally:
        if loaded is not None:
            sys.modules["matplotlib.pyplot"] = loaded


@pytest.fixture
def figure(monkeypatch):
    """Catch the matplotlib figure that would be saved; call it to look at its only axes."""
    kept = []
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda self, path: kept.append(self))

    def axes():
        (found,) = kept.pop().axes
        return found

    return axes


def dots(axes):
    """Return the points that are marked."""
    lines = [line for line in axes.get_lines() if line.get_marker() == "o"]
    return [(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in lines]


def texts(axes):
    return [text.get_text().strip() for text in axes.get_legend().get_texts()]


def test_curves_mark_the_first_of_the_highest_points(figure):
    nan = float("nan")
    series = {
        "tensor": (torch.tensor([0.0, 0.25, 0.5, 1]), torch.tensor([0.1, 0.75, 0.75, 0.2])),
        "gap": ([0, 1, 2], [nan, 3, 2]),
        "empty": ([0, 1], [nan, nan]),
    }
    plot_curves(series, "anywhere", x_label="x [cells]", y_label="y", title="title")
    axes = figure()
    assert dots(axes) == [(0.25, 0.75), (1.0, 3.0)]
    assert texts(axes) == ["tensor: 0.75 at 0.25", "gap: 3 at 1", "empty"]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == ("x [cells]", "y", "title")
    np.testing.assert_array_equal(axes.get_lines()[0].get_ydata(), series["tensor"][1])


def test_curves_mark_what_was_chosen_elsewhere(figure):
    series = {name: ([0.0, 0.1, 0.2], [1.0, 2.0, 3.0]) for name in ("a", "b")}
    plot_curves(series, "anywhere", x_label="x", y_label="y", marks={"b": 0.1})
    axes = figure()
    assert dots(axes) == [(0.1, 2.0)]
    assert texts(axes) == ["a", "b: 2 at 0.1"]
    plot_curves(series, "anywhere", x_label="x", y_label="y", marks={})
    assert dots(figure()) == []


def test_bars_are_in_order_and_have_their_values(figure):
    plot_bars({"right": 70.25, "no": 0, "_$odd$": 3}, "anywhere", x_label="per cent")
    axes = figure()
    assert [bar.get_width() for bar in axes.patches] == [70.25, 0, 3]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["right", "no", "_$odd$"]
    assert axes.yaxis_inverted()  # the first on top
    assert {"70.2", "0", "3"} <= {text.get_text() for text in axes.texts}
    assert axes.get_xlim()[1] > 70.25


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf", "webp"])
def test_plots_of_every_format_and_any_name(tmp_path, suffix):
    names = ["_hidden", "$x", "a_b^c", "\\frac{", "<b> & 'c'", "é"]
    series = {name: ([0, 1], [i, 1]) for i, name in enumerate(names)}
    labels = " ".join(names)
    for draw, target in ((plot_curves, "curves"), (plot_bars, "bars")):
        path = tmp_path / f"{target}.{suffix}"
        options = {"y_label": labels} if draw is plot_curves else {}
        values = series if draw is plot_curves else dict.fromkeys(names, 0.0)
        draw(values, path, x_label=labels, title=labels, **options)
        assert path.stat().st_size > 1000


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda p, t: plot_curves({}, t, x_label="", y_label=""),
            ValueError,
            "series: expected at least one",
        ),
        (
            lambda p, t: plot_curves({"a": ([0, 1], [1])}, t, x_label="", y_label=""),
            ValueError,
            r"series: expected x and y of one length in 'a', got \(2,\) and \(1,\)",
        ),
        (
            lambda p, t: plot_curves({"a": ([], [])}, t, x_label="", y_label=""),
            ValueError,
            "series: expected x and y of one length in 'a'",
        ),
        (
            lambda p, t: plot_curves({"a": ([0], [1])}, t, x_label="", y_label="", marks={"b": 0}),
            ValueError,
            "marks: expected names of series, got 'b'",
        ),
        (lambda p, t: plot_bars({}, t, x_label=""), ValueError, "values: expected at least one"),
        (
            lambda p, t: plot_bars({"a": float("nan")}, t, x_label=""),
            ValueError,
            "values: expected finite numbers >= 0 in 'a', got nan",
        ),
        (
            lambda p, t: plot_bars({"a": -1}, t, x_label=""),
            ValueError,
            "values: expected finite numbers >= 0 in 'a', got -1",
        ),
        (
            lambda p, t: overlay(p / 255.0, np.ones((40, 60))),
            TypeError,
            "image: expected dtype uint8",
        ),
        (lambda p, t: overlay(p[..., :2], np.ones((40, 60))), ValueError, r"image: .*\(H, W, 3\)"),
        (lambda p, t: overlay(p, np.ones((60, 40))), ValueError, r"map: expected shape \(40, 60\)"),
        (lambda p, t: overlay(p, np.ones((40, 60)), 2), ValueError, r"alpha: .*\[0, 1\], got 2"),
        (lambda p, t: draw_boxes(p, [1, 2, 3]), ValueError, r"boxes: expected shape \(n, 4\)"),
        (lambda p, t: draw_boxes(p, [[1, 2, 3, 4]], labels=[]), ValueError, "labels: expected 1"),
        (lambda p, t: contact_sheet([], ["a"], t), ValueError, "rows: expected at least one"),
        (lambda p, t: contact_sheet([[p]], [], t), ValueError, "titles: expected at least one"),
        (lambda p, t: contact_sheet([[p, p]], ["a"], t), ValueError, "rows: expected at most 1"),
        (
            lambda p, t: contact_sheet([[p]], ["a"], t, captions=[]),
            ValueError,
            "captions: expected 1",
        ),
        (lambda p, t: contact_sheet([[p[0, 0]]], ["a"], t), ValueError, "image: expected shape"),
    ],
)
def test_errors(call, error, message, photograph, tmp_path):
    with pytest.raises(error, match=message):
        call(photograph, tmp_path / "sheet.png")
