"""Every section of a report says what its metrics say; pictures of pairs; series of every form; bands."""

from __future__ import annotations

import io
import re
import zlib
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from orthodrome.evaluation import tar_at_far, verification, wilson, write_report
from orthodrome.evaluation.completing import HARDEST, completed, hardest_pairs, roc_band
from orthodrome.evaluation.scored import ScoredPairs, from_series
from orthodrome.evaluation.sections import Section, render, section, sections_of
from orthodrome.evaluation.sections.hardest import _thumbnail
from orthodrome.evaluation.wording import signed
from orthodrome.types import InputError, Report

INTERVAL = {"low": 0.9, "high": 0.95, "level": 0.95, "method": "Wilson"}

METRICS: dict[str, Any] = {
    "cmc": [
        {"rank": 1, "rate": 0.93, "hits": 930, "searches": 1000, "interval": INTERVAL, "by_identity": None},
        {"rank": 10, "rate": 0.98, "hits": 980, "searches": 1000, "interval": INTERVAL, "by_identity": None},
    ],
    "rank_by_distractors": [
        {"distractors": 0, "rate": 0.99, "hits": 99, "searches": 100, "interval": INTERVAL},
        {"distractors": 10, "rate": 0.95, "hits": 95, "searches": 100, "interval": INTERVAL},
        {"distractors": 1_000_000, "rate": 0.6, "hits": 60, "searches": 100, "interval": INTERVAL},
    ],
    "open_set": [
        {
            **{"fpir": 0.01, "threshold": 0.43211, "tpir": 0.875, "accepted_mated": 875, "mated": 1000},
            **{"accepted_non_mated": 3, "non_mated": 300, "interval": INTERVAL, "warning": "3 accepted in 300"},
        }
    ],
    "fairness": {
        "threshold": 0.31,
        "groups": [
            {
                **{"group": "<north>", "fmr": 0.002, "accepted_impostor": 40, "impostor": 20_000, "fmr_interval": INTERVAL},
                **{"fnmr": 0.05, "rejected_genuine": 50, "genuine": 1000, "fnmr_interval": INTERVAL},
            },
            {
                **{"group": "south", "fmr": 0.0, "accepted_impostor": 0, "impostor": 500, "fmr_interval": INTERVAL},
                **{"fnmr": None, "rejected_genuine": 0, "genuine": 0, "fnmr_interval": None},
            },
        ],
        "ratios": {"FMR max/min": None, "FNMR max/min": 1.25},
    },
    "overlap": {
        "method": "by nearest embeddings",
        "pairs": [{"train": "Ann", "test": "ann_b", "score": 0.83}, {"train": "Bob", "test": "bob", "score": 1.0}],
        "text": "2 people in both sets",
    },
    "trials": [{"name": "VR@FAR=0.1%", "mean": 0.9, "deviation": 0.02, "trials": 2, "values": [0.88, 0.92]}],
    "mean_over_galleries": [{"name": "rank 1", "mean": 0.7, "interval": INTERVAL, "galleries": [0.6, 0.8]}],
    "compatibility": {"convention": "insightface", "text": "convention insightface: accuracy 0.99350"},
    "failures_to_enrol": 3,
    "failed_images": {"probes": {"failed": 3, "listed": 1000}, "gallery": {"failed": 0, "listed": 20}},
    "variants": {"G1": {"cmc": [{"rank": 1, "rate": 0.5, "hits": 50, "searches": 100, "interval": INTERVAL}]}},
}

