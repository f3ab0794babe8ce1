"""ONE LINE PER LOSS. To add one: a pure function in ``angular.py``, a line here, a row of test data.

``ROWS`` are the losses, ``ALIASES`` other names of a row; named settings of a row are in ``presets.py``.
A row whose defaults name a ``base`` is that row with other defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from orthodrome.losses import angular, biases, checks, links, margins, pairs, regularizers, scales, similarities
from orthodrome.losses.row import PAIR_FREE, PAIR_PROXY, Choice, PairRow, Row
from orthodrome.registry import Registry
from orthodrome.types import Angular, Values

ARC = {"scale": 64.0, "margin": 0.5, "fallback": "linear", "easy_margin": False}
AM = {"scale": 64.0, "margin": 0.35, "easy_margin": False}
SV = {"scale": 32.0, "t": 1.2, "variant": "adaptive"}
MAG = {"l_a": 10.0, "u_a": 110.0, "l_margin": 0.45, "u_margin": 0.8, "lambda_g": 35.0}
ADA = {"h": 0.333, "t_alpha": 0.01, "mu0": 20.0, "sigma0": 100.0}
SPHEREFACE2 = {
    "variant": "C", "lam": 0.7, "scale": 40.0, "margin": 0.4, "margin_p": None, "margin_n": None, "t": 3.0, "bias": "paper init",
    "loss_weight": 50.0,
}  # fmt: skip

constants = margins.constants
ARC_VALUES = constants("margin", "fallback")


def divided_by_scale(hyper: Values) -> float:
    """``loss_weight / scale``: SphereFace-R and SphereFace2 keep the size of the gradient independent of the scale."""
    return float(hyper["loss_weight"] / hyper["scale"])


def support(base: Angular) -> Choice:
    """SV-X over a margin: the published "adaptive" form, or MV-Softmax's "fixed" one."""
    return Choice(
        "variant",
        {
            "adaptive": partial(angular.support_vector, base=base),
            "fixed": partial(angular.support_vector_fixed, base=base),
        },
    )


def annealed_support(rows: Any, state: Any, hyper: Values) -> Values:
    """A-Softmax's margin and λ, and t."""
    return {**margins.annealed(rows, state, hyper), "t": hyper["t"]}


ANNEALED: dict[str, Any] = {
    "state": margins.annealing_state, "prepare": margins.annealing_update, "scale": scales.feature_norm,
    "rules": {"margin": checks.WHOLE_ORDER, "scale": checks.NUMBER_OR_NORM},
}  # fmt: skip
LEARNED_SCALE: dict[str, Any] = {"scale": scales.learnable, "state": scales.learnable_state}

