"""Evaluation: exact error rates of embeddings, each with its interval. Needs numpy; the streaming engine also torch."""

from typing import TYPE_CHECKING, Any

from orthodrome.evaluation.det import det_curve, fnmr_at_fmr
from orthodrome.evaluation.fairness import FairnessReport, fairness
from orthodrome.evaluation.folds import FoldResult, deal_folds
from orthodrome.evaluation.identification import IdentificationReport, identification
from orthodrome.evaluation.intervals import bootstrap_by_identity, wilson
from orthodrome.evaluation.overlap import overlap_by_embedding, overlap_by_name
from orthodrome.evaluation.pairs import ImageId, Pairs, read_pairs, resolve_pairs
from orthodrome.evaluation.protocols import PROTOCOLS, EvaluationProtocol
from orthodrome.evaluation.report import Written, summary_rows, write_comparison, write_report
from orthodrome.evaluation.roc import (
    EqualErrorRate,
    RocCurve,
    TarAtFar,
    equal_error_rate,
    roc_curve,
    tar_at_far,
)
from orthodrome.evaluation.scores import Comparisons, canonical_scores, pair_scores
from orthodrome.evaluation.verification import (
    VerificationReport,
    all_pairs,
    verification,
    verification_from_embeddings,
)

if TYPE_CHECKING:
    from orthodrome.evaluation.streaming import StreamedRoc, compare_all, streaming_memory

_STREAMING = ("StreamedRoc", "compare_all", "streaming_memory")


def __getattr__(name: str) -> Any:  # the streaming engine imports torch, so only those who use it do
    if name in _STREAMING:
        from orthodrome.evaluation import streaming

        return getattr(streaming, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "PROTOCOLS",
    "Comparisons",
    "EqualErrorRate",
    "EvaluationProtocol",
    "FairnessReport",
    "FoldResult",
    "IdentificationReport",
    "ImageId",
    "Pairs",
    "RocCurve",
    "StreamedRoc",
    "TarAtFar",
    "VerificationReport",
    "Written",
    "all_pairs",
    "bootstrap_by_identity",
    "canonical_scores",
    "compare_all",
    "deal_folds",
    "det_curve",
    "equal_error_rate",
    "fairness",
    "fnmr_at_fmr",
    "identification",
    "overlap_by_embedding",
    "overlap_by_name",
    "pair_scores",
    "read_pairs",
    "resolve_pairs",
    "roc_curve",
    "streaming_memory",
    "summary_rows",
    "tar_at_far",
    "verification",
    "verification_from_embeddings",
    "wilson",
    "write_comparison",
    "write_report",
]
