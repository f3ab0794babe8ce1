"""The numbers behind the pictures of the losses: against closed forms, and against what the theory says where they meet."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from orthodrome import losses
from orthodrome.figures import boundaries, curves, shapes
from orthodrome.figures.boundaries import BOUNDARIES, CLASSES, gap
from orthodrome.figures.logits import crossing


def curve(data: curves.TargetCurves, name: str) -> np.ndarray:
    """φ of the row (and setting) of that name, whatever else shares its line."""
    return next(phi for label, phi in data.phi.items() if name in label.split(", "))


@pytest.fixture(scope="module")
def targets() -> curves.TargetCurves:
    return curves.target_curves()


# ------------------------------------------------------------------------------------------------------ target logits


def test_every_proxy_row_is_drawn_or_plain(targets: curves.TargetCurves) -> None:
    drawn = {name.split()[0] for label in (*targets.phi, ", ".join(targets.plain)) for name in label.split(", ")}
    assert drawn == set(losses.proxy_names())


CLOSED = {
    "cosface": lambda theta: np.cos(theta) - 0.35,
    "uniface": lambda theta: np.cos(theta) - 0.4,
    "sphereface_r v1": lambda theta: np.cos(np.minimum(1.5 * theta, math.pi)),
    "adaface ẑ = 1": lambda theta: np.cos(np.clip(theta - 0.4, 1e-3, math.pi - 1e-3)) - 0.8,
    "adaface ẑ = −1": lambda theta: np.cos(np.clip(theta + 0.4, 1e-3, math.pi - 1e-3)),
    "magface ‖x‖ = 10": lambda theta: np.where(theta + 0.45 > math.pi, np.cos(theta) - 0.45 * math.sin(0.45), np.cos(theta + 0.45)),
    "combined_margin": lambda theta: np.cos(theta + 0.3) - 0.2,
    "circle_proxy": lambda theta: np.maximum(1.25 - np.cos(theta), 0) * (np.cos(theta) - 0.75),
    "sphereface2 C": lambda theta: 2 * ((np.cos(theta) + 1) / 2) ** 3 - 1 - 0.4,
    "sphereface2 A": lambda theta: 2 * ((np.cos(np.minimum(theta + 0.5, math.pi)) + 1) / 2) ** 3 - 1,
}  # fmt: skip


@pytest.mark.parametrize("name", CLOSED)
def test_curves_are_the_papers(targets: curves.TargetCurves, name: str) -> None:
    expected = CLOSED[name](targets.theta)
    inside = np.abs(targets.theta + 0.45 - math.pi) > 1e-2  # at the jump of a fallback either side is right
    np.testing.assert_allclose(curve(targets, name)[inside], expected[inside], atol=2e-6)


def test_psi_falls_from_1_to_minus_7(targets: curves.TargetCurves) -> None:
    psi = curve(targets, "a_softmax λ = 0")
    assert (psi[0], psi[-1]) == pytest.approx((1, -7), abs=1e-6)
    assert (np.diff(psi) <= 1e-6).all()
    np.testing.assert_allclose(curve(targets, "a_softmax λ = 5"), (5 * np.cos(targets.theta) + psi) / 6, atol=1e-6)


def test_curves_begin_and_cross_where_theory_says(targets: curves.TargetCurves) -> None:
    arc, cosine = curve(targets, "arcface"), curve(targets, "cosface")
    assert cosine[0] == pytest.approx(1 - 0.35)
    assert arc[0] == pytest.approx(math.cos(0.5))
    # cos(θ + a) = cos θ − m  ⟺  2·sin(a/2)·sin(θ + a/2) = m
    meeting = math.asin(0.35 / (2 * math.sin(0.25))) - 0.25
    found = targets.theta[np.flatnonzero(np.diff(np.sign(arc - cosine)))]
    assert found[0] == pytest.approx(meeting, abs=math.radians(0.25))


def test_every_margin_lies_below_the_cosine(targets: curves.TargetCurves) -> None:
    for label, phi in targets.phi.items():
        inside = slice(8, -8)
        assert (phi[inside] < np.cos(targets.theta[inside]) + 1e-9).all(), label


def test_mining_raises_hard_classes_only() -> None:
    data = curves.mining_curves()
    cosine, own = np.cos(data.theta), math.cos(curves.TARGET_ANGLE)
    thresholds = {"sv_softmax": own, "sv_am_softmax": own - 0.35, "sv_arc_softmax": math.cos(curves.TARGET_ANGLE + 0.5)}
    for name, threshold in thresholds.items():
        np.testing.assert_allclose(data.nu[name], np.where(cosine > threshold, 1.2 * cosine + 0.2, cosine), err_msg=name)
    np.testing.assert_allclose(data.nu["sv_softmax, fixed"], np.where(cosine > own, cosine + 0.2, cosine))
    hard = cosine > thresholds["sv_arc_softmax"]
    np.testing.assert_allclose(data.nu["curricularface, t = 0.5"], np.where(hard, cosine * (0.5 + cosine), cosine))


def test_mining_by_sample() -> None:
    data = curves.mining_curves()
    hard = data.weights["hm_softmax"]
    np.testing.assert_allclose(hard, [0.0] * 40 + [1 / 0.9] * 360)  # the losses ascend
    np.testing.assert_allclose(data.weights["f_softmax"], (1 - np.exp(-data.losses)) ** 2)


# --------------------------------------------------------------------------------------------------------- boundaries

PLANE = {
    "modified softmax": lambda own, other: np.cos(own) - np.cos(other),
    "A-Softmax, m = 3": lambda own, other: np.cos(3 * own) - np.cos(other),
    "CosFace, m = 0.35": lambda own, other: np.cos(own) - 0.35 - np.cos(other),
    "ArcFace, m = 0.5": lambda own, other: np.cos(own + 0.5) - np.cos(other),
    "SV-Softmax, t = 1.2": lambda own, other: np.cos(own) - np.cos(other),
}  # fmt: skip


@pytest.fixture(scope="module")
def plane() -> dict[str, boundaries.Boundary]:
    return boundaries.plane_boundaries()


@pytest.mark.parametrize("title", PLANE)
def test_points_on_a_drawn_boundary_satisfy_its_equation(plane: dict[str, boundaries.Boundary], title: str) -> None:
    first, second = plane[title].first, plane[title].second
    assert len(first) > 500
    np.testing.assert_allclose(PLANE[title](first[:, 0], first[:, 1]), 0, atol=2e-8)  # sin θ is clamped at θ = 0
    np.testing.assert_allclose(PLANE[title](second[:, 1], second[:, 0]), 0, atol=2e-8)


@pytest.mark.parametrize("title", [title for title in BOUNDARIES if not title.startswith(("SphereFace2", "SV"))])
def test_own_logits_meet_on_the_boundary(plane: dict[str, boundaries.Boundary], title: str) -> None:
    for points, roles in zip((plane[title].first, plane[title].second), CLASSES, strict=True):
        np.testing.assert_allclose(boundaries.plane_margin(BOUNDARIES[title], points, roles), 0, atol=1e-7)
        nearer = points.copy()
        nearer[:, roles[0]] -= 1e-3
        assert (boundaries.plane_margin(BOUNDARIES[title], nearer[nearer[:, roles[0]] > 0], roles) > 0).all()


def test_softmax_has_one_boundary_for_both_classes(plane: dict[str, boundaries.Boundary]) -> None:
    first, second = plane["softmax"].first, plane["softmax"].second
    for points in (first, second):
        np.testing.assert_allclose(np.cos(points[:, 0]) - (1.6 * np.cos(points[:, 1]) + 0.3), 0, atol=1e-9)


def test_sv_softmax_asks_more_of_the_misclassified(plane: dict[str, boundaries.Boundary]) -> None:
    first, second = plane["SV-Softmax, t = 1.2"].strived
    np.testing.assert_allclose(np.cos(first[:, 0]), 1.2 * np.cos(first[:, 1]) + 0.2, atol=1e-9)
    np.testing.assert_allclose(np.cos(second[:, 1]), 1.2 * np.cos(second[:, 0]) + 0.2, atol=1e-9)
    assert all(not boundary.strived for title, boundary in plane.items() if not title.startswith("SV"))


@pytest.mark.parametrize(("title", "bias"), [("SphereFace2, no bias", 0.0), ("SphereFace2, b = −9", -9.0)])
def test_sphereface2_has_two_parallel_boundaries(plane: dict[str, boundaries.Boundary], title: str, bias: float) -> None:
    own, other = plane[title].first[1]
    assert 30 * (math.cos(own) - 0.2) + bias == pytest.approx(0, abs=1e-9)
    assert 30 * (math.cos(other) + 0.2) + bias == pytest.approx(0, abs=1e-9)
    assert math.cos(own) - math.cos(other) == pytest.approx(2 * 0.2)
    if bias == 0:  # around the middle; a negative bias moves both towards the proxy
        assert own + other == pytest.approx(math.pi)
    else:
        assert own < math.acos(0.2)
        assert other < math.acos(-0.2)


def test_the_circle_is_cut_at_the_same_angles() -> None:
    cuts = boundaries.circle_cuts()
    for title, spec in BOUNDARIES.items():
        for arcs, roles in zip((cuts[title].first, cuts[title].second), CLASSES, strict=True):
            assert len(arcs) == 1
            edges, inwards = np.array(arcs[0]), np.array([1e-6, -1e-6])
            assert (boundaries.circle_margin(spec, edges + inwards, roles) > 0).all()
            assert (boundaries.circle_margin(spec, edges - inwards, roles) < 0).all()


@pytest.mark.parametrize("margin", [1, 2, 3, 4])
def test_angular_margin_of_a_softmax(margin: int, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = losses.proxy_loss("a_softmax", margin=margin, annealing_lambda=0.0)
    monkeypatch.setattr(boundaries, "BOUNDARIES", {"it": spec})
    assert gap(boundaries.circle_cuts()["it"]) == pytest.approx((margin - 1) / (margin + 1) * boundaries.BETWEEN, abs=1e-9)


def test_gaps_on_the_circle() -> None:
    cuts = boundaries.circle_cuts()
    assert gap(cuts["modified softmax"]) == pytest.approx(0, abs=1e-9)
    assert gap(cuts["ArcFace, m = 0.5"]) == pytest.approx(0.5)
    # cos(60° − δ) − cos(60° + δ) = 2·sin 60°·sin δ = m, half a gap on each side
    assert gap(cuts["CosFace, m = 0.35"]) == pytest.approx(2 * math.asin(0.35 / (2 * math.sin(boundaries.BETWEEN / 2))))


def test_softmax_line() -> None:
    line = boundaries.circle_cuts()["softmax"].line
    assert line is not None
    first, second = boundaries.proxies()
    np.testing.assert_allclose(line @ (first - second) + 0.0 - 0.3, 0, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(line, axis=1), 1)


def test_crossing_finds_roots_and_jumps() -> None:
    ends = np.zeros(3), np.full(3, 2.0)
    np.testing.assert_allclose(crossing(lambda x: x - np.array([0.5, 1.0, 1.5]), *ends), [0.5, 1, 1.5])
    np.testing.assert_allclose(crossing(lambda x: np.where(x < 0.7, 3.0, -1.0), *ends), 0.7)
    assert np.isnan(crossing(lambda x: x + 1, *ends)).all()


# ------------------------------------------------------------------------------------------------- SphereFace2's shapes


def test_loss_over_similarity() -> None:
    data = shapes.loss_curves()
    for scale in shapes.SCALES:
        np.testing.assert_allclose(data.positive[scale], np.log1p(np.exp(-scale * data.cosine)) / scale, rtol=1e-9)
        np.testing.assert_allclose(data.negative[scale], data.positive[scale][::-1], rtol=1e-9)
        np.testing.assert_allclose(data.positive_slope[scale], -1 / (1 + np.exp(scale * data.cosine)), rtol=1e-9)
        assert np.abs(data.negative_slope[scale]).max() <= 1 + 1e-12
    ratios = [shapes.slope_ratio(data, scale) for scale in shapes.SCALES]
    assert ratios == sorted(ratios)
    assert ratios[0] == pytest.approx((1 + math.exp(0.5)) / (1 + math.exp(-0.5)), rel=1e-3)


def test_similarity_adjustment() -> None:
    data = shapes.adjustment_curves()
    np.testing.assert_allclose(data.g[1.0], data.z)
    for t, g in data.g.items():
        np.testing.assert_allclose(g, 2 * ((data.z + 1) / 2) ** t - 1, atol=1e-12)
        assert (g[0], g[-1]) == (-1, 1)
    assert all((data.g[t + 1][1:-1] < data.g[t][1:-1]).all() for t in (1.0, 2.0, 3.0, 4.0))


def test_geometry_shows_r_b_m_t() -> None:
    data = shapes.geometry()
    r, m, t, b = (data.hyper[name] for name in ("scale", "margin", "t", "bias"))

    def g(theta: float) -> float:
        return 2 * ((math.cos(theta) + 1) / 2) ** t - 1

    assert r * g(data.baseline) + b == pytest.approx(0, abs=1e-9)
    assert r * (g(data.own) - m) + b == pytest.approx(0, abs=1e-9)
    assert r * (g(data.other) + m) + b == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(data.n - data.p, 2 * r * m)
    np.testing.assert_allclose(data.plain, (data.n + data.p) / 2)
    np.testing.assert_allclose(data.unadjusted, r * np.cos(data.theta) + b)


def test_psi_never_has_more_than_a_sixth() -> None:
    data = shapes.annealing()
    np.testing.assert_allclose(data.share, 1 / (1 + data.annealing))
    assert data.share.max() == pytest.approx(1 / 6)
    assert data.steps[data.annealing <= 5][0] == pytest.approx(1658, rel=0.05)
    assert data.share[0] < 1.2e-3