_TABLE = [
    # --- softmax link -------------------------------------------------------------------------------------------------
    Row("softmax", "baseline", "W_y·x + b_y against W_j·x + b_j", similarity=similarities.affine, scale=scales.one),
    Row("l2_softmax", "1703.09507", "softmax of x = α·x̂", {"scale": 16.0, "learn_scale": False},
        similarity=similarities.affine_on_sphere, scale=scales.one, state=scales.learnable_state),
    Row("modified_softmax", "1704.08063", "s = ‖x‖; φ = c", {"scale": None}, scale=scales.feature_norm),
    Row("normface", "1704.06369", "φ = c", {"scale": 30.0, "learn_scale": False}, **LEARNED_SCALE),
    Row("a_softmax", "1704.08063", "s = ‖x‖; φ = (λ·c + ψ(θ))/(1 + λ)", {"scale": None, "margin": 4, "annealing_lambda": None},
        angular.a_softmax, margins.annealed, **ANNEALED),
    Row("sphereface_r", "2109.05565", "v0: ψ(θ); v1: cos(min(mθ, π)); v2: ν = cos(θ/m); loss_weight·CE/s",
        {"version": "v1", "scale": 30.0, "margin": 1.5, "loss_weight": 50.0, "feature_norm": "hard"},
        Choice("version", {"v0": angular.sphereface_v0, "v1": angular.sphereface_v1, "v2": angular.sphereface_v2}),
        constants("margin"), scale=scales.hard_or_soft, factor=divided_by_scale, regularizer=regularizers.norm_near_scale,
        when={"version": {"v2": {"scale": 60.0, "margin": 1.4}}}, rules={"margin": checks.MULTIPLE},
        gradient="detached", gradient_note="the paper detaches on purpose"),
    Row("cosface", "1801.09414", "φ = c − m", AM, angular.cosface, constants("margin"),
        gradient_note="the published formula, differentiated: the same as detached, as the margin is a constant"),
    Row("arcface", "1801.07698", "φ = cos(θ + m)", ARC, angular.arcface, ARC_VALUES,
        gradient_note="the published formula, differentiated; insightface detaches since December 2022 (preset)"),
    Row("combined_margin", "1801.07698", "φ = cos(m1·θ + m2) − m3",
        {"scale": 64.0, "m1": 1.0, "m2": 0.3, "m3": 0.2, "fallback": "none", "easy_margin": False},
        angular.combined_margin, constants("m1", "m2", "m3", "fallback"), check=checks.falling_angle),
    Row("adacos", "1905.00292", "φ = c; s from the batch: ln B_avg / cos(min(π/4, θ_med))", {"mode": "dynamic"},
        scale=scales.adacos, state=scales.adacos_state, prepare=scales.adacos_update, rules={"mode": checks.ADACOS_MODE},
        minimum_classes=3),
    Row("hm_softmax", "1604.03540", "the hardest ⌊keep·B⌋ of the batch",
        {"base": "normface", "scale": 32.0, "mining": "hm"}),
    Row("f_softmax", "1708.02002", "(1 − e^{−ℓ})^γ·ℓ", {"base": "normface", "scale": 32.0, "mining": "focal"}),
    Row("mining_margin", "1812.11317", "any margin row under hm or focal weighting",
        {"base": "cosface", "scale": 32.0, "mining": "hm"}),
    Row("sv_softmax", "1812.11317", "ν = t·c + t − 1 where c > c_y", SV, support(angular.plain), constants("t")),
    Row("sv_a_softmax", "1812.11317", "φ of a_softmax; ν = t·c + t − 1 where c > φ",
        {**SV, "margin": 4, "annealing_lambda": None},
        support(angular.a_softmax), annealed_support, **ANNEALED),
    Row("sv_am_softmax", "1812.11317", "φ = c − m; ν = t·c + t − 1 where c > φ", {**SV, "margin": 0.35, "easy_margin": False},
        support(angular.cosface), constants("t", "margin")),
    Row("sv_arc_softmax", "1812.11317", "φ of arcface; ν = t·c + t − 1 where c > φ", {**SV, **ARC, "scale": 32.0},
        support(angular.arcface), constants("t", "margin", "fallback")),
    Row("curricularface", "2004.00288", "φ of arcface; ν = c·(t + c) where c > cos(θ_y + m)", {**ARC, "t0": 0.0, "t_alpha": 0.01},
        angular.curricularface, margins.curricular, state=margins.curricular_state, prepare=margins.curricular_update),
    Row("magface", "2103.06627", "φ = cos(θ + m(‖x‖)); + λ_g·(1/a + a/u_a²)", {"scale": 64.0, "fallback": "linear", **MAG},
        angular.arcface, margins.magface, regularizer=regularizers.norm_quality, check=checks.norm_range),
    Row("adaface", "2204.00964", "φ = cos(θ − m·ẑ) − m(1 + ẑ), ẑ from ‖x‖", {"scale": 64.0, "margin": 0.4, **ADA},
        angular.adaface, margins.adaface, state=margins.adaface_state, prepare=margins.adaface_update,
        gradient_note="the published formula, differentiated; the feature norm is a constant, as in the paper"),
    Row("elastic_arcface", "2109.09416", "arcface with m ~ N(m, σ)", {**ARC, "sigma": 0.05, "plus": False},
        angular.arcface, margins.elastic_arc, when={"plus": {True: {"sigma": 0.0175}}}),
    Row("elastic_cosface", "2109.09416", "cosface with m ~ N(m, σ)", {**AM, "sigma": 0.05, "plus": False},
        angular.cosface, margins.elastic, when={"plus": {True: {"sigma": 0.02}}}),
    Row("subcenter_arcface", "ECCV 2020", "arcface on the best of K sub-centres", {**ARC, "subcenters": 3},
        angular.arcface, ARC_VALUES, similarity=similarities.subcentre),
    Row("circle_proxy", "2002.10857", "φ = [1+m−c]₊(c−1+m); ν = [c+m]₊(c−m)", {"scale": 256.0, "margin": 0.25},
        angular.circle, constants("margin"), gradient_note="the weights [·]₊ are constants, as in the paper"),
    Row("center", "Wen 2016", "base + (λ/2)·‖x − c_y‖², moving centres",
        {"base": "softmax", "center": 0.003}, renames={"weight": "center"}),
    # --- binary link --------------------------------------------------------------------------------------------------
    Row("sphereface2", "2108.01513", "λ·ζ(−(r·P + b)) + (1−λ)·Σ ζ(r·Q_j + b), over r", SPHEREFACE2,
        Choice("variant", {"C": angular.sphereface2_c, "A": angular.sphereface2_a, "M": angular.sphereface2_m}),
        Choice("variant", {"C": margins.both_margins, "A": margins.positive_margin_only, "M": margins.positive_margin_only}),
        Choice("variant", {"C": angular.sphereface2_c, "A": angular.sphereface2_a_margin_detached,
                           "M": angular.sphereface2_m_margin_detached}),
        link=links.binary, state=biases.sphereface2_state, factor=divided_by_scale, cell=PAIR_PROXY,
        check=checks.margins_of_variant, gradient="detached", gradient_note="the authors' code detaches",
        when={"variant": {"A": {"margin": 0.5, "loss_weight": 10.0}, "M": {"margin": 1.7, "loss_weight": 10.0}}}),
    Row("uniface", "ICCV 2023", "ζ(−(s(c_y − m) − b)) + Σ ζ(s·c_j − b)", {**AM, "margin": 0.4, "lam": None, "clamp": False},
        angular.cosface, constants("margin"), link=links.binary, state=biases.uniface_state, cell=PAIR_PROXY),
]  # fmt: skip

