"""The seams of orthodrome: every value that crosses from one room to another, and nothing else.

All are frozen dataclasses (values) or Protocols (what a room asks of another). Importing this module does not import torch.

Shape suffixes used all over the code: B batch, C classes, D embedding dimension, M columns of a tile, N items of a set, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


class InputError(ValueError):
    """What the user gave cannot be used. The message says what was given, what was expected and what to do.

    The command line prints it as one line without a traceback.
    """


# ---------------------------------------------------------------------------------------------- images and embeddings


@dataclass(frozen=True)
class Sample:
    """One labelled image of a reader: ``key`` names it to people (a path, a record key), ``label`` is in ``[0, classes)``."""

    key: str
    label: int


@dataclass(frozen=True)
class Batch:
    """What the loader hands to the training loop.

    ``images`` uint8 (B, 3, H, W) RGB; ``labels`` int64 (B,); ``indices`` int64 (B,), positions in the reader.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor


@dataclass(frozen=True)
class Preprocessing:
    """How pixels become the network's input. It is part of a model: stored with it and checked when it is loaded.

    ``size`` is (height, width), to which whole images are resized. The network sees ``(x − mean) / std`` of 8-bit values in ``colour``
    order, of the middle of size ``center_crop`` where that is given: as SphereFace's 112×96 is the middle of ArcFace's 112×112.
    ``template`` names the alignment the crops follow, for example ``"arcface112"``; ``"none"`` when they follow none.
    """

    size: tuple[int, int] = (112, 112)
    colour: str = "RGB"
    mean: float = 127.5
    std: float = 127.5
    template: str = "none"
    center_crop: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if len(self.size) != 2 or min(self.size) < 1:
            raise InputError(f"image size must be two positive integers (height, width); got {self.size}")
        crop = self.input_size
        if len(crop) != 2 or min(crop) < 1 or crop[0] > self.size[0] or crop[1] > self.size[1]:
            raise InputError(f"center_crop is (height, width) within the image size {self.size}; got {crop}")
        if self.colour != "RGB":
            raise InputError(f"colour order must be 'RGB'; got {self.colour!r}")
        if not self.std > 0:
            raise InputError(f"std must be positive; got {self.std}")

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) of what the network sees."""
        return self.center_crop or self.size


@runtime_checkable
class Reader(Protocol):
    """A set of labelled images with random access; must be picklable (it travels to worker processes)."""

    @property
    def class_names(self) -> Sequence[str]:
        """One name per label, in label order."""

    def __len__(self) -> int: ...

    def sample(self, index: int) -> Sample:
        """Key and label of one image, without decoding it."""

    def image(self, index: int) -> np.ndarray:
        """The decoded image: uint8 (H, W, 3), RGB, upright. Raises InputError naming the file and the reason."""


@dataclass(frozen=True)
class EmbeddingSet:
    """Embeddings with their names: float32 ``vectors`` (N, D), not necessarily unit; int64 ``labels`` (N,) with −1 for unknown.

    ``ids`` names each item (a path, a template id) and is unique; ``meta`` says where the vectors come from.
    """

    vectors: np.ndarray
    labels: np.ndarray
    ids: tuple[str, ...]
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2:
            raise InputError(f"embeddings must have shape (N, D); got {self.vectors.shape}")
        count = self.vectors.shape[0]
        if self.labels.shape != (count,):
            raise InputError(f"labels must have shape ({count},), one per embedding; got {self.labels.shape}")
        if len(self.ids) != count:
            raise InputError(f"ids must name each of the {count} embeddings; got {len(self.ids)} ids")

    def __len__(self) -> int:
        return self.vectors.shape[0]


# ------------------------------------------------------------------------------------------------------------- losses

Values = Mapping[str, Any]
"""Hyper-parameters by name, or keyword arguments of an angular function."""


@dataclass(frozen=True)
class Rows:
    """What is known of each sample before classes are compared: the input of a loss' margin, scale and prepare functions.

    ``norms`` (B, 1): ‖x‖, with gradient. ``target`` (B, 1): the similarity to the own class, a constant for the gradient.
    ``negatives`` maps a scale to the logsumexp (B,) of ``scale · cos`` over the other classes, without gradient: one extra pass
    over the classes, paid only by the rows that call it. ``draw`` returns standard normal numbers of a shape, seeded by the head.
    """

    norms: Tensor
    target: Tensor
    num_classes: int
    negatives: Callable[[Tensor | float], Tensor]
    draw: Callable[[tuple[int, ...]], Tensor]


Angular = Callable[..., "tuple[Tensor, Tensor]"]
"""φ and ν of one paper: ``(cos_y (B, 1), cos (B, M), **values) -> (φ (B, 1), ν (B, M))``.

