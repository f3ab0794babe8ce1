"""Names, defaults, presets, and values that would train nonsense: refused when the loss is made, before the first batch."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from orthodrome import InputError, PairHead, ProxyHead, losses

WRONG = [
    ("arcface", {"scale": 0}, "scale of arcface must be a finite number above 0; got 0"),
    ("arcface", {"scale": -64.0}, "above 0"),
    ("arcface", {"scale": math.nan}, "above 0; got nan"),
    ("arcface", {"scale": None}, "got None"),
    ("arcface", {"scale": "64"}, "got '64'"),
    ("arcface", {"scale": True}, "got True"),
    ("arcface", {"margin": math.nan}, "margin of arcface must be a finite number; got nan"),
    ("arcface", {"margin": math.inf}, "got inf"),
    ("arcface", {"fallback": "linaer"}, "one of 'linear', 'clamp_theta', 'cos', 'none'; got 'linaer'"),
    ("arcface", {"easy_margin": "no"}, "easy_margin"),
    ("arcface", {"gradient": "exakt"}, "one of 'exact', 'detached', 'detach_margin'; got 'exakt'"),
    ("arcface", {"mining": "batch_hard"}, "one of 'hm', 'focal'"),
    ("arcface", {"mining": "hm", "keep": 0}, r"keep of arcface must be a number in \(0, 1\]"),
    ("arcface", {"gamma": -1}, "at least 0"),
    ("arcface", {"loss_weight": 0}, "loss_weight"),
    ("arcface", {"center": -0.1}, "center"),
    ("arcface", {"center": 0.1, "alpha": 1.5}, "alpha"),
    ("arcface", {"reduction": "max"}, "one of 'mean', 'sum'"),
    ("combined_margin", {"m2": math.nan}, "m2"),
    ("adacos", {"mode": "dynamik"}, "one of 'dynamic', 'fixed'; got 'dynamik'"),
    ("a_softmax", {"margin": 1.5}, "1, 2, 3 or 4"),
    ("sv_a_softmax", {"margin": 5}, "1, 2, 3 or 4"),
    ("a_softmax", {"annealing_lambda": -5}, "annealing_lambda"),
    ("sphereface_r", {"version": "v3"}, "unknown version 'v3'"),
    ("sphereface_r", {"margin": 0.5}, "at least 1"),
    ("sphereface_r", {"feature_norm": "weak"}, "feature_norm"),
    ("sv_softmax", {"t": 0}, "t of sv_softmax"),
    ("sv_softmax", {"variant": "fixd"}, "unknown variant 'fixd'"),
    ("curricularface", {"t_alpha": 2}, "t_alpha"),
    ("magface", {"l_a": 110, "u_a": 10}, "l_a must be below u_a"),
    ("adaface", {"sigma0": 0}, "sigma0"),
    ("elastic_arcface", {"sigma": -0.1}, "sigma"),
    ("elastic_arcface", {"plus": "yes"}, "plus"),
    ("subcenter_arcface", {"subcenters": 0}, "positive integer"),
    ("subcenter_arcface", {"subcenters": 2.0}, "positive integer"),
    ("sphereface2", {"lam": 1.0}, "strictly between 0 and 1"),
    ("sphereface2", {"lam": "even"}, "'balanced'"),
    ("sphereface2", {"bias": "paper"}, "'paper init'"),
    ("sphereface2", {"variant": "B"}, "unknown variant 'B'"),
    ("sphereface2", {"variant": "A", "margin_n": 0.1}, "margin_n belongs to variant 'C'"),
    ("sphereface2", {"variant": "M", "margin": 0.4}, "margin of variant 'M' must be a finite number of at least 1.*got 0.4"),
    ("sphereface2@large-scale", {"variant": "M"}, "got 0.5"),
    ("sphereface2_a", {"variant": "M"}, "got 0.4"),
    ("combined_margin", {"m1": 1.35, "fallback": "linear"}, "'none' or 'clamp_theta' where m1 is not 1"),
    ("softmax", {"conflict": 0.5}, "conflict is a similarity of unit vectors, which softmax does not compare"),
    ("l2_softmax", {"conflict": 0.5}, "which l2_softmax does not compare"),
    ("center", {"conflict": 0.5}, "which center does not compare"),
    ("normface", {"conflict": 0.5, "label_smoothing": 0.1}, "give one of the two"),
    ("uniface", {"clamp": 1}, "True or False"),
    ("hm_softmax", {"mining": None}, "mining"),
]

WRONG_PAIRS = [
    ("triplet", {"mining": "hardest"}, "one of 'all', 'batch_hard', 'semihard'"),
    ("triplet", {"margin": math.nan}, "finite number"),
    ("triplet", {"distance": "manhattan"}, "one of 'cosine'"),
    ("triplet", {"reduction": "sum"}, "reduction"),
    ("nt_xent", {"temperature": 0}, "above 0"),
    ("circle_pair", {"variant": "pool"}, "unknown variant 'pool'"),
    ("n_pair", {"scale": -1}, "above 0"),
    ("contrastive", {"temperature": 0.1}, "contrastive has no hyper-parameter 'temperature'"),
]


@pytest.mark.parametrize(("name", "hyper", "message"), WRONG)
def test_a_wrong_value_is_refused_at_construction(name: str, hyper: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ProxyHead(name, 5, 4, **hyper)


@pytest.mark.parametrize(("name", "hyper", "message"), WRONG_PAIRS)
def test_a_wrong_value_of_a_pair_loss_is_refused(name: str, hyper: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        PairHead(name, **hyper)


@pytest.mark.parametrize("name", losses.names())
def test_every_row_and_default_is_known(name: str) -> None:
    spec = losses.get(name)
    assert spec.paper
    assert spec.formula
    assert spec.cell[0] in ("triplet", "pair")
    assert spec.cell[1] == ("proxies" if name in losses.proxy_names() else "no proxies")
    assert {**spec.defaults} == {**losses.get(name).defaults}


@pytest.mark.parametrize("name", losses.PRESETS)
def test_every_preset_departs_and_says_how(name: str) -> None:
    preset = losses.PRESETS.get(name)
    spec, parent = losses.get(name), losses.get(preset.row)
    assert name.startswith(preset.row + "@")
    assert preset.departure
    for key, value in preset.hyper.items():
        assert spec.hyper[key] == value
    if name != "sphereface2@opensphere":  # the row's defaults follow it
        assert spec.hyper != parent.hyper


def test_unknown_names_answer_with_near_matches() -> None:
    with pytest.raises(InputError, match=r"unknown loss 'arcfac'\. Did you mean 'arcface'"):
        losses.get("arcfac")
    with pytest.raises(InputError, match=r"arcface has no hyper-parameter 'margn'\. Did you mean 'margin'"):
        losses.get("arcface", margn=0.5)
    with pytest.raises(InputError, match="unknown loss 'arcface@insightface'"):
        losses.get("arcface@insightface")


def test_defaults_are_those_of_the_papers() -> None:
    def hyper(name: str, **given: Any) -> dict[str, Any]:
        return dict(losses.get(name, **given).hyper)

    assert (hyper("arcface")["scale"], hyper("arcface")["margin"], hyper("arcface")["fallback"]) == (64, 0.5, "linear")
    assert (hyper("cosface")["scale"], hyper("cosface")["margin"]) == (64, 0.35)
    assert (hyper("sphereface_r", version="v2")["scale"], hyper("sphereface_r", version="v2")["margin"]) == (60, 1.4)
    assert [hyper("sphereface2")[key] for key in ("lam", "scale", "margin", "t", "loss_weight")] == [0.7, 40, 0.4, 3, 50]
    assert [hyper("sphereface2", variant="M")[key] for key in ("margin", "loss_weight")] == [1.7, 10]
    assert [hyper("sphereface2@review")[key] for key in ("lam", "scale", "t")] == [0.6, 30, 5]
    assert hyper("elastic_arcface@plus")["sigma"] == 0.0175
    assert (hyper("circle_pair@authors")["margin"], hyper("circle_pair@authors")["scale"]) == (0.25, 256)
    assert hyper("am_softmax") == hyper("cosface")
    assert hyper("hm_softmax")["keep"] == 0.9
    assert hyper("f_softmax")["gamma"] == 2


def test_too_few_classes() -> None:
    with pytest.raises(InputError, match="num_classes of adacos must be an integer of at least 3; got 2"):
        ProxyHead("adacos", 2, 4)
    with pytest.raises(InputError, match="at least 2"):
        ProxyHead("arcface", 1, 4)


@pytest.mark.parametrize(
    ("embeddings", "labels", "message"),
    [
        (torch.zeros(3, 5), torch.zeros(3, dtype=torch.int64), r"embeddings must have shape \(B, 4\)"),
        (torch.zeros(4), torch.zeros(1, dtype=torch.int64), "embeddings must have shape"),
        (torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), "B ≥ 1"),
        (torch.zeros(3, 4, dtype=torch.int64), torch.zeros(3, dtype=torch.int64), "floating point"),
        (torch.zeros(3, 4), torch.zeros(2, dtype=torch.int64), r"labels must have shape \(3,\)"),
        (torch.zeros(3, 4), torch.zeros(3), "labels must be integers; got torch.float32"),
        (torch.zeros(3, 4), torch.zeros(3, dtype=torch.bool), "labels must be integers"),
        (torch.zeros(3, 4), [0, 1, 2], "labels must be a torch tensor; got list"),
        ([[0.0] * 4] * 3, torch.zeros(3, dtype=torch.int64), "embeddings must be a torch tensor; got list"),
        (
            torch.zeros(3, 4).double(),
            torch.zeros(3, dtype=torch.int64),
            r"embeddings are torch.float64 but the proxies of the head torch.float32: .*embeddings.to\(torch.float32\)\) or the head \(",
        ),
    ],
)
def test_bad_batches_are_named(embeddings: torch.Tensor, labels: torch.Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ProxyHead("arcface", 5, 4)(embeddings, labels)


@pytest.mark.parametrize("impl", ["dense", "chunked"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_float_types_that_cannot_be_multiplied_are_named(dtype: torch.dtype, impl: str) -> None:
    labels = torch.zeros(3, dtype=torch.int64)
    with pytest.raises(InputError, match=f"embeddings are {dtype} but the proxies of the head torch.float64"):
        ProxyHead("arcface", 5, 4, impl=impl).double()(torch.ones(3, 4, dtype=dtype), labels)
    for kept in (torch.float32, torch.bfloat16, torch.float16):  # half precision is promoted, on either side
        assert ProxyHead("arcface", 5, 4, impl=impl).to(kept)(torch.ones(3, 4, dtype=dtype), labels).loss.isfinite()
