"""The two contracts that let one engine serve every row, and what follows from them for tiles and shards of classes."""

from __future__ import annotations

import pytest
import torch
from loss_cases import BATCH, CASES, CLASSES, angular_of, cosines, head_of, inputs, similarities, spec_of

from orthodrome.losses.links import SOFT_HINGE, SOFTMAX, hardest


@pytest.mark.parametrize("case", CASES)
def test_nu_is_column_local(case: str) -> None:
    head, (embeddings, _) = head_of(case), inputs()
    cos_y, cos = cosines()
    phi, nu = angular_of(head, embeddings, cos_y, cos)
    for columns in ([3], [0, 7, 39], list(range(10, 30))):
        phi_tile, nu_tile = angular_of(head, embeddings, cos_y, cos[:, columns])
        assert torch.equal(nu_tile, nu[:, columns])
        assert torch.equal(phi_tile, phi)


@pytest.mark.parametrize("case", CASES)
def test_the_target_is_a_constant_inside_nu(case: str) -> None:
    head, (embeddings, _) = head_of(case), inputs()
    cos_y, cos = cosines()
    _, nu = angular_of(head, embeddings, cos_y, cos)
    gradient = torch.autograd.grad(nu.sum(), [cos_y, embeddings, cos], allow_unused=True)
    assert gradient[0] is None or not gradient[0].any()
    assert gradient[1] is None or not gradient[1].any()
    assert gradient[2].any(), "ν must depend on its own cosine"


@pytest.mark.parametrize("case", CASES)
def test_similarity_is_column_local(case: str) -> None:
    head, (embeddings, _) = head_of(case), inputs()
    count = head.spec.similarity.per_class
    whole = similarities(head, embeddings, head.weight)
    assert whole.shape == (BATCH, CLASSES)
    tile = similarities(head, embeddings, head.weight[2 * count : 5 * count])
    torch.testing.assert_close(tile, whole[:, 2:5], rtol=0, atol=1e-14)


@pytest.mark.parametrize("case", CASES)
def test_partials_of_tiles_merge_to_the_partial_of_the_whole(case: str) -> None:
    link = spec_of(case).link
    logits = 30 * torch.randn(BATCH, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    logits[:, 4] = -torch.inf
    logits[0, 3:7] = -torch.inf  # a tile in which nothing counts
    tiles = [link.partial(logits[:, columns]) for columns in (slice(0, 3), slice(3, 7), slice(7, 12))]
    whole = link.partial(logits)
    for order in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
        first, second, third = (tiles[i] for i in order)
        torch.testing.assert_close(link.merge(link.merge(first, second), third), whole, rtol=1e-14, atol=1e-13)
        torch.testing.assert_close(link.merge(first, link.merge(second, third)), whole, rtol=1e-14, atol=1e-13)


@pytest.mark.parametrize("case", CASES)
def test_pull_is_the_gradient_of_the_merged_partials_and_is_bounded(case: str) -> None:
    link = spec_of(case).link
    generator = torch.Generator().manual_seed(0)
    logits = 20 * torch.randn(BATCH, 9, dtype=torch.float64, generator=generator)
    logits[:, 4] = -torch.inf
    p = 20 * torch.randn(BATCH, dtype=torch.float64, generator=generator)
    tiles = [tile.clone().requires_grad_() for tile in logits.split(5, dim=1)]
    n = link.merge(*(link.partial(tile) for tile in tiles))
    losses = link.join(p, n, 10)
    upstream = torch.autograd.grad(losses.sum(), n, retain_graph=True)[0]
    for tile, gradient in zip(tiles, torch.autograd.grad(losses.sum(), tiles), strict=True):
        torch.testing.assert_close(link.pull(tile.detach(), n.detach(), upstream), gradient, rtol=1e-10, atol=1e-13)
        if link.split:
            partial, level, slopes = link.split.slopes(tile.detach())
            torch.testing.assert_close(partial, link.partial(tile.detach()), rtol=1e-13, atol=0)
            factor = link.split.factor(level, n.detach(), upstream)
            torch.testing.assert_close(factor.unsqueeze(1) * slopes, gradient, rtol=1e-10, atol=1e-13)
        if link.log_bound:
            so_far = link.partial(tile.detach())
            assert (gradient.abs() <= torch.exp(link.log_bound(tile.detach(), p, so_far)) * (1 + 1e-9)).all()


@pytest.mark.parametrize("link", [SOFTMAX, SOFT_HINGE, hardest(0.2)], ids=["softmax", "soft hinge", "max"])
def test_empty_partials_are_neutral_and_have_no_gradient(link) -> None:
    logits = torch.full((3, 4), 1.5, dtype=torch.float64, requires_grad=True)
    nothing = torch.zeros(3, 4, dtype=torch.bool)
    empty = link.partial(torch.where(nothing, logits, -torch.inf))
    merged = link.merge(empty, empty)
    assert (merged == -torch.inf).all()
    link.join(torch.zeros(3, dtype=torch.float64), merged, 4).sum().backward()
    assert not logits.grad.any()
    torch.testing.assert_close(link.merge(empty, link.partial(logits)), link.partial(logits), rtol=1e-15, atol=0)


@pytest.mark.parametrize("case", CASES)
def test_classes_may_be_numbered_in_any_order(case: str) -> None:
    order = torch.tensor([4, 2, 0, 5, 1, 3])
    embeddings, labels = inputs()
    results = []
    for permuted in (False, True):
        head = head_of(case)
        count = head.spec.similarity.per_class
        with torch.no_grad():
            if permuted:
                head.weight.copy_(head.weight.unflatten(0, (CLASSES, count))[order].flatten(0, 1))
        torch.manual_seed(3)
        own = order.argsort()[labels] if permuted else labels
        output = head(embeddings, own)
        gradients = torch.autograd.grad(output.loss, [embeddings, head.weight])
        results.append((output.per_sample, gradients[0], gradients[1].unflatten(0, (CLASSES, count))))
    (losses_a, dx_a, dw_a), (losses_b, dx_b, dw_b) = results
    torch.testing.assert_close(losses_b, losses_a, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(dx_b, dx_a, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(dw_b, dw_a[order], rtol=1e-9, atol=1e-9)