Column-local: ``nu[:, J]`` depends on ``cos[:, J]`` and per-row context only. ``cos_y`` is the target similarity and ``cos`` a tile of
similarities. Inside ν, ``cos_y`` is a constant for the gradient.
"""


@dataclass(frozen=True)
class Similarity:
    """What a tile of proxies yields; always column-local.

    ``query``: embeddings (B, D), state -> (B, D), multiplied with the proxies (M·K, D), which are divided by their lengths where
    ``unit_proxies`` says so. ``reduce``: products (B, M·K) -> (B, M).
    ``per_class`` is K, the proxies of one class; ``class_bias`` adds one learned number per class (state ``class_bias``).
    """

    query: Callable[[Tensor, Mapping[str, Tensor]], Tensor]
    unit_proxies: bool
    reduce: Callable[[Tensor], Tensor]
    per_class: int = 1
    class_bias: bool = False


@dataclass(frozen=True)
class Split:
    """The gradient of a link, known before N is, but for a factor of each sample.

    ``slopes``: logits (B, M) -> (what ``Link.partial`` gives, a level (B,), slopes (B, M)). ``factor``: level, N, the gradient of N
    -> (B,); times the slopes it is what ``Link.pull`` gives.
    """

    slopes: Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]
    factor: Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Link:
    """How the target logit p (B,) meets the logits of the other classes.

    ``partial``: logits (B, M), −inf where a column does not count -> (B,), or (B, k) where k numbers are needed. ``merge``: two
    partials -> one; associative and commutative. ``join``: p (B,), the merged partial N, number of classes -> (B,) losses.
    ``pull``: logits of any tile, N, the gradient of N -> the gradient of these logits (B, M).
    ``log_bound``: logits of a tile, p, the merge of all partials so far -> at least log |∂ℓ/∂logit| (B, M); None where the gradient
    of a logit does not vanish.

    ``split``: ``pull`` in two steps, where that can be. ``additive``: ``merge`` is +, ``join`` is linear in N and ``pull`` does not look at
    it, so that the gradient of a tile needs no other tile.
    """

    partial: Callable[[Tensor], Tensor]
    merge: Callable[[Tensor, Tensor], Tensor]
    join: Callable[[Tensor, Tensor, int], Tensor]
    pull: Callable[[Tensor, Tensor, Tensor], Tensor]
    log_bound: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None
    split: Split | None = None
    additive: bool = False


@dataclass(frozen=True)
class State:
    """One entry of a loss' state: its first value, and whether the optimizer learns it (parameter) or the loss keeps it (buffer)."""

    value: Tensor
    learned: bool = False


@dataclass(frozen=True)
class Regularizer:
    """A term added to the loss of each sample.

    ``state``: (classes, dimension) -> entries. ``value``: raw embeddings (B, D), labels (B,), the proxies of each sample's own class
    (B, K, D), state -> (B,). ``update`` (training only, after the loss is known): the same without the proxies -> new values of buffers.
    """

    name: str
    value: Callable[[Tensor, Tensor, Tensor, Mapping[str, Tensor]], Tensor]
    state: Callable[[int, int], Mapping[str, State]] = lambda classes, dimension: {}
    update: Callable[[Tensor, Tensor, Mapping[str, Tensor]], Mapping[str, Tensor]] | None = None


