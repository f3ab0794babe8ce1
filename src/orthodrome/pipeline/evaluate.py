"""A model against a protocol: read its list, embed its images, count."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from orthodrome.evaluation.protocols import PROTOCOLS
from orthodrome.evaluation.verification import VerificationReport
from orthodrome.pipeline.embed import Progress, embed_files
from orthodrome.pipeline.model import Model


@dataclass(frozen=True)
class ProtocolData:
    """Where the images and the list of a protocol lie."""

    protocol: str
    data: Path
    pairs: Path


def check_protocol(where: ProtocolData) -> None:
    """Read the list and find every image it names, before hours of training depend on it. Raises InputError."""
    protocol = PROTOCOLS.get(where.protocol)
    protocol.images(protocol.read(where.pairs), where.data)


def evaluate_model(
    model: Model,
    where: ProtocolData,
    *,
    flip: str = "sum",
    progress: Progress | None = None,
) -> VerificationReport:
    """Embed each image of the protocol once and evaluate; raises InputError for a missing image or a wrong list (line named)."""
    protocol = PROTOCOLS.get(where.protocol)
    listing = protocol.read(where.pairs)
    embeddings = embed_files(model, protocol.images(listing, where.data), flip=flip, progress=progress)
    return protocol.evaluate(embeddings, listing)