SAID = {
    "Trials": ["VR@FAR=0.1%", "88.00 %", "2.00", "88.00 %, 92.00 %"],
    "Mean over galleries": ["70.00 %", "90.00–95.00 %", "60.00 %, 80.00 %"],
    "Ranks": ["93.00 %", "90.00–95.00 %", "930 / 1,000", "Mind at rank 10: 20 misses in 1,000"],
    "Rank 1 by distractors": ["1,000,000", "60 / 100", "Mind at 0 distractors: 1 misses in 100"],
    "Open set": ["0.4322", "3 / 300", "87.50 %", "875 / 1,000", "Mind at FPIR 1 %: 3 accepted in 300."],
    "Groups": [
        "<north>",
        "40 / 20,000",
        "Mind at group south: no accepted impostors in 500",
        "FMR max/min: undefined: a rate is 0",
        "1.25",
    ],
    "Other conventions": ["convention insightface: accuracy 0.99350"],
    "Overlap with the training set": [
        "2 people in both sets.",
        "2 people in both sets.",
        "Audited by nearest embeddings",
        "0.8300",
    ],
    "Failures to enrol": [
        "3 failures to enrol; their comparisons count as non-matches.",
        "Images that failed: 3 / 1,000 probes, 0 / 20 gallery.",
    ],
    "G1": ["50.00 %", "50 / 100"],
}


