"""Compiled tiles compute what plain ones do; a machine that cannot compile says so once and goes on."""

from __future__ import annotations

import shutil
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from orthodrome import ProxyHead, fuse

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler on this machine")


def gradients(loss: str, **hyper):
    torch.manual_seed(0)
    head = ProxyHead(loss, 150, 16, **hyper)
    x = (10 * torch.randn(32, 16)).requires_grad_()
    output = head(x, torch.arange(32))
    return output.per_sample.detach(), *torch.autograd.grad(output.loss, [x, *head.parameters()])


@needs_compiler
@pytest.mark.parametrize("loss", ["arcface", "sphereface2", "subcenter_arcface"])
def test_compiled_tiles_are_plain_tiles(loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = gradients(loss, impl="dense")
    monkeypatch.setattr(fuse, "SMALLEST", 0)
    compiled = []
    monkeypatch.setattr(fuse, "_compile", lambda *given, original=fuse._compile: compiled.append(given) or original(*given))
    # tiles of one shape: each shape is compiled, which takes seconds
    for ours, plain in zip(gradients(loss, impl="chunked", chunk_size=75), expected, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-5 * float(plain.abs().max()))
    assert compiled
    assert not fuse._unavailable


def test_without_a_compiler_it_says_so_once_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError("No working C++ compiler found")

    monkeypatch.setattr(fuse, "SMALLEST", 0)
    monkeypatch.setattr(fuse, "_unavailable", [])
    monkeypatch.setattr(torch._inductor, "compile", broken)
    twice = fuse.fused(lambda x, factor: {"twice": x * factor})
    with pytest.warns(RuntimeWarning, match="No working C\\+\\+ compiler found"):
        torch.testing.assert_close(twice(torch.ones(3), 2)["twice"], 2 * torch.ones(3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.testing.assert_close(twice(torch.ones(4), 3)["twice"], 3 * torch.ones(4))


@needs_compiler
def test_threads_compile_and_run_as_they_please(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuse, "SMALLEST", 0)
    twice = fuse.fused(lambda x: {"twice": 2 * x, "sum": x.sum()})
    sizes = [1 + number // 60 if number % 60 == 0 else 1 for number in range(300)]
    with ThreadPoolExecutor(6) as threads:
        results = list(threads.map(lambda size: twice(torch.ones(size)), sizes))
    assert [result["twice"].tolist() for result in results] == [[2.0] * size for size in sizes]
    assert [float(result["sum"]) for result in results] == sizes
    assert not fuse._unavailable


@needs_compiler
def test_a_function_may_write_into_its_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiling runs nothing: what is written, is written once."""
    monkeypatch.setattr(fuse, "SMALLEST", 0)

    def doubled(x: torch.Tensor, factors: dict[str, float]) -> None:
        x.mul_(factors["two"])

    in_place, x = fuse.fused(doubled), torch.ones(3)
    for expected in (2, 4):
        assert in_place(x, {"two": 2.0}) is None
        assert x.tolist() == [expected] * 3


def test_another_number_of_threads_is_compiled_for_in_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuse, "SMALLEST", 0)
    numbers: list[int] = []
    monkeypatch.setattr(fuse, "_compile", lambda function, arguments: numbers.append(torch.get_num_threads()) or function)
    twice, before = fuse.fused(lambda x: 2 * x), torch.get_num_threads()
    try:
        for number in (1, 2, 1, 2):
            torch.set_num_threads(number)
            twice(torch.ones(3))
    finally:
        torch.set_num_threads(before)
    assert numbers == [1, 2]


@needs_compiler
def test_constants_and_shapes_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuse, "SMALLEST", 0)
    function = fuse.fused(lambda x, factor: x * factor)
    for size, factor in ((3, 2.0), (3, 5.0), (4, 5.0)):
        torch.testing.assert_close(function(torch.ones(size), factor), torch.full((size,), factor))
