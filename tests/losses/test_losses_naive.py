"""The formulation against plain Python loops over floats, written from the papers and sharing no code with the package."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from orthodrome import ProxyHead

B, C, D = 6, 5, 4

Vector = list[float]


def dot(a: Vector, b: Vector) -> float:
    return sum(p * q for p, q in zip(a, b, strict=True))


def norm(a: Vector) -> float:
    return math.sqrt(dot(a, a))


def cosine_of(a: Vector, b: Vector) -> float:
    return dot(a, b) / norm(a) / norm(b)


def cross_entropy(logits: Vector, label: int) -> float:
    return math.log(sum(math.exp(z) for z in logits)) - logits[label]


def zeta(z: float) -> float:
    return math.log(1 + math.exp(z))


def softmax_family(phi: Callable[..., float], nu: Callable[..., float], scale: Callable[[Vector], float]):
    """Loop over samples and classes; φ(θ, x) and ν(c, target value, θ, x)."""

    def loss(xs: list[Vector], ws: list[Vector], ys: list[int]) -> float:
        total = 0.0
        for x, y in zip(xs, ys, strict=True):
            theta = math.acos(cosine_of(x, ws[y]))
            target = phi(theta, x)
            logits = []
            for j, w in enumerate(ws):
                value = target if j == y else nu(cosine_of(x, w), target, theta, x)
                logits.append(scale(x) * value)
            total += cross_entropy(logits, y)
        return total / len(ys)

    return loss


def same(c: float, target: float, theta: float, x: Vector) -> float:
    return c


def arc(theta: float, m: float = 0.5) -> float:
    return math.cos(theta + m) if theta + m <= math.pi else math.cos(theta) - m * math.sin(m)


def psi(theta: float, m: int) -> float:
    k = int(m * theta / math.pi)
    return (-1) ** k * math.cos(m * theta) - 2 * k


def magface_margin(x: Vector) -> float:
    a = min(max(norm(x), 10.0), 110.0)
    return 0.45 + 0.35 * (a - 10) / 100


def g(z: float, t: float = 3.0) -> float:
    return 2 * ((z + 1) / 2) ** t - 1


def sphereface2(positive: Callable[[float], float], negative: Callable[[float], float], weight: float):
    def loss(xs: list[Vector], ws: list[Vector], ys: list[int]) -> float:
        lam, r, total = 0.7, 40.0, 0.0
        z = lam / (1 - lam) / (C - 1)
        a_y, a_i = r * positive(math.pi / 2), r * negative(math.pi / 2)
        b = math.log(2 * z) - a_i - math.log(1 - z + math.sqrt((1 - z) ** 2 + 4 * z * math.exp(a_y - a_i)))
        for x, y in zip(xs, ys, strict=True):
            for j, w in enumerate(ws):
                theta = math.acos(cosine_of(x, w))
                if j == y:
                    total += lam * zeta(-(r * positive(theta) + b))
                else:
                    total += (1 - lam) * zeta(r * negative(theta) + b)
        return weight * total / r / len(ys)

    return loss


def uniface(xs: list[Vector], ws: list[Vector], ys: list[int]) -> float:
    b, total = math.log(10 * C), 0.0
    for x, y in zip(xs, ys, strict=True):
        for j, w in enumerate(ws):
            c = cosine_of(x, w)
            total += zeta(-(64 * (c - 0.4) - b)) if j == y else zeta(64 * c - b)
    return total / len(ys)


def circle(xs: list[Vector], ws: list[Vector], ys: list[int]) -> float:
    m, total = 0.25, 0.0
    for x, y in zip(xs, ys, strict=True):
        logits = []
        for j, w in enumerate(ws):
            c = cosine_of(x, w)
            logits.append(256 * (max(1 + m - c, 0) * (c - 1 + m) if j == y else max(c + m, 0) * (c - m)))
        total += cross_entropy(logits, y)
    return total / len(ys)


def adacos(xs: list[Vector], ws: list[Vector], ys: list[int]) -> float:
    s = math.sqrt(2) * math.log(C - 1)
    sums = [sum(math.exp(s * cosine_of(x, w)) for j, w in enumerate(ws) if j != y) for x, y in zip(xs, ys, strict=True)]
    angles = sorted(math.acos(cosine_of(x, ws[y])) for x, y in zip(xs, ys, strict=True))
    median = (angles[B // 2 - 1] + angles[B // 2]) / 2
    s = math.log(sum(sums) / B) / math.cos(min(math.pi / 4, median))
    return softmax_family(lambda theta, x: math.cos(theta), same, lambda x: s)(xs, ws, ys)


def adaface(xs: list[Vector], ws: list[Vector], ys: list[int]) -> float:
    norms = [min(max(norm(x), 1e-3), 100) for x in xs]
    mean = sum(norms) / B
    spread = math.sqrt(sum((n - mean) ** 2 for n in norms) / (B - 1))
    mu, sigma = 0.01 * mean + 0.99 * 20, 0.01 * spread + 0.99 * 100

    def phi(theta: float, x: Vector) -> float:
        z = min(max(0.333 * (min(max(norm(x), 1e-3), 100) - mu) / (sigma + 1e-3), -1), 1)
        return math.cos(min(max(theta - 0.4 * z, 1e-3), math.pi - 1e-3)) - 0.4 * (1 + z)

    return softmax_family(phi, same, lambda x: 64)(xs, ws, ys)


def curricular(xs: list[Vector], ws: list[Vector], ys: list[int]) -> float:
    t = 0.01 * sum(cosine_of(x, ws[y]) for x, y in zip(xs, ys, strict=True)) / B

    def nu(c: float, target: float, theta: float, x: Vector) -> float:
        return c * (t + c) if c > math.cos(theta + 0.5) else c

    return softmax_family(lambda theta, x: arc(theta), nu, lambda x: 64)(xs, ws, ys)


def inter_class(xs: list[Vector], ws: list[Vector], ys: list[int]) -> float:
    present = sorted(set(ys))
    terms = [math.acos(cosine_of(ws[i], ws[j])) ** -2 for i in present for j in present if i < j]
    return softmax_family(lambda theta, x: math.cos(theta) - 0.35, same, lambda x: 64)(xs, ws, ys) + 0.3 * sum(terms) / len(terms)


def magface(xs: list[Vector], ws: list[Vector], ys: list[int]) -> float:
    clamped = [min(max(norm(x), 10.0), 110.0) for x in xs]
    base = softmax_family(lambda theta, x: arc(theta, magface_margin(x)), same, lambda x: 64)(xs, ws, ys)
    return base + 35 * sum(1 / a + a / 110**2 for a in clamped) / B


NAIVE = {
    "modified_softmax": (softmax_family(lambda theta, x: math.cos(theta), same, norm), {}),
    "normface": (softmax_family(lambda theta, x: math.cos(theta), same, lambda x: 30), {}),
    "cosface": (softmax_family(lambda theta, x: math.cos(theta) - 0.35, same, lambda x: 64), {}),
    "arcface": (softmax_family(lambda theta, x: arc(theta), same, lambda x: 64), {}),
    "combined_margin": (softmax_family(lambda theta, x: math.cos(0.9 * theta + 0.4) - 0.15, same, lambda x: 64),
                        {"m1": 0.9, "m2": 0.4, "m3": 0.15}),
    "a_softmax": (softmax_family(lambda theta, x: (5 * math.cos(theta) + psi(theta, 4)) / 6, same, norm),
                  {"annealing_lambda": 5.0}),
    "sphereface_r": (softmax_family(lambda theta, x: math.cos(min(1.5 * theta, math.pi)), same, lambda x: 30),
                     {"loss_weight": 30.0}),
    "sv_softmax": (softmax_family(lambda theta, x: math.cos(theta),
                                  lambda c, target, *_: 1.2 * c + 0.2 if c > target else c, lambda x: 32), {}),
    "sv_am_softmax": (softmax_family(lambda theta, x: math.cos(theta) - 0.35,
                                     lambda c, target, *_: 1.2 * c + 0.2 if c > target else c, lambda x: 32), {}),
    "sv_arc_softmax": (softmax_family(lambda theta, x: arc(theta),
                                      lambda c, target, *_: c + 0.2 if c > target else c, lambda x: 32), {"variant": "fixed"}),
    "curricularface": (curricular, {}),
    "magface": (magface, {}),
    "adaface": (adaface, {}),
    "adacos": (adacos, {}),
    "circle_proxy": (circle, {}),
    "sphereface2": (sphereface2(lambda a: g(math.cos(a)) - 0.4, lambda a: g(math.cos(a)) + 0.4, 50), {}),
    "sphereface2@A": (sphereface2(lambda a: g(math.cos(min(math.pi, a + 0.5))), lambda a: g(math.cos(a)), 10), {}),
    "sphereface2@M": (sphereface2(lambda a: g(math.cos(min(math.pi, 1.7 * a))), lambda a: g(math.cos(a)), 10), {}),
    "uniface": (uniface, {}),
    "am_softmax": (inter_class, {"inter_class": 0.3}),
}  # fmt: skip


@pytest.mark.parametrize("name", NAIVE)
def test_against_loops(name: str) -> None:
    reference, hyper = NAIVE[name]
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        embeddings = torch.randn(B, D, generator=generator, dtype=torch.float64) * torch.linspace(0.5, 70, B).unsqueeze(1)
        labels = torch.tensor([0, 3, 3, 1, 4, 0])
        head = ProxyHead(name, C, D, **hyper).double()
        torch.nn.init.normal_(head.weight, generator=generator)
        if name not in ("modified_softmax", "a_softmax"):  # whose logits grow with the norm beyond what math.exp holds
            embeddings[3] = -5 * head.weight[1].detach() + 0.01  # far beyond π − m
        expected = reference(embeddings.tolist(), head.weight.tolist(), labels.tolist())
        assert float(head(embeddings, labels).loss.detach()) == pytest.approx(expected, rel=1e-9)
