"""A model against a protocol: read its lists, embed its images, count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orthodrome.evaluation.outcome import Result
from orthodrome.evaluation.protocols import PROTOCOLS
from orthodrome.pipeline.embed import Embedder, embed_files
from orthodrome.types import EmbeddingSet, ImageSource, Progress


@dataclass(frozen=True)
class ProtocolData:
    """Where the images and the lists of a protocol lie, and its options."""

    protocol: str
    data: Path
    lists: Path
    options: Mapping[str, str] = field(default_factory=dict)


def people_tested(where: ProtocolData, embeddings: EmbeddingSet) -> Sequence[str | None] | None:
    """The person of each embedding as the lists of the protocol name them, empty where they do not, None where they do not list the image;
    None where they name nobody.
    """
    protocol = PROTOCOLS.get(where.protocol)
    return protocol.people(protocol.read(where.lists), embeddings)


def protocol_images(where: ProtocolData) -> Mapping[str, ImageSource]:
    """The images of the protocol by id. Raises InputError for a wrong option or list (line named), or an image that is missing.

    Training asks for them before hours of work depend on it.
    """
    protocol = PROTOCOLS.get(where.protocol)
    protocol.chosen(where.options)
    return protocol.images(protocol.read(where.lists), where.data)


def evaluate_embeddings(embeddings: EmbeddingSet, where: ProtocolData, progress: Progress | None = None) -> Result:
    """The result of embeddings, made by anyone, under the protocol; ``progress`` is told of its comparisons where it may take hours."""
    protocol = PROTOCOLS.get(where.protocol)
    return protocol.run(embeddings, protocol.read(where.lists), where.options, progress)


def evaluate_model(model: Embedder, where: ProtocolData, *, flip: str = "sum", progress: Progress | None = None) -> Result:
    """Embed each image of the protocol once, then `evaluate_embeddings`."""
    return evaluate_embeddings(embed_files(model, protocol_images(where), flip=flip, progress=progress), where)
