"""State lives in buffers and parameters of the head: saved, restored, frozen at evaluation."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from loss_cases import CASES, CLASSES, DIMENSION, head_of, inputs

from orthodrome import InputError, ProxyHead

MOVING = {
    "a_softmax": "step",
    "sv_a_softmax": "step",
    "adacos": "scale",
    "curricularface": "t",
    "adaface": "mu",
    "center": "centers",
    "arcface composed": "centers",
}
LEARNED = {
    "softmax": "class_bias",
    "l2_softmax learned": "scale",
    "normface learned": "scale",
    "sphereface2": "bias",
    "uniface": "bias",
}


def step(head: ProxyHead, seed: int) -> torch.Tensor:
    """One training step by plain gradient descent; the losses before it."""
    torch.manual_seed(seed)
    output = head(*inputs(seed=seed))
    head.zero_grad()
    output.loss.backward()
    with torch.no_grad():
        for parameter in head.parameters():
            if parameter.grad is not None:
                parameter -= 0.01 * parameter.grad
    return output.per_sample.detach()


@pytest.mark.parametrize("case", CASES)
def test_a_saved_head_goes_on_identically(case: str) -> None:
    head = head_of(case)
    for seed in (1, 2):
        step(head, seed)
    name, hyper = CASES[case]
    resumed = ProxyHead(name, CLASSES, DIMENSION, **hyper).double()
    resumed.load_state_dict(copy.deepcopy(head.state_dict()))
    for seed in (3, 4):
        assert torch.equal(step(resumed, seed), step(head, seed))
    for key, value in head.state_dict().items():
        assert torch.equal(resumed.state_dict()[key], value), key


@pytest.mark.parametrize("case", CASES)
def test_a_pickled_head_goes_on_identically(case: str) -> None:
    head = head_of(case)
    step(head, 1)
    again = pickle.loads(pickle.dumps(head))
    for seed in (2, 3):
        assert torch.equal(step(again, seed), step(head, seed))


@pytest.mark.parametrize("case", CASES)
def test_evaluation_freezes_the_state(case: str) -> None:
    head = head_of(case)
    step(head, 1)
    head.eval()
    before = copy.deepcopy(head.state_dict())
    first = head(*inputs(seed=5)).per_sample
    assert torch.equal(head(*inputs(seed=5)).per_sample, first), "evaluation must not be random"
    for key, value in head.state_dict().items():
        assert torch.equal(before[key], value), key


@pytest.mark.parametrize(("case", "name"), MOVING.items())
def test_training_moves_the_buffers(case: str, name: str) -> None:
    head = head_of(case)
    before = head.get_buffer(name).clone()
    step(head, 1)
    assert not torch.equal(head.get_buffer(name), before)


@pytest.mark.parametrize(("case", "name"), LEARNED.items())
def test_learned_state_is_a_parameter_with_gradient(case: str, name: str) -> None:
    head = head_of(case)
    head(*inputs()).loss.backward()
    assert head.get_parameter(name).grad.any()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64], ids=str)
@pytest.mark.parametrize("case", ["arcface", "sphereface2", "center", "adacos"])
def test_labels_of_any_integer_dtype(case: str, dtype: torch.dtype) -> None:
    embeddings, labels = inputs()
    assert torch.equal(head_of(case)(embeddings, labels.to(dtype)).loss, head_of(case)(embeddings, labels).loss)


@pytest.mark.parametrize("case", CASES)
def test_labels_out_of_range_are_named(case: str) -> None:
    embeddings, labels = inputs()
    labels[3] = CLASSES
    with pytest.raises(InputError, match=r"labels must be in \[0, 6\); got 6 at position 3"):
        head_of(case)(embeddings, labels)
    labels[3] = -1
    with pytest.raises(InputError, match="got -1 at position 3"):
        head_of(case)(embeddings, labels)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize(("case", "name"), [("curricularface", "t"), ("adaface", "mu"), ("adaface", "sigma")])
def test_moving_averages_keep_their_precision_in_a_half_precision_head(case: str, name: str, dtype: torch.dtype) -> None:
    """At a rate of 0.01 an average in bfloat16 would stop moving far from its goal."""
    half, full = head_of(case, dtype=dtype), head_of(case, dtype=dtype).double()
    for _ in range(200):
        for head in (half, full):
            head(inputs(dtype=dtype)[0].to(head.weight.dtype), inputs()[1])
    torch.testing.assert_close(half.get_buffer(name), full.get_buffer(name), rtol=1e-5, atol=1e-6)


def test_adacos_never_turns_its_scale_around() -> None:
    """Three classes, every sample far from the two others: ln B_avg < 0."""
    head = ProxyHead("adacos", 3, 2).double()
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0, 0.0], [-1.0, 0.1], [-1.0, -0.1]]))
    head(torch.tensor([[1.0, 0.0]], dtype=torch.float64), torch.tensor([0]))
    assert 0 < float(head.get_buffer("scale")) < 0.1
