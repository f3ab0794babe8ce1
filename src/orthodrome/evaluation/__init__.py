"""Evaluation: exact error rates of embeddings, each with its interval. Needs numpy; the streaming engine also torch."""

from typing import TYPE_CHECKING, Any

from orthodrome.evaluation.calibration import Calibration, calibrate, load_calibration, save_calibration
from orthodrome.evaluation.calibration_quality import cllr, cross_fitted, minimum_cllr, reliability
from orthodrome.evaluation.comparing import PairedComparison, System, compare_systems, mcnemar
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
from orthodrome.evaluation.scored import ScoredPairs, from_series
from orthodrome.evaluation.scores import Comparisons, canonical_scores, pair_scores
from orthodrome.evaluation.stored import RunsComparison, compare_runs, read_report
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
    "Calibration",
    "Comparisons",
    "EqualErrorRate",
    "EvaluationProtocol",
    "FairnessReport",
    "FoldResult",
    "IdentificationReport",
    "ImageId",
    "PairedComparison",
    "Pairs",
    "RocCurve",
    "RunsComparison",
    "ScoredPairs",
    "StreamedRoc",
    "System",
    "TarAtFar",
    "VerificationReport",
    "Written",
    "all_pairs",
    "bootstrap_by_identity",
    "calibrate",
    "canonical_scores",
    "cllr",
    "compare_all",
    "compare_runs",
    "compare_systems",
    "cross_fitted",
    "deal_folds",
    "det_curve",
    "equal_error_rate",
    "fairness",
    "fnmr_at_fmr",
    "from_series",
    "identification",
    "load_calibration",
    "mcnemar",
    "minimum_cllr",
    "overlap_by_embedding",
    "overlap_by_name",
    "pair_scores",
    "read_pairs",
    "read_report",
    "reliability",
    "resolve_pairs",
    "roc_curve",
    "save_calibration",
    "streaming_memory",
    "summary_rows",
    "tar_at_far",
    "verification",
    "verification_from_embeddings",
    "wilson",
    "write_comparison",
    "write_report",
]
