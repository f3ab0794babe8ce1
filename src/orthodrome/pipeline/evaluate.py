"""A model against a protocol: read its lists, embed its images, count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orthodrome.evaluation.outcome import Result
from orthodrome.evaluation.protocols import PROTOCOLS
from orthodrome.pipeline.embed import Embedder, Progress, embed_files
from orthodrome.types import EmbeddingSet


@dataclass(frozen=True)
class ProtocolData:
    """Where the images and the lists of a protocol lie, and its options."""

    protocol: str
    data: Path
    lists: Path
    options: Mapping[str, str] = field(default_factory=dict)


def check_protocol(where: ProtocolData) -> None:
    """Read the lists and find every image they name, before hours of training depend on it. Raises InputError."""
    protocol = PROTOCOLS.get(where.protocol)
    protocol.images(protocol.read(where.lists), where.data)


def embed_protocol(model: Embedder, where: ProtocolData, *, flip: str = "sum", progress: Progress | None = None) -> EmbeddingSet:
    """Embed each image of the protocol once; raises InputError for a missing image or a wrong list (line named)."""
    protocol = PROTOCOLS.get(where.protocol)
    return embed_files(model, protocol.images(protocol.read(where.lists), where.data), flip=flip, progress=progress)


def evaluate_embeddings(embeddings: EmbeddingSet, where: ProtocolData) -> Result:
    """The result of embeddings, made by anyone, under the protocol."""
    protocol = PROTOCOLS.get(where.protocol)
    return protocol.run(embeddings, protocol.read(where.lists), where.options)


def evaluate_model(model: Embedder, where: ProtocolData, *, flip: str = "sum", progress: Progress | None = None) -> Result:
    """`embed_protocol`, then `evaluate_embeddings`."""
    return evaluate_embeddings(embed_protocol(model, where, flip=flip, progress=progress), where)
