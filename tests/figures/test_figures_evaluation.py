"""The pictures of an evaluation show the data they are given."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from orthodrome.figures.evaluation import Band, det_figure, error_rates_figure, roc_figure
from orthodrome.figures.rates import rate_figure, reliability_figure

FAR, TAR = np.array([0, 0.01, 0.1, 1.0]), np.array([0.2, 0.5, 0.9, 1.0])


def test_the_det_is_drawn_in_normal_deviates_from_the_lowest_far_that_was_seen() -> None:
    axes = det_figure({"one": (FAR, TAR)}).axes[0]
    across, up = axes.lines[0].get_xdata(), axes.lines[0].get_ydata()
    np.testing.assert_allclose(across, norm.ppf([0.01, 0.1, 0.999]), rtol=1e-9)
    np.testing.assert_allclose(up, norm.ppf([0.5, 0.1, 0.05]), rtol=1e-9)  # no rejection: half of the smallest rate seen
    labels = [tick.get_text() for tick in axes.get_xticklabels()]
    assert "10 %" in labels
    np.testing.assert_allclose(axes.get_xticks()[labels.index("10 %")], norm.ppf(0.1), rtol=1e-9)


def test_normal_scores_give_a_straight_det() -> None:
    """What the axes are for: genuine N(2, 1) and impostor N(0, 1) lie on a line of slope −1."""
    thresholds = np.linspace(4, -2, 400)
    axes = det_figure({"normal": (np.append(0, norm.sf(thresholds)), np.append(0, norm.sf(thresholds, loc=2)))}).axes[0]
    across, up = axes.lines[0].get_xdata()[1:-60], axes.lines[0].get_ydata()[1:-60]
    np.testing.assert_allclose(across + up, -2, atol=1e-6)


def test_bands_are_shaded_around_the_curves_they_name() -> None:
    band = Band(np.array([0.01, 0.1, 1.0]), np.array([0.4, 0.8, 0.95]), np.array([0.6, 0.95, 1.0]))
    for figure in (
        roc_figure({"a": (FAR, TAR), "b": (FAR, TAR)}, {"a": band}),
        det_figure({"a": (FAR, TAR), "b": (FAR, TAR)}, {"a": band}),
    ):
        assert len(figure.axes[0].collections) == 1
    (shaded,) = roc_figure({"a": (FAR, TAR)}, {"a": band}).axes[0].collections
    corners = shaded.get_paths()[0].vertices
    assert {(0.01, 0.4), (0.01, 0.6), (0.1, 0.8), (0.1, 0.95)} <= set(map(tuple, corners.tolist()))
    # steps, as the curve's: a slope would leave the curve out
    assert {(0.1, 0.4), (0.1, 0.6)} <= set(map(tuple, corners.tolist()))


def test_rates_on_an_axis_are_written_as_in_the_text() -> None:
    labels = [tick.get_text() for tick in roc_figure({"one": (FAR, 0.95 + 0.05 * TAR)}).axes[0].get_yticklabels()]
    assert {"97 %", "100 %"} <= set(labels)


def test_error_rates_are_drawn_over_rising_thresholds_without_their_zeros() -> None:
    thresholds, far, frr = np.array([0.9, 0.5, 0.1]), np.array([0.0, 0.25, 1.0]), np.array([0.5, 0.1, 0.0])
    axes = error_rates_figure(thresholds, far, frr, {"FAR 25 %": 0.5}).axes[0]
    np.testing.assert_array_equal(axes.lines[0].get_xydata(), [[0.1, 1.0], [0.5, 0.25]])
    np.testing.assert_array_equal(axes.lines[1].get_xydata(), [[0.5, 0.1], [0.9, 0.5]])
    assert axes.lines[2].get_xdata()[0] == 0.5


def test_rates_and_reliability_show_every_point() -> None:
    points = ([1, 5, 1_000_000], [0.9, 0.95, 0.99], [0.88, 0.93, 0.98], [0.92, 0.97, 1.0])
    axes = rate_figure({"cmc": points}, "rank", "rate").axes[0]
    np.testing.assert_array_equal(axes.lines[0].get_xydata(), list(zip(*points[:2], strict=True)))
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "5", "1,000,000"]
    figure = reliability_figure({"logistic": ([0.1, 0.9], [0.2, 0.8], [0.1, 0.7], [0.3, 0.9])}, {"logistic": [30, 40]})
    above, below = figure.axes
    drawn = [line for line in above.lines if line.get_marker() == "o"]
    np.testing.assert_array_equal(drawn[0].get_xydata(), [[0.1, 0.2], [0.9, 0.8]])
    heights = [segment[:, 1].max() for collection in below.collections for segment in collection.get_segments()]
    assert heights == [30, 40]


@pytest.mark.parametrize("draw", [roc_figure, det_figure])
def test_a_perfect_and_a_useless_system_can_be_drawn(draw) -> None:
    perfect = (np.array([0.0, 0.0, 0.5, 1.0]), np.array([0.0, 1.0, 1.0, 1.0]))
    useless = (np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    figure = draw({"perfect": perfect, "useless": useless})
    figure.canvas.draw()
    assert len(figure.axes[0].lines) == 2
