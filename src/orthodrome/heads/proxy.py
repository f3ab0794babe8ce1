"""ProxyHead: owns the class proxies W and the state of a loss, and runs the loss on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch import distributed as dist

from orthodrome import losses
from orthodrome.heads import engine
from orthodrome.heads.chunked import chunked
from orthodrome.heads.engine import Alone, Classes, Compare, Group
from orthodrome.heads.prototypes import drawn, rows_per_class, shard, table_rows
from orthodrome.heads.sampled import sampled
from orthodrome.heads.sharded import SAME_HEAD, Processes, evaluated, failing_together, picklable
from orthodrome.registry import Registry
from orthodrome.types import InputError, LossOutput, LossSpec, State

AUTO_ELEMENTS = 2**20
"""B·C·K from which ``impl="auto"`` no longer holds all similarities at once."""


def auto(spec: LossSpec, chunk_size: int | None, compute_dtype: torch.dtype | None, filter_below: float) -> Compare:
    """Dense where B·C·K is small and nothing asks for tiles, else in tiles."""
    whole, tiled = engine.dense(spec), chunked(spec, chunk_size, compute_dtype, filter_below)
    asked = chunk_size is not None or compute_dtype is not None or filter_below > 0

    def compare(query: Tensor, labels: Tensor, proxies: Tensor, class_bias: Tensor | None) -> Classes:
        small = not asked and len(query) * len(proxies) <= AUTO_ELEMENTS
        return (whole if small else tiled)(query, labels, proxies, class_bias)

    return compare


def dense(spec: LossSpec, chunk_size: int | None, compute_dtype: torch.dtype | None, filter_below: float) -> Compare:
    """All classes at once, in the precision of the embeddings."""
    if chunk_size is not None or compute_dtype is not None or filter_below:
        raise InputError("chunk_size, compute_dtype and filter_below belong to impl='chunked'; impl='dense' has none of them")
    return engine.dense(spec)


IMPLEMENTATIONS: Registry[Callable[[LossSpec, int | None, torch.dtype | None, float], Compare]] = Registry("impl")
IMPLEMENTATIONS.add("auto", auto)
IMPLEMENTATIONS.add("dense", dense)
IMPLEMENTATIONS.add("chunked", chunked)

COMPUTE_DTYPES: Registry[torch.dtype] = Registry("compute_dtype")
COMPUTE_DTYPES.add("bf16", torch.bfloat16)


class ProxyHead(nn.Module):
    """Class proxies under any proxy loss of :func:`orthodrome.losses.proxy_names`.

    ``head(embeddings (B, D), labels (B,))`` returns a :class:`~orthodrome.types.LossOutput`. Embeddings are raw (the
    loss normalises them where its formula does); labels are of any integer dtype, in ``[0, num_classes)``.

    Args:
        loss: a row, alias or preset, for example ``"arcface"`` or ``"sphereface2@wespeaker"``.
        num_classes: C, at least 2 (adacos: 3).
        embedding_dim: D.
        impl: ``"dense"`` holds all B×C similarities; ``"chunked"`` a tile of classes at a time, with the same result, for any C;
            ``"auto"`` takes dense up to B·C·K = 2²⁰, then chunked.
        chunk_size: classes of a tile; None: as many as make 2²¹ similarities.
        compute_dtype: ``"bf16"`` rounds the factors of the matrix products of a tile, and the products; own similarities, and sums over
            classes and tiles, stay in float32. None: the precision of the embeddings.
        filter_below: ε in [0, 1). Classes whose logit has a gradient (its probability) below ε for every sample of the batch are left
            out of the backward products, but for a few that fill up a tile. The loss is exact; the gradient of each logit is off by less
            than ε times that of the loss.
        sample_rate: in (0, 1]. Below 1, a training step compares with the classes of the batch and others drawn by chance, this share
            of all (Partial FC, 2203.15565); the gradient of ``weight`` is then sparse, for the optimizers of
            :mod:`orthodrome.training.row_optimizers`. At evaluation all classes count.
        process_group: processes of torch.distributed that share the classes; each calls the head with samples of its own. ``loss`` is
            the mean over all of them, with the gradients DistributedDataParallel expects; ``per_sample`` are the own ones.
        sharded: each process holds a contiguous shard of the classes (the first C mod R hold one class more). False: each holds all
            of them, as it does centres of the centre regulariser in any case. Without a process group there is nothing to share.
        init: ``"normal"`` (σ = 0.01) or ``"xavier"``; see :mod:`orthodrome.heads.prototypes` for class means.
        gradient: ``"exact"``, ``"detached"`` or ``"detach_margin"``; None takes the default of the row.
        hyper: hyper-parameters of the row, see ``orthodrome losses NAME``.

    ``weight`` is the parameter W, (C·K, D) with K = 1 but for sub-centre rows; ``classes`` the range of classes it holds;
    ``class_rows`` names what no other process holds, and how many of its rows belong to one class. State of the loss (moving averages,
    step counters, biases, centres) lives in buffers and parameters of the head and is saved with it; at evaluation it is frozen.

    Raises InputError (a ValueError) for unknown names, shapes, dtypes or labels that do not fit, and embeddings that are not finite;
    under a process group on every process, also where these differ in what they ask for (but for ``impl`` and ``chunk_size``).

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
        filter_below: float = 0.0,
        sample_rate: float = 1.0,
        process_group: dist.ProcessGroup | None = None,
        sharded: bool = True,
        init: str = "normal",
        gradient: str | None = None,
        **hyper: Any,
    ) -> None:
        super().__init__()
        self._processes = None if process_group is None else Processes(process_group)
        self.loss = loss
        self._of_loss = {"gradient": gradient, **hyper}
        with failing_together(self._processes):
            self.spec = losses.proxy_loss(loss, **self._of_loss)
            self.num_classes = _at_least(num_classes, self.spec.minimum_classes, f"num_classes of {loss}")
            self.embedding_dim = _at_least(embedding_dim, 1, "embedding_dim")
            if chunk_size is not None:
                _at_least(chunk_size, 1, "chunk_size")
            self.sample_rate = _between(sample_rate, 0.0, 1.0, "sample_rate", "above 0 and at most 1", lambda rate: rate > 0)
            _between(filter_below, 0.0, 1.0, "filter_below", "at least 0 and below 1", lambda floor: floor < 1)
            dtype = None if compute_dtype is None else COMPUTE_DTYPES.get(compute_dtype)
            self._impl, self._tiling = impl, (chunk_size, dtype, filter_below)
            self._prepare()
        if self._processes:
            asked = {"sharded": sharded, "sample_rate": sample_rate, "filter_below": filter_below, "compute_dtype": compute_dtype}
            sizes = {"num_classes": num_classes, "embedding_dim": embedding_dim}
            self._processes.agree(SAME_HEAD, {"loss": loss, **sizes, **asked, "init": init, **hyper, **self.spec.hyper})
        self._share(self._processes, sharded)
        per_class = self.spec.similarity.per_class
        self.weight = nn.Parameter(drawn(init, table_rows(self.classes, per_class), num_classes * per_class, embedding_dim))
        if self._processes and not sharded:
            self._processes.from_first(self.weight.data)
        self._state_names: list[str] = []
        self._add_state()

    def _prepare(self) -> None:
        """The functions that compare with the classes: what a pickle does not hold."""
        self._compare = IMPLEMENTATIONS.get(self._impl)(self.spec, *self._tiling)
        self._compare_drawn = sampled(self._compare, self.spec.similarity.per_class, self.sample_rate)

    def __getstate__(self) -> dict[str, Any]:
        """What a pickle or a copy holds. Raises InputError under a process group, which is of the process it was made in."""
        return picklable(self, self._processes, without=("spec", "_compare", "_compare_drawn"))

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.spec = losses.proxy_loss(self.loss, **self._of_loss)
        self._prepare()

    def _share(self, processes: Processes | None, sharded: bool) -> None:
        """Decide which classes this process holds, and how it learns about the others."""
        self._group: Group = Alone()
        self.classes = range(self.num_classes)
        self.class_rows = rows_per_class(self.spec.similarity)
        if processes and sharded:
            self._group, self.classes = processes, shard(self.num_classes, processes.rank, processes.world)
        elif processes:
            self.class_rows = {}
            if self.sample_rate < 1:
                raise InputError("sample_rate below 1 needs the classes split over the processes: leave out sharded=False")

    def _add_state(self) -> None:
        entries = dict(self.spec.state(self.num_classes))
        if self.spec.similarity.class_bias:
            entries["class_bias"] = State(torch.zeros(len(self.classes)), learned=True)
        for term in self.spec.regularizers:
            entries |= term.state(self.num_classes, self.embedding_dim)
        for name, entry in entries.items():
            if entry.learned:
                self.register_parameter(name, nn.Parameter(entry.value))
            else:
                self.register_buffer(name, entry.value)
            self._state_names.append(name)

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossOutput:
        return evaluated(self._processes, self._checked, self._evaluated, embeddings, labels, self.training)

    def _checked(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """``labels`` as int64; raises InputError for anything that must not reach the state of the loss."""
        engine.check_shapes(embeddings, self.embedding_dim)
        engine.check_dtypes(embeddings, self.weight)
        labels = engine.check_labels(labels, embeddings.shape[0], self.num_classes)
        engine.check_finite(embeddings)
        return labels

    def _evaluated(self, embeddings: Tensor, labels: Tensor) -> LossOutput:
        """The losses of the batch, that of all processes where there are several."""
        output, fresh = engine.evaluate(
            self.spec,
            embeddings,
            labels,
            self._known("weight"),
            {name: self._known(name) for name in self._state_names},
            training=self.training,
            draw=self._draw,
            compare=self._compare_drawn if self.training and self.sample_rate < 1 else self._compare,
            group=self._group,
            first_class=self.classes.start,
        )
        for name, value in fresh.items():
            getattr(self, name).copy_(value)
        return output

    def _known(self, name: str) -> Tensor:
        """A parameter or buffer by name; one that every process has a copy of sends its gradient to all."""
        value: Tensor = getattr(self, name)
        if self._processes is None or not value.requires_grad or name in self.class_rows:
            return value
        return self._processes.replicated(value)

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
        if not self.training:
            return torch.zeros(shape)
        draws = torch.randn(shape)
        return self._processes.from_first(draws) if self._processes else draws

    def extra_repr(self) -> str:
        return (
            f"{self.loss!r}, num_classes={self.num_classes}, embedding_dim={self.embedding_dim}, gradient={self.spec.gradient!r}"
        )


def _at_least(value: int, minimum: int, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise InputError(f"{what} must be an integer of at least {minimum}; got {value!r}")
    return value


def _between(value: float, low: float, high: float, what: str, expected: str, fits: Callable[[float], bool]) -> float:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not low <= value <= high or not fits(value):
        raise InputError(f"{what} must be a number {expected}; got {value!r}")
    return value
