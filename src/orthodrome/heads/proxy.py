"""ProxyHead: owns the class proxies W and the state of a loss, and runs the loss on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn

from orthodrome import losses
from orthodrome.heads import engine
from orthodrome.heads.chunked import chunked
from orthodrome.heads.engine import Classes, Compare
from orthodrome.registry import Registry
from orthodrome.types import InputError, LossOutput, LossSpec, State

AUTO_ELEMENTS = 2**22
"""B·C·K from which ``impl="auto"`` no longer holds all similarities at once."""


def auto(chunk_size: int | None, compute_dtype: torch.dtype | None) -> Compare:
    """Dense where B·C·K is small and nothing asks for tiles, else in tiles."""
    tiled = chunked(chunk_size, compute_dtype)

    def compare(spec: LossSpec, query: Tensor, labels: Tensor, proxies: Tensor, class_bias: Tensor | None) -> Classes:
        small = len(query) * len(proxies) <= AUTO_ELEMENTS and chunk_size is None and compute_dtype is None
        return (engine.dense if small else tiled)(spec, query, labels, proxies, class_bias)

    return compare


def dense(chunk_size: int | None, compute_dtype: torch.dtype | None) -> Compare:
    """All classes at once, in the precision of the embeddings."""
    if chunk_size is not None or compute_dtype is not None:
        raise InputError("chunk_size and compute_dtype belong to impl='chunked'; impl='dense' has neither")
    return engine.dense


IMPLEMENTATIONS: Registry[Callable[[int | None, torch.dtype | None], Compare]] = Registry("impl")
IMPLEMENTATIONS.add("auto", auto)
IMPLEMENTATIONS.add("dense", dense)
IMPLEMENTATIONS.add("chunked", chunked)

COMPUTE_DTYPES: Registry[torch.dtype] = Registry("compute_dtype")
COMPUTE_DTYPES.add("bf16", torch.bfloat16)
COMPUTE_DTYPES.add("fp16", torch.float16)


class ProxyHead(nn.Module):
    """Class proxies under any proxy loss of :func:`orthodrome.losses.proxy_names`.

    ``head(embeddings (B, D), labels (B,))`` returns a :class:`~orthodrome.types.LossOutput`. Embeddings are raw (the
    loss normalises them where its formula does); labels are of any integer dtype, in ``[0, num_classes)``.

    Args:
        loss: a row, alias or preset, for example ``"arcface"`` or ``"sphereface2@wespeaker"``.
        num_classes: C, at least 2 (adacos: 3).
        embedding_dim: D.
        impl: ``"dense"`` holds all B×C similarities; ``"chunked"`` a tile of classes at a time, with the same result, for any C;
            ``"auto"`` takes dense up to B·C·K = 2²², then chunked.
        chunk_size: classes of a tile; None: as many as make 2²⁰ similarities.
        compute_dtype: ``"bf16"`` or ``"fp16"`` rounds the factors of the matrix products of a tile; targets and sums stay in float32.
            None: the precision of the embeddings.
        gradient: ``"exact"``, ``"detached"`` or ``"detach_margin"``; None takes the default of the row.
        hyper: hyper-parameters of the row, see ``orthodrome losses NAME``.

    ``weight`` is the parameter W, (C·K, D) with K = 1 but for sub-centre rows, drawn from a normal distribution with
    σ = 0.01. State
    of the loss (moving averages, step counters, biases, centres) lives in buffers and parameters of the head and is
    saved with it; at evaluation it is frozen.

    Raises InputError (a ValueError) for unknown names, shapes or labels that do not fit.

    >>> head = ProxyHead("cosface", num_classes=10, embedding_dim=4)
    >>> output = head(torch.randn(8, 4), torch.arange(8))
    >>> output.loss.shape, output.per_sample.shape
    (torch.Size([]), torch.Size([8]))
    """

    def __init__(
        self,
        loss: str,
        num_classes: int,
        embedding_dim: int,
        *,
        impl: str = "auto",
        chunk_size: int | None = None,
        compute_dtype: str | None = None,
        gradient: str | None = None,
        **hyper: Any,
    ) -> None:
        super().__init__()
        self.spec = losses.proxy_loss(loss, gradient=gradient, **hyper)
        self.loss = loss
        self.num_classes = _at_least(num_classes, self.spec.minimum_classes, f"num_classes of {loss}")
        self.embedding_dim = _at_least(embedding_dim, 1, "embedding_dim")
        if chunk_size is not None:
            _at_least(chunk_size, 1, "chunk_size")
        dtype = None if compute_dtype is None else COMPUTE_DTYPES.get(compute_dtype)
        self._compare = IMPLEMENTATIONS.get(impl)(chunk_size, dtype)
        proxies = torch.empty(num_classes * self.spec.similarity.per_class, embedding_dim)
        self.weight = nn.Parameter(nn.init.normal_(proxies, std=0.01))
        self._state_names: list[str] = []
        self._add_state()

    def _add_state(self) -> None:
        entries = dict(self.spec.state(self.num_classes))
        if self.spec.similarity.class_bias:
            entries["class_bias"] = State(torch.zeros(self.num_classes), learned=True)
        for term in self.spec.regularizers:
            entries |= term.state(self.num_classes, self.embedding_dim)
        for name, entry in entries.items():
            if entry.learned:
                self.register_parameter(name, nn.Parameter(entry.value))
            else:
                self.register_buffer(name, entry.value)
            self._state_names.append(name)

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossOutput:
        engine.check_shapes(embeddings, self.embedding_dim)
        labels = engine.check_labels(labels, embeddings.shape[0], self.num_classes)
        state = {name: getattr(self, name) for name in self._state_names}
        output, fresh = engine.evaluate(
            self.spec, embeddings, labels, self.weight, state, training=self.training, draw=self._draw, compare=self._compare
        )
        for name, value in fresh.items():
            getattr(self, name).copy_(value)
        return output

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Moves and converts the head like any module, but for the scalars it keeps: a moving average in half
        precision stands still.
        """
        kept = {name: value for name, value in self.named_buffers(recurse=False) if value.ndim == 0 and not value.is_meta}
        super()._apply(fn, recurse)
        for name, value in kept.items():
            setattr(self, name, value.to(getattr(self, name).device))
        return self

    def _draw(self, shape: tuple[int, ...]) -> Tensor:
        """Standard normal numbers from torch's generator while training; zeros, the mean, at evaluation."""
        return torch.randn(shape) if self.training else torch.zeros(shape)

    def extra_repr(self) -> str:
        return (
            f"{self.loss!r}, num_classes={self.num_classes}, embedding_dim={self.embedding_dim}, gradient={self.spec.gradient!r}"
        )


def _at_least(value: int, minimum: int, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise InputError(f"{what} must be an integer of at least {minimum}; got {value!r}")
    return value