# SphereFace2 as the paper builds it, each stage adding one thing, so that the ablation can be run again.
_NAIVE: dict[str, Any] = {
    "base": "sphereface2",
    "lam": None,
    "scale": 1.0,
    "margin": 0.0,
    "t": 1.0,
    "bias": None,
    "loss_weight": 1.0,
}
_STAGES: dict[str, tuple[str, dict[str, Any]]] = {
    "sphereface2_naive": ("ζ alone: both weights 1, r = 1, m = 0, no b, t = 1", {}),
    "sphereface2_b": ("L_b: + λ", {"lam": 0.7}),
    "sphereface2_e": ("L_e: + r", {"lam": 0.7, "scale": 40.0}),
    "sphereface2_a": ("L_a: + margin", {"lam": 0.7, "scale": 40.0, "margin": 0.4}),
    "sphereface2_bias": ("+ b", {"lam": 0.7, "scale": 40.0, "margin": 0.4, "bias": "paper init"}),
}
_TABLE += [Row(name, "2108.01513", formula, {**_NAIVE, **added}) for name, (formula, added) in _STAGES.items()]

COSINE_MARGINS = {"pos_margin": 1.0, "neg_margin": 0.5}

# Pair losses: keys are the other embeddings of the batch, and of a memory.
_PAIR_TABLE = [
    PairRow("contrastive", "Hadsell 2006", "[d − m_p]₊ of positives, [m_n − d]₊ of negatives",
        {"distance": "euclidean", "pos_margin": 0.0, "neg_margin": 1.0},
        pairs.contrastive, margins=("pos_margin", "neg_margin"), cell=PAIR_FREE,
        when={"distance": {"cosine": COSINE_MARGINS, "cosine similarity": COSINE_MARGINS}}),
    PairRow("triplet", "1503.03832", "[d_ap − d_an + m]₊",
        {"mining": "all", "distance": "euclidean", "margin": 0.2, "reduction": "mean over non-zero triplets"},
        Choice("mining", {"all": pairs.triplet_all, "batch_hard": pairs.triplet_batch_hard, "semihard": pairs.triplet_semihard}),
        ("margin", "reduction"), rules={"mining": checks.TRIPLET_MINING, "reduction": checks.TRIPLET_REDUCTION},
        when={"mining": {"batch_hard": {"reduction": "mean over anchors"},
                         "semihard": {"reduction": "mean over semihard triplets"}}}),
    PairRow("n_pair", "Sohn 2016", "ζ(LSE_neg(s·c_in) − s·c_ip)", {"scale": 16.0}, pairs.n_pair, ("scale",)),
    PairRow("lifted_structure", "1511.06452", "[LSE_pos(d − m_p) + LSE_neg(m_n − d)]₊",
        {"variant": "generalised", "distance": "euclidean", "pos_margin": 0.0, "neg_margin": 1.0},
        Choice("variant", {"generalised": pairs.lifted_generalised, "original": pairs.lifted_original}),
        ("pos_margin", "neg_margin")),
    PairRow("nt_xent", "2002.05709", "ζ(LSE_neg(c_in/T) − c_ip/T)", {"temperature": 0.1}, pairs.nt_xent, ("temperature",)),
    PairRow("supcon", "2004.11362", "mean_p [LSE_all(c_ia/T) − c_ip/T]", {"temperature": 0.1}, pairs.supcon, ("temperature",)),
    PairRow("circle_pair", "2002.10857", "ζ(LSE_neg(γ[c+m]₊(c−m)) + LSE_pos(γ[1+m−c]₊(1−m−c)))",
        {"variant": "per_anchor", "scale": 80.0, "margin": 0.4},
        Choice("variant", {"per_anchor": pairs.circle_per_anchor, "pooled": pairs.circle_pooled}), ("scale", "margin"),
        when={"variant": {"pooled": {"scale": 256.0, "margin": 0.25}}},
        gradient_note="the weights [·]₊ are constants, as in the paper"),
]  # fmt: skip

ROWS: Registry[Row | PairRow] = Registry("loss")
for _proxy_row in _TABLE:
    ROWS.add(_proxy_row.name, _proxy_row)
for _pair_row in _PAIR_TABLE:
    ROWS.add(_pair_row.name, _pair_row)

ALIASES: Mapping[str, str] = {"am_softmax": "cosface", "sphereface": "a_softmax"}