def text_of(shown: Section, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(section, "_figures", lambda: (None, ""))
    return unescape(re.sub(r"<[^>]+>", " ", render([shown]).html[0]))


def test_every_section_says_what_its_metrics_say(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {shown.title: shown for shown in sections_of(Report("identification", "A report", METRICS))}
    assert list(found) == list(SAID)
    for title, sayings in SAID.items():
        text = text_of(found[title], monkeypatch)
        assert [saying for saying in sayings if saying not in text] == []


def test_all_sections_are_drawn_and_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    written = write_report(Report("identification", "A report", METRICS), tmp_path)
    assert [path.name for path in written.files] == ["report.json", "report.html", "cmc.png", "distractors.png"]
    html = written.files[1].read_text(encoding="utf-8")
    assert "<b>93.00 %</b>" in html  # rank 1 among the headline
    assert html.count("<svg") == 2
    assert re.findall(r'<a href="#([^"]+)">', html) == [
        name for name in re.findall(r'<section id="([^"]+)">', html) if name != "conventions-and-notes"
    ]


def test_scores_of_searches_are_not_called_comparisons(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = pytest.importorskip("orthodrome.figures.evaluation")
    series = {"genuine": np.array([0.9, 0.8, 0.4]), "impostor": np.array([0.1, 0.5, 0.3])}
    for metrics, words in ((METRICS, ("TPIR: mated", "FPIR: non-mated")), ({}, ("TAR: genuine", "FAR: impostor"))):
        (curves, *_) = sections_of(Report("x", "x", metrics, series))
        (pictures,) = curves.parts
        drawn = {picture.stem: picture.draw(figures).axes[0] for picture in pictures}
        assert drawn["roc"].get_ylabel().startswith(words[0])
        assert drawn["det"].get_xlabel().startswith(words[1])
        named = [text.get_text() for text in drawn["errors"].get_legend().get_texts()]
        assert named == [words[1].split(":")[0], "FNIR" if metrics else "FRR"]


def test_a_curve_without_scores_is_drawn(tmp_path: Path) -> None:
    """As the streaming engine gives it: (far, tar) at chosen points, no scores."""
    pytest.importorskip("matplotlib")
    curve = (np.array([1e-6, 1e-4, 1.0]), np.array([0.5, 0.8, 1.0]))
    report = Report("stream", "A curve", {"counts": {"genuine": 200, "impostor": 10**7}}, {"roc": curve})
    band = completed(report).metrics["roc_band"]
    assert (band["method"], band["far"], band["tar"]) == ("pointwise, Wilson", [1e-6, 1e-4, 1.0], [0.5, 0.8, 1.0])
    assert (band["low"][1], band["high"][1]) == (wilson(160, 200).low, wilson(160, 200).high)
    written = write_report(report, tmp_path)
    assert [path.name for path in written.files] == ["report.json", "report.html", "roc.png", "det.png"]


def scored(identities: bool = True) -> Report:
    random = np.random.default_rng(0)
    same = np.tile(np.arange(100) < 50, 4)
    people = random.integers(0, 10, (400, 2))
    people[:, 1] = np.where(same, people[:, 0], (people[:, 0] + 1 + people[:, 1] % 9) % 10)
    scores = random.normal(1.5 * same, 1).astype(np.float32)
    found = verification(scores, same, np.repeat(np.arange(4), 100), people if identities else None)
    names = np.array([f"person/image_{number}" for number in range(800)])
    return replace(found, pairs=replace(found.pairs, rows=np.arange(800).reshape(400, 2), names=names)).to_report()


def test_the_hardest_pairs_are_those_of_a_sort_and_counted_at_the_threshold() -> None:
    report = scored()
    found = completed(report).metrics["hardest"]
    genuine, impostor = report.series["genuine"], report.series["impostor"]
    assert [pair["score"] for pair in found["false_accepts"]] == sorted(impostor.tolist(), reverse=True)[:HARDEST]
    assert [pair["score"] for pair in found["false_rejects"]] == sorted(genuine.tolist())[:HARDEST]
    for pair in found["false_accepts"]:
        position = int(np.flatnonzero(impostor == pair["score"])[0])
        assert list(pair["ids"]) == report.series["ids"][report.series["impostor_ids"][position]].tolist()
    threshold = np.float32(report.metrics["best_threshold"])
    assert found["accepted_impostor"] == (impostor >= threshold).sum()
    assert found["rejected_genuine"] == (genuine < threshold).sum()
    few = ScoredPairs(
        np.array([1.0, 0.0]),
        np.array([True, False]),
        np.full(2, ""),
        rows=np.array([[0, 1], [1, 2]]),
        names=np.array(["a", "b", "c"]),
    )
    assert hardest_pairs(few, 1.0)["false_rejects"] == [{"ids": ("a", "b"), "score": 1.0, "accepted": True}]


def test_images_of_the_hardest_pairs_from_files_and_bytes_and_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(section, "_figures", lambda: (None, ""))
    report = completed(scored())
    first, second = report.metrics["hardest"]["false_accepts"][0]["ids"]
    third = report.metrics["hardest"]["false_accepts"][1]["ids"][0]
    Image.new("L", (300, 200), 90).save(tmp_path / "grey.png")
    colour = io.BytesIO()
    Image.new("RGB", (20, 30), (200, 10, 10)).save(colour, "PNG")
    written = write_report(
        report, tmp_path / "out", {first: tmp_path / "grey.png", second: colour.getvalue(), third: b"no image"}
    )
    html = written.files[1].read_text(encoding="utf-8")
    assert html.count('src="data:image/jpeg;base64,') == 2
    assert f'alt="{first}"' in html
    assert html.count("cannot be read") == 1
    shown = report.metrics["hardest"]["false_accepts"]
    known = [identifier for pair in shown for identifier in pair["ids"] if identifier in (first, second, third)]
    assert html.count(">no image<") == 2 * HARDEST - len(known)
    rejected = report.metrics["hardest"]["false_rejects"][0]  # of these there is no image, so they stand in a table
    ids = "".join(f'<td class="words">{identifier.replace("/", "/<wbr>")}</td>' for identifier in rejected["ids"])
    assert f"<td>{signed(rejected['score'])}</td><td>rejected</td>{ids}" in html


def test_a_face_is_shown_upright_as_the_system_saw_it() -> None:
    file, turned = io.BytesIO(), Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (40, 20)).save(file, "JPEG", exif=turned)
    assert Image.open(io.BytesIO(_thumbnail(file.getvalue()))).size == (20, 40)


def damaged_pictures() -> dict[str, bytes]:
    """What makes decoders fail in ways of their own, beyond "not an image"."""
    whole = io.BytesIO()
    Image.effect_noise((300, 300), 90).save(whole, "PNG")
    content = whole.getvalue()
    chunk = content.index(b"IDAT")
    bomb = content[:16] + (2**30).to_bytes(4, "big") * 2 + content[24:]
    bomb = bomb[:29] + zlib.crc32(bomb[12:29]).to_bytes(4, "big") + bomb[33:]
    return {
        "cut": content[:2000],
        "a broken chunk": content[:chunk] + b"\0\0\0\0" + content[chunk + 4 :],
        "a bomb": bomb,
        "empty": b"",
    }


@pytest.mark.parametrize("damage", damaged_pictures())
def test_one_damaged_picture_does_not_cost_the_report(tmp_path: Path, damage: str) -> None:
    report = completed(scored())
    first = report.metrics["hardest"]["false_accepts"][0]["ids"][0]
    written = write_report(report, tmp_path / "out", {first: damaged_pictures()[damage]})
    html = written.files[1].read_text(encoding="utf-8")
    assert html.count("cannot be read") == 1
    assert "data:image/jpeg" not in html


def test_folds_without_two_scores_are_reported_without_a_calibration(tmp_path: Path) -> None:
    """Only the first fold tells pairs apart, so nothing can be fitted to judge it by."""
    same = np.tile([True, False], 40)
    scores = np.where(np.arange(80) < 40, np.where(same, 0.9, 0.1), 0.5).astype(np.float32)
    report = verification(scores, same, np.repeat([0, 1], 40)).to_report()
    assert "calibration" not in completed(report).metrics
    assert (tmp_path / "report.html") in write_report(report, tmp_path).files


def test_without_ids_or_folds_there_are_no_hardest_pairs_and_no_calibration() -> None:
    bare = Report("x", "x", {"best_threshold": 0.5}, {"genuine": np.array([1.0, 2.0]), "impostor": np.array([0.0, 1.5])})
    assert set(completed(bare).metrics) == {"best_threshold", "roc_band"}
    assert completed(Report("x", "x", {"rank": 1})).metrics == {"rank": 1}


def test_all_scores_equal_are_reported_without_a_calibration(tmp_path: Path) -> None:
    same = np.tile([True, False], 40)
    report = verification(np.full(80, 0.5, np.float32), same, np.repeat([0, 1], 40)).to_report()
    written = write_report(report, tmp_path)
    assert "calibration.json" not in [path.name for path in written.files]
    assert "At FAR 10 % use 0.5001: accepted none of 40 impostors, rejects 100.0 % of genuines." in written.files[1].read_text(
        "utf-8"
    )


@pytest.mark.parametrize("identities", [True, False])
def test_the_band_holds_the_curve_and_is_that_of_tar_at_far(identities: bool) -> None:
    pairs = from_series(scored(identities).series)
    assert pairs is not None
    band = roc_band(pairs)
    assert band["method"] == f"pointwise, {'bootstrap by identity (1000 resamples); Wilson' if identities else 'Wilson'}"
    genuine, impostor = pairs.of_kind("genuine"), pairs.of_kind("impostor")
    codes = (pairs.identities[pairs.same], pairs.identities[~pairs.same]) if pairs.identities is not None else ()
    place = band["far"].index(0.1)
    (row,) = tar_at_far(genuine, impostor, [0.1], *codes)
    assert (band["tar"][place], band["low"][place], band["high"][place]) == (row.tar, row.interval.low, row.interval.high)
    assert band["far"][0] == 1 / len(impostor)
    assert band["far"][-1] == band["tar"][-1] == 1
    assert (np.diff(band["low"]) >= 0).all()
    assert (np.diff(band["high"]) >= 0).all()


def test_series_round_trip_in_every_form() -> None:
    pairs = from_series(scored().series)
    assert pairs is not None
    again = from_series(pairs.series())
    assert again is not None
    for name in ("scores", "same", "folds", "identities", "rows", "names"):
        np.testing.assert_array_equal(getattr(again, name), getattr(pairs, name))
    written_out = {"genuine": [0.9], "impostor": [0.1], "genuine_ids": [["b", "a"]], "impostor_ids": [["a", "c"]]}
    named = from_series(written_out)
    assert named is not None
    assert (named.ids(0), named.ids(1)) == (("b", "a"), ("a", "c"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"genuine_folds": None}, "both genuine_folds and impostor_folds; got only impostor_folds"),
        (
            {"impostor_identities": np.zeros((3, 2), int)},
            r"impostor_identities must have one row .* 200 scores; got shape \(3, 2\)",
        ),
        ({"ids": np.array(["a"])}, "places in the series 'ids', 0 to 0; got"),
        ({"genuine": np.array([np.nan])}, "genuine scores must be finite"),
    ],
)
def test_series_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    series = {name: array for name, array in {**scored().series, **changes}.items() if array is not None}
    with pytest.raises(InputError, match=message):
        from_series(series)