@dataclass(frozen=True)
class LossSpec:
    """One loss, resolved: every function bound to its hyper-parameters. Made by :func:`orthodrome.losses.get`.

    A head evaluates ``p = scale · φ + bias``, ``n_j = scale · ν_j + bias``, ``ℓ = weight(link.join(p, ⊕_j n_j))`` and adds the
    regularisers. ``prepare`` runs without gradient, in training only, and returns new values of state buffers. ``uniform``: the weight
    of a sample does not depend on the losses. ``conflict``: other classes more similar than this do not count; None: all do.
    """

    name: str
    similarity: Similarity
    angular: Angular
    link: Link
    margins: Callable[[Rows, Mapping[str, Tensor]], Values]
    scale: Callable[[Rows, Mapping[str, Tensor]], Tensor | float]
    weight: Callable[[Tensor], Tensor]
    state: Callable[[int], Mapping[str, State]]
    prepare: Callable[[Rows, Mapping[str, Tensor]], Mapping[str, Tensor]] | None
    regularizers: tuple[Regularizer, ...]
    gradient: str
    hyper: Values
    defaults: Values
    paper: str
    cell: tuple[str, str]
    formula: str
    minimum_classes: int = 2
    uniform: bool = True
    conflict: float | None = None


@dataclass(frozen=True)
class Keys:
    """What embeddings are compared with in a pair loss: other embeddings (M, D) and their labels (M,)."""

    vectors: Tensor
    labels: Tensor


@dataclass(frozen=True)
class LossOutput:
    """Result of a head: ``loss`` () is the mean of ``per_sample`` (B,); ``stats`` are detached scalars for the log.

    Where several processes share a head, ``loss`` and ``stats`` are of the batches of all, ``per_sample`` of the own one.
    """

    loss: Tensor
    per_sample: Tensor
    stats: Mapping[str, Tensor] = field(default_factory=dict)


class Head(Protocol):
    """Embeddings (B, D) and labels (B,) in, LossOutput out."""

    def __call__(self, embeddings: Tensor, labels: Tensor) -> LossOutput: ...


class Backbone(Protocol):
    """Images (B, 3, H, W) in, raw (not normalised) embeddings (B, D) out."""

    def __call__(self, images: Tensor) -> Tensor: ...


# --------------------------------------------------------------------------------------------------------- evaluation


@dataclass(frozen=True)
class Interval:
    """A confidence interval: ``low`` ≤ ``high``, its ``level`` (0.95) and the ``method`` that made it."""

    low: float
    high: float
    level: float = 0.95
    method: str = ""


@dataclass(frozen=True)
class Report:
    """The result of one evaluation, to be printed and written: ``metrics`` is plain JSON; ``series`` holds arrays to plot."""

    protocol: str
    title: str
    metrics: Mapping[str, Any]
    series: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


# ------------------------------------------------------------------------------------------- from a photo to an identity


class Detector(Protocol):
    """Finds faces: uint8 (H, W, 3) RGB -> (F, 15): box x, y, width, height, five (x, y) landmarks, score."""

    def __call__(self, image: np.ndarray) -> np.ndarray: ...


class Aligner(Protocol):
    """Cuts one face out: image and landmarks (5, 2) -> uint8 crop (H, W, 3)."""

    def __call__(self, image: np.ndarray, landmarks: np.ndarray) -> np.ndarray: ...


class Index(Protocol):
    """Nearest neighbours: unit queries (Q, D), k -> scores (Q, k) and positions (Q, k), best first."""

    def __call__(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]: ...


PathLike = str | Path
ImageSource: TypeAlias = "Path | bytes | np.ndarray"
"""An image: its file, its encoded bytes, or its pixels uint8 (H, W, 3), RGB."""
Progress = Callable[[int, int], None]
"""Called with the number done (images, comparisons) and the number of all."""
Labels = Sequence[int]
