"""The table of protocols: one row per name. A new protocol is its three functions, in the file of its family, and one row here."""

from __future__ import annotations

from functools import partial

from orthodrome.evaluation.overlap import people_of
from orthodrome.evaluation.pair_lists import read_cfp, read_flagged, read_two_lines
from orthodrome.evaluation.pairs import Pairs, read_pairs, resolve_pairs
from orthodrome.evaluation.protocols import blufr, groups, ijb, ijb_lists, megaface, search, search_lists, verification, ytf
from orthodrome.evaluation.protocols.table import PROTOCOLS, EvaluationProtocol

__all__ = ["PROTOCOLS", "EvaluationProtocol"]


def _add(row: EvaluationProtocol) -> None:
    PROTOCOLS.add(row.name, row)


_add(
    EvaluationProtocol(
        "lfw",
        "LFW View 2: 10 folds of 300 + 300 pairs from pairs.txt; accuracy, EER, TAR@FAR",
        read_pairs,
        resolve_pairs,
        verification.verify_lfw,
        "pairs.txt",
        verification.CONVENTION_OPTION,
        people=Pairs.people,
    )
)
for _name, _description, _needs, _read, _title in (
    ("pairs", "the same for any list in the form of LFW's pairs.txt", "a list like pairs.txt", read_pairs, "k-fold verification"),
    (
        "cfp-fp",
        "CFP, frontal against profile: 10 folds of 350 + 350 pairs",
        "CFP's folder Protocol",
        partial(read_cfp, kind="FP"),
        "CFP-FP verification (frontal against profile)",
    ),
    (
        "cfp-ff",
        "CFP, frontal against frontal",
        "CFP's folder Protocol",
        partial(read_cfp, kind="FF"),
        "CFP-FF verification (frontal against frontal)",
    ),
    (
        "agedb-30",
        "AgeDB, 30 years apart: 10 folds of 600 pairs",
        "lines 'left right flag'",
        read_flagged,
        "AgeDB-30 verification (30 years apart)",
    ),
    (
        "calfw",
        "Cross-Age LFW: 10 folds of 300 + 300 pairs",
        "pairs_CALFW.txt",
        read_two_lines,
        "CALFW verification (across age)",
    ),
    (
        "cplfw",
        "Cross-Pose LFW: 10 folds of 300 + 300 pairs",
        "pairs_CPLFW.txt",
        read_two_lines,
        "CPLFW verification (across pose)",
    ),
):
    _evaluate = partial(verification.verify_pairs, protocol=_name, title=_title)
    _convention = verification.CONVENTION_OPTION
    _add(EvaluationProtocol(_name, _description, _read, resolve_pairs, _evaluate, _needs, _convention, people=Pairs.people))

_add(
    EvaluationProtocol(
        "ytf",
        "YouTube Faces: 5,000 pairs of videos in 10 folds, compared in both published ways",
        ytf.read_ytf,
        ytf.video_frames,
        ytf.verify_videos,
        "splits.txt",
        people=lambda pairs, embeddings: [identifier.split("/")[-3] for identifier in embeddings.ids],
    )
)
_add(
    EvaluationProtocol(
        "blufr",
        "BLUFR on LFW: VR at FAR 0.1 % and open-set DIR at FAR 1 % over 10 trials, μ − σ",
        blufr.read_blufr,
        blufr.blufr_images,
        blufr.evaluate_blufr,
        "blufr_lfw_config.mat; or a list of images, for trials of the same shape",
        people=lambda lists, embeddings: people_of(embeddings),
    )
)
_add(
    EvaluationProtocol(
        "identification",
        "CMC, open set, and rank 1 among growing distractors, for any lists",
        search_lists.read_search_lists,
        search_lists.search_images,
        search.identify,
        "a folder with probes.txt, gallery.txt (and distractors.txt, failures.txt)",
        people=search_lists.people_searched,
    )
)
_add(
    EvaluationProtocol(
        "tinyface",
        "TinyFace: ranks 1, 5 and 20 with distractors",
        search.read_tinyface,
        search_lists.search_images,
        search.identify_tinyface,
        "the folder Testing_Set",
        people=search_lists.people_searched,
    )
)
_add(
    EvaluationProtocol(
        "megaface",
        "MegaFace: rank 1 at 10 … 10⁶ distractors, TAR at FAR 1e−6; raw, dropped and refined",
        megaface.read_megaface,
        megaface.megaface_images,
        megaface.evaluate_megaface,
        "a folder with the devkit's lists (and lists of noise)",
        people=megaface.people_probing,
    )
)
_add(
    EvaluationProtocol(
        "trillion-pairs",
        "identification at FPIR 1e−3 and verification at FAR 1e−9 over all probes × gallery",
        search_lists.read_search_lists,
        search_lists.search_images,
        search.identify_at_scale,
        "a folder as for identification",
        people=search_lists.people_searched,
        tells_progress=True,
    )
)
for _set in ("ijbb", "ijbc"):
    _name = f"IJB-{_set[-1].upper()}"
    _add(
        EvaluationProtocol(
            _set,
            f"{_name} 1:1: pairs of templates, TAR at FAR 1e−6 … 1e−1",
            partial(ijb_lists.read_verification, prefix=_set),
            ijb.face_images,
            partial(ijb.verify_templates, protocol=_set),
            f"a folder with {_set}_face_tid_mid.txt, {_set}_template_pair_label.txt",
            ijb.WEIGHTING_OPTION,
        )
    )
    _add(
        EvaluationProtocol(
            f"{_set}-1n",
            f"{_name} 1:N: ranks 1, 5, 10 and TPIR at FPIR 0.01, 0.1 against each gallery",
            partial(ijb_lists.read_identification, prefix=_set),
            ijb.face_images,
            partial(ijb.identify_templates, protocol=f"{_set}-1n"),
            f"a folder with {_set}_face_tid_mid.txt, galleries and probes",
            ijb.WEIGHTING_OPTION,
        )
    )
_add(
    EvaluationProtocol(
        "fairness",
        "FMR and FNMR of groups of people at one threshold, and how far they lie apart",
        groups.read_grouped,
        groups.grouped_images,
        groups.measure_fairness,
        "a folder with pairs.txt and groups.txt",
        people=lambda lists, embeddings: lists.pairs.people(embeddings),
    )
)
