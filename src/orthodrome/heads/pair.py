"""PairHead: embeddings compared with each other, and with a memory of earlier ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist

from orthodrome import losses
from orthodrome.heads import engine
from orthodrome.heads.sharded import SAME_HEAD, Processes, evaluated, failing_together, picklable
from orthodrome.types import InputError, Keys, LossOutput

VECTORS, LABELS, NEXT = "memory_vectors", "memory_labels", "memory_next"


def evaluate(spec: losses.PairSpec, embeddings: Tensor, labels: Tensor, keys: Keys) -> LossOutput:
    """The loss of embeddings (B, D) against keys (M, D), of which the first B are the embeddings themselves."""
    closeness = spec.closeness(embeddings, keys.vectors)
    same = labels.unsqueeze(1) == keys.labels.unsqueeze(0)
    itself = torch.eye(*same.shape, dtype=torch.bool, device=same.device)
    positives, negatives = same & ~itself, ~same
    losses_B = spec.losses(closeness, positives, negatives)
    stats = {
        "positive_pairs": positives.sum().to(closeness.dtype),
        "negative_pairs": negatives.sum().to(closeness.dtype),
        "embedding_norm": embeddings.detach().norm(dim=1).mean(),
    }
    return LossOutput(losses_B.mean(), losses_B, stats)


class PairHead(nn.Module):
    """Embeddings against each other under any pair loss of :func:`orthodrome.losses.pair_names`.

    ``head(embeddings (B, D), labels (B,))`` returns a :class:`~orthodrome.types.LossOutput`. Labels are of any
    integer dtype, at least 0.
    Every identity should come at least twice in a batch (a P×K sampler); a batch without anything to compare has
    loss 0 and gradient 0, and ``stats["positive_pairs"]`` shows it.

    Args:
        loss: a row or preset, for example ``"triplet"`` or ``"triplet@facenet"``.
        memory: how many earlier embeddings are further keys (cross-batch memory, 1912.06798); 0: none.
        process_group: processes of torch.distributed that each call the head with samples of their own, all of which are compared with
            each other. ``loss`` and gradients are as those of :class:`~orthodrome.ProxyHead`; the memory is the same on each process.
        hyper: hyper-parameters of the row, see ``orthodrome losses NAME``.

    The memory is a ring of detached embeddings and labels in buffers: saved with the head, filled after the loss of
    each training batch, and at evaluation neither read nor written.

    Raises InputError (a ValueError) for unknown names, shapes or labels that do not fit; under a process group on every process, also
    where these differ in loss or memory.

    >>> head = PairHead("supcon", temperature=0.2)
    >>> output = head(torch.randn(8, 4), torch.arange(8) // 2)
    >>> output.loss.shape, int(output.stats["positive_pairs"])
    (torch.Size([]), 8)
    """

    memory_vectors: Tensor
    memory_labels: Tensor
    memory_next: Tensor

    def __init__(self, loss: str, *, memory: int = 0, process_group: dist.ProcessGroup | None = None, **hyper: Any) -> None:
        super().__init__()
        self._processes = None if process_group is None else Processes(process_group)
        self.loss = loss
        self._hyper = hyper
        with failing_together(self._processes):
            if isinstance(memory, bool) or not isinstance(memory, int) or memory < 0:
                raise InputError(f"memory must be the number of embeddings to keep, an integer of at least 0; got {memory!r}")
            self.spec = losses.pair_loss(loss, **hyper)
        self.memory = memory
        self.class_rows: dict[str, int] = {}  # a pair loss has no classes
        if self._processes:
            self._processes.agree(SAME_HEAD, {"loss": loss, "memory": memory, **hyper, **self.spec.hyper})
        if memory:  # the dimension is known from the first batch, or from a saved state
            self.register_buffer(VECTORS, torch.zeros(memory, 0))
            self.register_buffer(LABELS, torch.full((memory,), -1, dtype=torch.int64))
            self.register_buffer(NEXT, torch.zeros((), dtype=torch.int64))

    def __getstate__(self) -> dict[str, Any]:
        """What a pickle or a copy holds. Raises InputError under a process group, which is of the process it was made in."""
        return picklable(self, self._processes, without=("spec",))

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.spec = losses.pair_loss(self.loss, **self._hyper)

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossOutput:
        return evaluated(self._processes, self._checked, self._evaluated, embeddings, labels, self.training)

    def _checked(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """``labels`` as int64."""
        engine.check_tensor("embeddings", embeddings)
        engine.check_shapes(embeddings, embeddings.shape[-1] if embeddings.ndim else 0)
        labels = engine.check_labels(labels, embeddings.shape[0], None)
        engine.check_finite(embeddings)
        return labels

    def _evaluated(self, embeddings: Tensor, labels: Tensor) -> LossOutput:
        """The losses of the batch, that of all processes where there are several."""
        with torch.autocast(embeddings.device.type, enabled=False):
            embeddings = engine.promote(embeddings)
            if not (self.memory and self.training):
                return evaluate(self.spec, embeddings, labels, Keys(embeddings, labels))
            output = evaluate(self.spec, embeddings, labels, self._keys(embeddings, labels))
            self._remember(embeddings.detach(), labels)
        return output

    def _keys(self, embeddings: Tensor, labels: Tensor) -> Keys:
        """The batch, then what the memory holds."""
        if self.memory_vectors.shape[1] == 0:
            self.memory_vectors = embeddings.new_zeros(self.memory, embeddings.shape[1])
        if self.memory_vectors.shape[1] != embeddings.shape[1]:
            raise InputError(
                f"the memory holds embeddings of dimension {self.memory_vectors.shape[1]}; got {embeddings.shape[1]}"
            )
        held = self.memory_labels >= 0
        past = self.memory_vectors[held].to(embeddings.dtype)
        return Keys(torch.cat([embeddings, past]), torch.cat([labels, self.memory_labels[held]]))

    @torch.no_grad()
    def _remember(self, embeddings: Tensor, labels: Tensor) -> None:
        """Write the batch over the oldest entries; of a batch larger than the memory, its last ones."""
        embeddings, labels = embeddings[-self.memory :], labels[-self.memory :]
        places = (self.memory_next + torch.arange(len(labels), device=labels.device)) % self.memory
        self.memory_vectors[places] = embeddings.to(self.memory_vectors.dtype)
        self.memory_labels[places] = labels
        self.memory_next.copy_((self.memory_next + len(labels)) % self.memory)

    def _load_from_state_dict(self, state_dict: Mapping[str, Tensor], prefix: str, *rest: Any) -> None:
        saved = state_dict.get(prefix + VECTORS)
        if self.memory and saved is not None and saved.ndim == 2 and saved.shape[0] == self.memory:
            self.memory_vectors = torch.zeros_like(saved, device=self.memory_vectors.device)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def extra_repr(self) -> str:
        return f"{self.loss!r}, memory={self.memory}"
