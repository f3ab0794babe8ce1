"""Label smoothing of the softmax link, against torch's."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from orthodrome import InputError, ProxyHead, losses


@pytest.mark.parametrize("epsilon", [0.05, 0.3])
def test_it_is_torchs(epsilon: float) -> None:
    torch.manual_seed(0)
    head = ProxyHead("normface", 7, 5, scale=8.0, label_smoothing=epsilon).double()
    x, labels = torch.randn(6, 5, dtype=torch.float64, requires_grad=True), torch.randint(0, 7, (6,))
    logits = 8 * functional.normalize(x) @ functional.normalize(head.weight).T
    expected = functional.cross_entropy(logits, labels, label_smoothing=epsilon, reduction="none")
    output = head(x, labels)
    torch.testing.assert_close(output.per_sample, expected)
    parameters = (x, head.weight)
    ours, theirs = torch.autograd.grad(output.loss, parameters), torch.autograd.grad(expected.mean(), parameters)
    torch.testing.assert_close(ours, theirs)


def test_tiles_merge_to_the_whole() -> None:
    link = losses.proxy_loss("cosface", label_smoothing=0.1).link
    logits = torch.randn(4, 9, dtype=torch.float64)
    logits[:, 3] = -torch.inf
    whole = link.partial(logits)
    torch.testing.assert_close(link.merge(link.partial(logits[:, :4]), link.partial(logits[:, 4:])), whole)


def test_margins_keep_it() -> None:
    """With a margin the smoothed target still compares the margin logit with the mean of all logits."""
    torch.manual_seed(1)
    plain, smooth = (ProxyHead("arcface", 5, 4, label_smoothing=epsilon) for epsilon in (0.0, 0.2))
    smooth.load_state_dict(plain.state_dict())
    x, labels = torch.randn(3, 4), torch.tensor([0, 2, 4])
    assert not torch.allclose(plain(x, labels).loss, smooth(x, labels).loss)


def test_the_binary_link_refuses_it() -> None:
    with pytest.raises(InputError, match="softmax link"):
        losses.get("sphereface2", label_smoothing=0.1)
    with pytest.raises(InputError, match=r"number in \[0, 1\)"):
        losses.get("arcface", label_smoothing=1.0)
