"""Each family of protocols on small lists of its own form, with counts known by hand: none of them is a renamed k-fold."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from orthodrome.evaluation import PROTOCOLS, compare_runs, tar_at_far, wilson, write_report
from orthodrome.evaluation.outcome import Result
from orthodrome.evaluation.pairs import read_pairs
from orthodrome.evaluation.protocols.blufr import draw_trials, read_blufr
from orthodrome.evaluation.protocols.megaface import refined
from orthodrome.evaluation.protocols.verification import verify_in_order
from orthodrome.evaluation.sections import section
from orthodrome.types import EmbeddingSet, InputError, Report


def angle(degrees: float) -> list[float]:
    return [float(np.cos(np.radians(degrees))), float(np.sin(np.radians(degrees)))]


def embedded(angles: dict[str, float]) -> EmbeddingSet:
    vectors = np.array([angle(degrees) for degrees in angles.values()], dtype=np.float32)
    return EmbeddingSet(vectors, np.full(len(angles), -1), tuple(angles))


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.txt").write_text(text)
    return folder


def run(name: str, lists: Path, embeddings: EmbeddingSet, **options: str) -> Result:
    protocol = PROTOCOLS.get(name)
    return protocol.run(embeddings, protocol.read(lists), options)


# ------------------------------------------------------------------------------------------------------------ YTF

YTF = "split number, pair number, first name, second name, is same\n" + "".join(
    f"{fold}, {fold}, A/0, A/1, 1\n{fold}, {fold + 2}, A/0, B/0, 0\n" for fold in (1, 2)
)


def test_ytf_both_ways_of_comparing_videos(tmp_path: Path) -> None:
    """A/0 has frames at −60° and 60°: their mean points to 0°, where A/1 lies (score 1), but each frame is 60° off (mean score 0.5).
    B/0 at 60° has mean score (cos 0° + cos 120°)/2 = 0.25 with A/0, and cos 60° = 0.5 with its mean.
    """
    (tmp_path / "splits.txt").write_text(YTF)
    frames = embedded({"A/0/0.1.jpg": -60, "A/0/0.2.jpg": 60, "A/1/1.1.jpg": 0, "B/0/0.1.jpg": 60})
    report = run("ytf", tmp_path / "splits.txt", frames).to_report()
    averaged, pairwise = report.metrics, report.metrics["variants"]["mean of pairwise scores"]
    assert "features averaged" in report.title
    assert report.metrics["video_counts"] == {"videos": 3, "frames": 4}
    assert [fold["threshold"] for fold in averaged["folds"]] == pytest.approx([0.75, 0.75], abs=1e-6)  # halfway between 0.5 and 1
    assert [fold["threshold"] for fold in pairwise["folds"]] == pytest.approx([0.375, 0.375], abs=1e-6)  # between 0.25 and 0.5
    assert averaged["accuracy"]["mean"] == pairwise["accuracy"]["mean"] == 1.0
    assert averaged["counts"] == {"genuine": 2, "impostor": 2}


def test_ytf_frames_on_disk_and_what_is_missing(tmp_path: Path) -> None:
    protocol = PROTOCOLS.get("ytf")
    (tmp_path / "splits.txt").write_text(YTF)
    pairs = protocol.read(tmp_path / "splits.txt")
    for frame in ("A/0/0.1.jpg", "A/0/0.2.jpg", "A/1/1.1.png", "B/0/notes.txt"):
        (tmp_path / frame).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / frame).touch()
    with pytest.raises(InputError, match=r"splits.txt:3: no frames in .*B/0"):
        protocol.images(pairs, tmp_path)
    (tmp_path / "B/0/0.1.jpg").touch()
    assert sorted(protocol.images(pairs, tmp_path)) == ["A/0/0.1", "A/0/0.2", "A/1/1.1", "B/0/0.1"]
    with pytest.raises(InputError, match=r"splits.txt:2: no embedding is of a frame of 'A/1'"):
        protocol.run(embedded({"A/0/0.1": 0}), pairs)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1, 1, A/0, A/1", "expected 'split, pair"),
        ("x, 1, A/0, A/1, 1", "expected 'split, pair"),
        ("1, 1, A/0, A/1, 0", "marked 0 but names 'A' and 'A'"),
    ],
)
def test_ytf_malformed(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "splits.txt").write_text(f"header\n{line}\n")
    with pytest.raises(InputError, match=f"splits.txt:2: .*{message}"):
        PROTOCOLS.get("ytf").read(tmp_path / "splits.txt")


# ------------------------------------------------------------------------------------------------------------ identification

SEARCH = {
    "probes": "p/one.jpg ann\np/two.jpg ann\np/three.jpg bob\np/far.jpg zoe\n",
    "gallery": "g/ann.jpg ann\ng/bob.jpg bob\n",
    "distractors": "".join(f"d/{number}.jpg\n" for number in range(12)),
}
SEARCH_ANGLES = {
    "p/one": 1, "p/two": 30, "p/three": 89, "p/far": 45, "g/ann": 0, "g/bob": 90, **{f"d/{n}": 180.0 for n in range(10)}, "d/10": 29,
    "d/11": 200,
}  # fmt: skip


def test_identification_with_distractors_by_hand(tmp_path: Path) -> None:
    """``two`` is 30° from ann and 1° from the eleventh distractor: rank 1 among ten distractors, rank 2 among all twelve."""
    metrics = run("identification", write(tmp_path, **SEARCH), embedded(SEARCH_ANGLES)).to_report().metrics
    assert [(row["rank"], row["hits"], row["searches"]) for row in metrics["cmc"]] == [(1, 2, 3), (5, 3, 3), (10, 3, 3)]
    assert [(row["distractors"], row["hits"], row["searches"]) for row in metrics["rank_by_distractors"]] == [
        (10, 3, 3),
        (12, 2, 3),
    ]
    assert metrics["search_counts"] == {"mated": 3, "non_mated": 1, "gallery": 14}
    assert metrics["open_set"] == []  # one non-mated search resolves neither 0.01 nor 0.1, and that is said
    assert metrics["unresolved"] == (
        "rank 20: more gallery images are needed than 14; FPIR 1 %, 10 %: more non-mated searches are needed than 1"
    )


def test_identification_failures_to_enrol(tmp_path: Path) -> None:
    """A probe that failed, and a person whose only gallery image failed: two more mated searches that found nobody."""
    lists = write(tmp_path, **SEARCH, failures="p/one.jpg\ng/bob.jpg\n")
    angles = {key: value for key, value in SEARCH_ANGLES.items() if key not in ("p/one", "g/bob")}
    metrics = run("identification", lists, embedded(angles)).to_report().metrics
    assert metrics["failures_to_enrol"] == 2
    assert (metrics["cmc"][0]["hits"], metrics["cmc"][0]["searches"]) == (0, 3)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("probes", "p/one.jpg\n", r"probes.txt:1: expected 'path person'"),
        ("gallery", "g/ann.jpg ann\ng/ann.png ann\n", r"gallery.txt:2: the image 'g/ann' is listed twice"),
        (
            "gallery",
            "g/ann.jpg ann\np/two.jpg ann\n",
            r"gallery.txt:2: the image 'p/two' is listed twice, first in .*probes.txt:2",
        ),
        (
            "distractors",
            "d/0.jpg\ng/bob.png\n",
            r"distractors.txt:2: the image 'g/bob' is listed twice, first in .*gallery.txt:2",
        ),
        ("distractors", "p/far.jpg\n", r"distractors.txt:1: the image 'p/far' is listed twice, first in .*probes.txt:4"),
        ("failures", "p/none.jpg\n", r"failures.txt:1: 'p/none' is in none of the lists"),
    ],
)
def test_search_lists_malformed(tmp_path: Path, file: str, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        PROTOCOLS.get("identification").read(write(tmp_path, **(SEARCH | {file: text})))


def test_an_unknown_id_is_an_error_not_row_0(tmp_path: Path) -> None:
    angles = {key: value for key, value in SEARCH_ANGLES.items() if key != "g/bob"}
    with pytest.raises(InputError, match=r"gallery.txt:2: no embedding has the id 'g/bob'"):
        run("identification", write(tmp_path, **SEARCH), embedded(angles))


def test_trillion_pairs_counts_all_probes_against_all_gallery(tmp_path: Path) -> None:
    """4 probes × 14 gallery images: 3 genuine, 53 impostor; the lowest FAR they resolve is 0.1, five impostors."""
    report = run("trillion-pairs", write(tmp_path, **SEARCH), embedded(SEARCH_ANGLES)).to_report()
    assert report.metrics["counts"] == {"genuine": 3, "impostor": 53}
    row = report.metrics["tar_at_far"][0]
    assert (row["far"], row["impostor"], row["genuine"]) == (0.1, 53, 3)
    assert row["accepted_impostor"] <= 5
    assert "FAR 1e−9: more impostor comparisons are needed than 53" in report.notes[-1]


def test_trillion_pairs_tells_of_its_progress(tmp_path: Path) -> None:
    """Of the searches and of all comparisons, each to its end; a protocol that is over at once tells nothing."""
    lists, told = write(tmp_path, **SEARCH), []
    for name in ("trillion-pairs", "identification"):
        protocol = PROTOCOLS.get(name)
        protocol.run(
            embedded(SEARCH_ANGLES), protocol.read(lists), progress=lambda *counts, name=name: told.append((name, *counts))
        )
    assert {name for name, _, _ in told} == {"trillion-pairs"}
    ends = {total for _, done, total in told if done == total}
    assert ends == {3 * 14, 1 * 14, 3 * 12, 4 * 14}  # mated, non-mated, among distractors, and all


def test_trillion_pairs_counts_failures_to_enrol_as_non_matches(tmp_path: Path) -> None:
    lists = {**SEARCH, "failures": "p/two.jpg\n"}
    report = run("trillion-pairs", write(tmp_path, **lists), embedded(SEARCH_ANGLES)).to_report()
    row = report.metrics["tar_at_far"][0]
    assert (report.metrics["counts"]["genuine"], row["genuine"]) == (3, 3)
    assert row["tar"] == row["accepted_genuine"] / 3 <= 2 / 3


def test_failures_of_strangers_and_distractors_count_and_are_shown(tmp_path: Path) -> None:
    """Ten strangers at 45°, one of whom failed, so that FPIR 0.1 may accept one of ten; one distractor failed too."""
    strangers = [f"s/{number}" for number in range(10)]
    probes = SEARCH["probes"] + "".join(f"{image}.jpg who{number}\n" for number, image in enumerate(strangers[:9]))
    lists = {**SEARCH, "probes": probes, "failures": "p/far.jpg\nd/3.jpg\n"}
    angles = {name: degrees for name, degrees in SEARCH_ANGLES.items() if name not in ("p/far", "d/3")}
    result = run("identification", write(tmp_path, **lists), embedded(angles | dict.fromkeys(strangers[:9], 45.0)))
    metrics = result.to_report().metrics
    assert metrics["search_counts"] == {"mated": 3, "non_mated": 10, "gallery": 13}
    assert (metrics["open_set"][0]["fpir"], metrics["open_set"][0]["non_mated"]) == (0.1, 10)
    assert metrics["failures_to_enrol"] == 1
    assert metrics["failed_images"] == {
        "probes": {"failed": 1, "listed": 13},
        "gallery": {"failed": 0, "listed": 2},
        "distractors": {"failed": 1, "listed": 12},
    }
    assert "images that failed: 1 / 13 probes, 0 / 2 gallery, 1 / 12 distractors" in result.summary()


def test_trillion_pairs_keeps_the_comparisons_of_a_probe_whose_gallery_image_failed(tmp_path: Path) -> None:
    """bob's only gallery image failed: his probe is still compared with the other 13 images, and so are the three others."""
    lists = {**SEARCH, "failures": "g/bob.jpg\n"}
    report = run("trillion-pairs", write(tmp_path, **lists), embedded(SEARCH_ANGLES)).to_report()
    assert report.metrics["counts"] == {"genuine": 3, "impostor": 4 * 13 - 2}
    assert (report.metrics["tar_at_far"][0]["impostor"], report.metrics["tar_at_far"][0]["genuine"]) == (50, 3)
    assert (report.metrics["search_counts"]["mated"], report.metrics["failures_to_enrol"]) == (3, 1)


def test_tinyface_from_its_own_files_and_folders(tmp_path: Path) -> None:
    savemat = pytest.importorskip("scipy.io").savemat
    root = tmp_path / "Testing_Set"
    (root / "Gallery_Distractor").mkdir(parents=True)
    for number in range(12):
        (root / "Gallery_Distractor" / f"d{number}.jpg").touch()
    cells = {"probe": ["p1.jpg", "p2.jpg"], "gallery": ["g1.jpg", "g2.jpg", "g3.jpg"]}
    as_cells = {side: np.array([[np.array([name])] for name in names], dtype=object) for side, names in cells.items()}
    savemat(root / "probe_img_ID_pairs.mat", {"probe_set": as_cells["probe"], "probe_ids": np.array([[5], [6]])})
    savemat(
        root / "gallery_match_img_ID_pairs.mat", {"gallery_set": as_cells["gallery"], "gallery_ids": np.array([[5], [6], [6]])}
    )
    angles = {"Probe/p1": 0, "Probe/p2": 90, "Gallery_Match/g1": 10, "Gallery_Match/g2": 60, "Gallery_Match/g3": 200}
    angles |= {f"Gallery_Distractor/d{number}": 300 - number for number in range(11)} | {"Gallery_Distractor/d11": 80}
    metrics = run("tinyface", tmp_path, embedded(angles)).to_report().metrics
    assert [(row["rank"], row["hits"]) for row in metrics["cmc"]] == [
        (1, 1),
        (5, 2),
    ]  # p2: the distractor at 80° is nearer than 60°
    assert metrics["variants"]["without distractors"]["cmc"][0]["hits"] == 2
    assert "repeated_images" not in metrics
    twice = np.concatenate([as_cells["probe"], as_cells["probe"][1:]])
    savemat(root / "probe_img_ID_pairs.mat", {"probe_set": twice, "probe_ids": np.array([[5], [6], [6]])})
    result = run("tinyface", tmp_path, embedded(angles))
    assert result.to_report().metrics["cmc"][0]["searches"] == 3
    assert "Images that are listed more than once count as often: 1 such, the first 'Probe/p2'." in result.summary()
    protocol = PROTOCOLS.get("tinyface")
    (root / "probe_img_ID_pairs.mat").write_bytes(b"not a mat file")
    with pytest.raises(InputError, match="cannot be read as a MATLAB file"):
        protocol.read(tmp_path)


# ------------------------------------------------------------------------------------------------------------ MegaFace

DISTRACTORS = [f"megaface/a/b/{number}.jpg" for number in range(12)]


@pytest.fixture
def megaface(tmp_path: Path) -> Path:
    """Three images of A, two of B; twelve distractors; one noisy probe (a2, in truth far from A) and one noisy distractor (11)."""
    paths = ["A/a0.png", "A/a1.png", "A/a2.png", "B/b0.png", "B/b1.png"]
    (tmp_path / "facescrub_features_list.json").write_text(json.dumps({"id": list("AAABB"), "path": paths}))
    (tmp_path / "megaface_features_list.json_10_1").write_text(json.dumps({"path": ["only/ten/here.jpg"]}))
    (tmp_path / "megaface_features_list.json_12_1").write_text(
        json.dumps({"path": [p.removeprefix("megaface/") for p in DISTRACTORS]})
    )
    (tmp_path / "facescrub_noises.txt").write_text("# noisy images\na2.png\nnot_listed.png\n")
    (tmp_path / "megaface_noises.txt").write_text("# noisy images\n1\ta/b/11.jpg\n")
    return tmp_path


MEGAFACE_ANGLES = {
    "facescrub/A/a0.png": 0, "facescrub/A/a1.png": 4, "facescrub/A/a2.png": 150, "facescrub/B/b0.png": 90, "facescrub/B/b1.png": 93,
    **dict.fromkeys(DISTRACTORS[:10], 230.0), DISTRACTORS[10]: 270.0, DISTRACTORS[11]: 2.0,
}  # fmt: skip


def test_megaface_by_hand(megaface: Path) -> None:
    """Searches: 6 ordered pairs of A, 2 of B. Raw, ten distractors at 230°: a2 (150°) is 80° from them, and 150° and 146° from its mates:
    two misses; a0 and a1 searching for a2 lose too (a0: 150° against 130°; a1: 146° against 134°): 4 hits. The twelfth distractor, at 2°,
    ties with nobody but is nearer to a0 and a1 than they are to each other: 2 hits.
    """
    report = run("megaface", megaface, embedded(MEGAFACE_ANGLES)).to_report()
    variants = report.metrics["variants"]
    sweep = {
        name: [(row["distractors"], row["hits"], row["searches"]) for row in found["rank_by_distractors"]]
        for name, found in variants.items()
    }
    assert sweep["raw"] == [(10, 4, 8), (12, 2, 8)]
    assert sweep["dropped"] == [(10, 4, 4), (11, 4, 4)]  # a2 and distractor 11 left out: 2 + 2 searches
    assert sweep["insightface-refined"] == [(10, 8, 8), (11, 8, 8)]  # a2 becomes the mean of a0 and a1
    assert variants["raw"]["counts"] == {"genuine": 4, "impostor": 60}
    assert variants["dropped"]["counts"] == {"genuine": 2, "impostor": 44}
    assert variants["raw"]["tar_at_far"][0]["far"] == 0.1
    assert "raw: FAR 1e−6: more impostor comparisons are needed than 60." in report.notes


def test_megaface_without_lists_of_noise_is_raw_only(megaface: Path) -> None:
    for name in ("facescrub_noises.txt", "megaface_noises.txt"):
        (megaface / name).unlink()
    assert list(run("megaface", megaface, embedded(MEGAFACE_ANGLES)).to_report().metrics["variants"]) == ["raw"]


def test_megaface_tells_how_much_its_lists_of_noise_name(megaface: Path) -> None:
    notes = run("megaface", megaface, embedded(MEGAFACE_ANGLES)).to_report().notes
    assert "facescrub_noises.txt: 1 of 2 lines name a listed image; 1 of 5 images are noisy." in notes
    assert "megaface_noises.txt: 1 of 1 lines name a listed image; 1 of 12 images are noisy." in notes


@pytest.mark.parametrize("name", ["facescrub_noises.txt", "megaface_noises.txt"])
def test_megaface_refuses_a_list_of_noise_that_names_nothing(megaface: Path, name: str) -> None:
    (megaface / name).write_text("# noise\nother/form/x.png\n7\tother/form/y.png\n")
    with pytest.raises(InputError, match=rf"{name}: none of its 2 lines names one of the .* line 2 holds 'other/form/x.png'"):
        PROTOCOLS.get("megaface").read(megaface)


def test_megaface_takes_no_noisy_file_name_for_one_of_two(megaface: Path) -> None:
    paths = ["A/a0.png", "A/a1.png", "A/0.png", "B/0.png", "B/b1.png"]
    (megaface / "facescrub_features_list.json").write_text(json.dumps({"id": list("AAABB"), "path": paths}))
    (megaface / "facescrub_noises.txt").write_text("a1.png\n0.png\n")
    with pytest.raises(
        InputError, match=r"facescrub_noises.txt:2: '0.png' names 'facescrub/A/0' and 'facescrub/B/0'; write it with"
    ):
        PROTOCOLS.get("megaface").read(megaface)
    (megaface / "facescrub_noises.txt").write_text("a1.png\nB/0.png\n")
    assert PROTOCOLS.get("megaface").read(megaface).noise[0].ids == {"facescrub/A/a1", "facescrub/B/0"}


def test_megaface_tie_with_a_distractor_is_a_miss(megaface: Path) -> None:
    angles = MEGAFACE_ANGLES | {DISTRACTORS[0]: 93.0}  # the very place of b1: b0 finds both alike, b1 finds it before b0
    metrics = run("megaface", megaface, embedded(angles)).to_report().metrics["variants"]["dropped"]
    assert metrics["rank_by_distractors"][0]["hits"] == 2


def test_refined_centre_is_the_sum_of_clean_unit_vectors() -> None:
    vectors = np.array([[2, 0], [0, 5], [-1, -1]], dtype=np.float32)
    assert refined(vectors, np.zeros(3, int), np.array([True, True, False]))[2].tolist() == [1, 1]
    with pytest.raises(InputError, match="no probe of its person is clean"):
        refined(vectors, np.array([0, 0, 1]), np.array([True, True, False]))


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("facescrub_features_list.json", "{}", 'expected {"path"'),
        ("facescrub_features_list.json", "nonsense", "cannot be read as a list of features"),
        ("facescrub_features_list.json", '{"path": ["A/a.png"], "id": ["A", "B"]}', "1 paths but 2 ids"),
    ],
)
def test_megaface_malformed(megaface: Path, file: str, text: str, message: str) -> None:
    (megaface / file).write_text(text)
    with pytest.raises(InputError, match=message):
        PROTOCOLS.get("megaface").read(megaface)


# ------------------------------------------------------------------------------------------------------------ IJB


@pytest.fixture
def ijbc(tmp_path: Path) -> Path:
    """Six faces in five templates; template 1 has two frames of media 10 and one image of media 11."""
    faces = [
        ("1.jpg", 1, 10),
        ("2.jpg", 1, 10),
        ("3.jpg", 1, 11),
        ("4.jpg", 2, 12),
        ("5.jpg", 3, 13),
        ("6.jpg", 4, 14),
        ("7.jpg", 5, 15),
    ]
    (tmp_path / "ijbc_face_tid_mid.txt").write_text("".join(f"{n} {t} {m}\n" for n, t, m in faces))
    pairs = [
        (1, 2, 1),
        (3, 4, 1),
        *[(a, b, 0) for a, b in [(1, 3), (1, 4), (1, 5), (2, 3), (2, 4), (2, 5), (3, 5), (4, 5), (5, 1), (5, 2)]],
    ]
    (tmp_path / "ijbc_template_pair_label.txt").write_text("".join(f"{a} {b} {s}\n" for a, b, s in pairs))
    (tmp_path / "ijbc_name_5pts_score.txt").write_text(
        "".join(f"{n} {' '.join('0' * 10)} {0.9 if n != '3.jpg' else 0.3}\n" for n, _, _ in faces)
    )
    header = "TEMPLATE_ID,SUBJECT_ID,FILENAME\n"
    (tmp_path / "ijbc_1N_gallery_G1.csv").write_text(header + "1,100,img/1.jpg\n1,100,img/2.jpg\n3,300,img/5.jpg\n")
    (tmp_path / "ijbc_1N_gallery_G2.csv").write_text(header + "5,500,img/7.jpg\n")
    (tmp_path / "ijbc_1N_probe_mixed.csv").write_text(header + "2,100,img/4.jpg\n4,300,img/6.jpg\n")
    return tmp_path


FACES = {"loose_crop/1.jpg": 0.0, "2.jpg": 20.0, "3.jpg": 50.0, "4.jpg": 30.0, "5.jpg": 120.0, "6.jpg": 125.0, "7.jpg": 200.0}


def test_ijb_verification_by_hand(ijbc: Path) -> None:
    """Template 1: media mean of 0° and 20° lies at 10° with length cos 10°; plus the image at 50°."""
    report = run("ijbc", ijbc, embedded(FACES)).to_report()
    mean = np.cos(np.radians(10)) * np.array(angle(10)) + np.array(angle(50))
    expected = float(mean / np.linalg.norm(mean) @ angle(30))
    assert report.series["genuine"].tolist() == pytest.approx([expected, np.cos(np.radians(5))], abs=1e-6)
    assert report.metrics["counts"] == {"genuine": 2, "impostor": 10}
    assert [(row["far"], row["accepted_genuine"]) for row in report.metrics["tar_at_far"]] == [(0.1, 2)]
    left_out = "FAR 1e−6, 1e−5, 1e−4, 0.1 %, 1 %: more impostor comparisons are needed than 10"
    assert report.metrics["unresolved"] == left_out
    assert f"{left_out}." in report.notes


def test_ijb_weighting_by_detector_score(ijbc: Path) -> None:
    report = run("ijbc", ijbc, embedded(FACES), weighting="detector").to_report()
    mean = 0.9 * np.cos(np.radians(10)) * np.array(angle(10)) + 0.3 * np.array(angle(50))
    assert report.series["genuine"][0] == pytest.approx(float(mean / np.linalg.norm(mean) @ angle(30)), abs=1e-6)


def test_ijb_norm_weighting_uses_raw_lengths(ijbc: Path) -> None:
    faces = embedded(FACES)
    faces.vectors[2] *= 3
    raw, equal = (run("ijbc", ijbc, faces, weighting=name).to_report().series["genuine"][0] for name in ("norm", "equal"))
    mean = np.cos(np.radians(10)) * np.array(angle(10)) + 3 * np.array(angle(50))
    assert raw == pytest.approx(float(mean / np.linalg.norm(mean) @ angle(30)), abs=1e-6)
    assert raw != equal


def test_galleries_are_searched_apart_and_never_merged(ijbc: Path) -> None:
    """Both probes are mated in G1 and nobody's in G2: G2 has no mated search, which merging the galleries would hide."""
    with pytest.raises(InputError, match="no probe has its person in the gallery"):
        run("ijbc-1n", ijbc, embedded(FACES))
    extra = "8.jpg 6 16\n"
    (ijbc / "ijbc_face_tid_mid.txt").write_text((ijbc / "ijbc_face_tid_mid.txt").read_text() + extra)
    (ijbc / "ijbc_name_5pts_score.txt").unlink()
    (ijbc / "ijbc_1N_probe_mixed.csv").write_text("T,S\n2,100\n4,300\n6,500\n")
    # the probe of 500 lies at 122°, where G1 holds 300 at 120°: merged, it would miss; in its own gallery it is first
    report = run("ijbc-1n", ijbc, embedded(FACES | {"8.jpg": 122.0})).to_report()
    counts = {
        name: (v["cmc"][0]["hits"], v["cmc"][0]["searches"], v["search_counts"]["non_mated"])
        for name, v in report.metrics["variants"].items()
    }
    assert counts == {"G1": (2, 2, 1), "G2": (1, 1, 2)}
    assert report.notes[-2:] == (
        "G1: rank 5, 10: more gallery images are needed than 2; FPIR 1 %, 10 %: more non-mated searches are needed than 1.",
        "G2: rank 5, 10: more gallery images are needed than 1; FPIR 1 %, 10 %: more non-mated searches are needed than 2.",
    )
    mean = report.metrics["mean_over_galleries"][0]
    assert (mean["name"], mean["mean"], mean["galleries"]) == ("rank 1", 1.0, [1.0, 1.0])
    below = [1 - wilson(count, count).low for count in (2, 1)]
    assert mean["interval"]["low"] == pytest.approx(1 - np.hypot(*below) / 2)
    assert mean["interval"]["high"] == 1.0


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("ijbc_template_pair_label.txt", "1 99 0\n", r"template 99 has no face in .*ijbc_face_tid_mid.txt"),
        ("ijbc_template_pair_label.txt", "1 2 3\n", r":1: the label must be 1 \(same\) or 0; got 3"),
        ("ijbc_template_pair_label.txt", "1 2\n", ":1: expected 3 numbers"),
        ("ijbc_face_tid_mid.txt", "1.jpg 1\n", ":1: expected 'name template media'"),
        ("ijbc_name_5pts_score.txt", "1.jpg 0 0 0.9\n", ":1: expected 'name', ten coordinates and a score"),
        (
            "ijbc_name_5pts_score.txt",
            f"1.jpg {'0 ' * 10}nan\n",
            ":1: the detector's score must be a finite number; got 'nan' of '1.jpg'",
        ),
        ("ijbc_name_5pts_score.txt", f"1.jpg {'0 ' * 10}0.9\n", "no score of the face '2'"),
    ],
)
def test_ijb_malformed(ijbc: Path, file: str, text: str, message: str) -> None:
    (ijbc / file).write_text(text)
    with pytest.raises(InputError, match=message):
        PROTOCOLS.get("ijbc").read(ijbc)


@pytest.mark.parametrize(("protocol", "face", "template"), [("ijbc", 4, 2), ("ijbc-1n", 4, 2), ("ijbc-1n", 5, 3)])
def test_ijb_names_a_template_whose_faces_weigh_nothing(ijbc: Path, protocol: str, face: int, template: int) -> None:
    """Face 4 alone makes the probe 2, face 5 alone the gallery's template 3."""
    scores = (f"{n}.jpg {'0 ' * 10}{0 if n == face else 0.9}\n" for n in range(1, 8))
    (ijbc / "ijbc_name_5pts_score.txt").write_text("".join(scores))
    with pytest.raises(InputError, match=rf"\('template {template}'\) is zero"):
        run(protocol, ijbc, embedded(FACES), weighting="detector")


def test_ijb_tells_of_pairs_that_are_listed_twice(ijbc: Path) -> None:
    """The list names 1 5 and 2 5 again as 5 1 and 5 2."""
    assert PROTOCOLS.get("ijbc").read(ijbc).repeated() == ((5, 11), (8, 12))
    report = run("ijbc", ijbc, embedded(FACES)).to_report()
    assert report.metrics["repeated_pairs"].startswith(
        "2 pairs are listed again and count again, the first of them in lines 5 and 11 of"
    )


def test_ijb_pairs_of_one_kind_are_refused_by_name(ijbc: Path) -> None:
    (ijbc / "ijbc_template_pair_label.txt").write_text("1 2 1\n3 4 1\n")
    with pytest.raises(InputError, match=r"ijbc_template_pair_label.txt: all 2 pairs are of the same person"):
        run("ijbc", ijbc, embedded(FACES))


def test_ijb_unknown_template_of_a_gallery_is_an_error(ijbc: Path) -> None:
    (ijbc / "ijbc_1N_gallery_G1.csv").write_text("T,S\n1,100\n77,300\n")
    with pytest.raises(InputError, match="template 77 has no face"):
        PROTOCOLS.get("ijbc-1n").read(ijbc)
    (ijbc / "ijbc_1N_gallery_G1.csv").write_text("T,S\n1,100\n1,300\n")
    with pytest.raises(InputError, match="template 1 has two subjects, 100 and 300"):
        PROTOCOLS.get("ijbc-1n").read(ijbc)


# ------------------------------------------------------------------------------------------------------------ BLUFR


def test_blufr_style_trials_have_the_shape() -> None:
    labels = np.repeat(np.arange(60), np.tile([1, 2, 4], 20))
    trials = draw_trials(labels)
    assert len(trials) == 10
    for trial in trials:
        assert len(np.unique(labels[trial.test])) == 60 - round(60 * 1500 / 5749)
        assert len(np.unique(labels[trial.gallery])) == len(trial.gallery) == round(60 * 1000 / 5749)
        assert np.isin(labels[trial.gallery], labels[trial.probes]).all()  # everybody enrolled searches at least once
        np.testing.assert_array_equal(np.sort(np.concatenate([trial.gallery, trial.probes])), trial.test)
    assert all(np.array_equal(a.test, b.test) for a, b in zip(trials, draw_trials(labels), strict=True))


def test_blufr_official_file_by_hand(tmp_path: Path) -> None:
    """Two trials over 110 images: one person with a gallery image at 0° and two probes, and 106 strangers or more around 180°."""
    savemat = pytest.importorskip("scipy.io").savemat
    names = [*(f"Ann_Lee_{n:04d}.jpg" for n in (1, 2, 3)), *(f"Stranger{n}_0001.jpg" for n in range(107))]
    labels = np.array([1, 1, 1, *range(2, 109)])
    cells = np.array([[np.array([name])] for name in names], dtype=object)

    def indices(*parts: list[int]) -> np.ndarray:
        cell = np.empty((2, 1), dtype=object)
        for row, part in enumerate(parts):
            cell[row, 0] = np.array(part)[:, None]
        return cell

    everybody = list(range(1, 111))
    content = {
        "imageList": cells,
        "labels": labels[:, None],
        "testIndex": indices(everybody, everybody),
        "galIndex": indices([1], [2]),
        "probIndex": indices(everybody[1:], [1, *everybody[2:]]),
    }
    savemat(tmp_path / "blufr_lfw_config.mat", content)
    angles = {f"{name[:-9]}/{name[:-4]}": 180.0 + n / 10 for n, name in enumerate(names)}
    angles |= {"Ann_Lee/Ann_Lee_0001": 0.0, "Ann_Lee/Ann_Lee_0002": 5.0, "Ann_Lee/Ann_Lee_0003": 185.0}
    report = run("blufr", tmp_path, embedded(angles)).to_report()
    assert report.title.startswith("BLUFR, 2 trials")
    first = report.metrics["each_trial"][0]
    assert (first["genuine"], first["impostor"], first["mated"], first["non_mated"]) == (3, 110 * 109 // 2 - 3, 2, 107)
    assert first["identified"] == 1  # the probe at 5°; the one at 185° is as far as the strangers
    rate = report.metrics["trials"][1]
    assert (rate["name"], rate["mean"], rate["deviation"]) == ("DIR@FAR=1%", 0.5, 0.0)
    assert "μ − σ" in run("blufr", tmp_path, embedded(angles)).summary()
    content |= {"testIndex": indices(everybody[1:], everybody[1:]), "galIndex": indices([1], [1])}
    savemat(tmp_path / "blufr_lfw_config.mat", content)
    with pytest.raises(InputError, match="no embedding has the id 'Ann_Lee/Ann_Lee_0001'"):
        run("blufr", tmp_path, embedded({name: angle for name, angle in angles.items() if name != "Ann_Lee/Ann_Lee_0001"}))
    content |= {"testIndex": indices(everybody, everybody)}
    content["galIndex"] = indices([1], [999])
    savemat(tmp_path / "blufr_lfw_config.mat", content)
    with pytest.raises(InputError, match=r"an index of a trial is not in 1 … 110"):
        read_blufr(tmp_path)


def test_blufr_style_is_named_so(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    ids = [f"p{person}/p{person}_{number:04d}" for person in range(150) for number in range(1, 4)]
    (tmp_path / "images.txt").write_text("\n".join(ids))
    labels = np.repeat(np.arange(150), 3)
    vectors = (random.normal(size=(150, 16))[labels] + 0.5 * random.normal(size=(450, 16))).astype(np.float32)
    report = run("blufr", tmp_path / "images.txt", EmbeddingSet(vectors, labels, tuple(ids))).to_report()
    assert report.title == "BLUFR-style, 10 trials"
    values = report.metrics["trials"][0]
    assert values["deviation"] == pytest.approx(np.std(values["values"], ddof=1))


# ------------------------------------------------------------------------------------------------------------ fairness


@pytest.fixture
def grouped(tmp_path: Path) -> Path:
    lines = ["1\t12", *(f"p{n}\t1\t2" for n in range(12)), *(f"p{n}\t1\tp{(n + 2) % 12}\t2" for n in range(12))]
    groups = "".join(f"p{n} {'odd' if n % 2 else 'even'}\n" for n in range(12))
    return write(tmp_path, pairs="\n".join(lines), groups=groups)


GROUPED = {f"p{n}/p{n}_{i:04d}": 30.0 * n + i for n in range(12) for i in (1, 2)} | {
    "p1/p1_0002": 120.0
}  # far from its first image


def test_fairness_lists(grouped: Path) -> None:
    metrics = run("fairness", grouped, embedded(GROUPED)).to_report().metrics
    rows = {row["group"]: row for row in metrics["fairness"]["groups"]}
    assert (rows["odd"]["genuine"], rows["odd"]["impostor"], rows["even"]["genuine"]) == (6, 6, 6)
    assert (rows["odd"]["rejected_genuine"], rows["even"]["rejected_genuine"]) == (1, 0)
    groups = (grouped / "groups.txt").read_text()
    (grouped / "groups.txt").write_text(groups.replace("p3 odd\n", ""))
    with pytest.raises(InputError, match=r"pairs.txt:5: 'p3' has no group"):
        PROTOCOLS.get("fairness").read(grouped)
    (grouped / "groups.txt").write_text(groups + "p3 even\n")
    with pytest.raises(InputError, match=r"groups.txt:13: 'p3' is in two groups, 'odd' and 'even'"):
        PROTOCOLS.get("fairness").read(grouped)


def test_the_tar_behind_fairness_has_an_interval_by_identity(grouped: Path) -> None:
    """The list names the people: the same interval as that of any list of pairs."""
    report = run("fairness", grouped, embedded(GROUPED)).to_report()
    (row,), series = report.metrics["tar_at_far"], report.series
    parts = [series[f"{kind}{what}"] for what in ("", "_identities") for kind in ("genuine", "impostor")]
    expected = tar_at_far(*parts[:2], [0.1], *parts[2:])[0]
    assert row["interval"] == asdict(expected.interval)
    assert row["interval"]["method"].startswith("bootstrap by identity")
    assert any("of FMR and FNMR of a group Wilson's" in note for note in report.notes)


# ------------------------------------------------------------------------------------------------------------ in the terminal


def test_the_terminal_warns_of_ranks_and_distractors_read_off_few_misses(tmp_path: Path) -> None:
    lines = run("identification", write(tmp_path, **SEARCH), embedded(SEARCH_ANGLES)).summary().splitlines()
    warned = {line.split("  ")[1]: line for line in lines if "!" in line}
    assert "! no misses in 3: the true rate of misses may be up to 1 (rule of 3)" in warned["rank 5"]
    assert "! 1 misses in 3: the true rate of misses may be off by more than 30 % (rule of 30)" in warned["rank 1 among 12"]


def test_the_terminal_warns_of_groups_read_off_few_errors(grouped: Path) -> None:
    text = run("fairness", grouped, embedded(GROUPED)).summary()
    (odd,) = (line for line in text.splitlines() if line.startswith("  odd "))
    assert "! no accepted impostors in 6" in odd
    assert "; 1 rejected genuines in 6: the true FRR may be off by more than 30 % (rule of 30)" in odd


# ------------------------------------------------------------------------------------------------------------ runs compared


@pytest.fixture
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures take seconds and are tested elsewhere."""
    monkeypatch.setattr(section, "_figures", lambda: (None, ""))


@pytest.mark.usefixtures("without_pictures")
def test_ijb_runs_of_a_list_in_another_order_are_not_paired(ijbc: Path, tmp_path: Path) -> None:
    """Reversed, the list has as many genuines and impostors as before: only the templates tell pairs apart."""
    write_report(run("ijbc", ijbc, embedded(FACES)).to_report(), tmp_path / "straight")
    write_report(run("ijbc", ijbc, embedded(FACES | {"5.jpg": 100.0})).to_report(), tmp_path / "other")
    compared = compare_runs([tmp_path / "straight", tmp_path / "other"])
    assert [row.name for found in compared.comparisons.values() for row in found.differences] == ["EER", "TAR@FAR=10 %"]
    pairs = ijbc / "ijbc_template_pair_label.txt"
    pairs.write_text("".join(reversed(pairs.read_text().splitlines(keepends=True))))
    write_report(run("ijbc", ijbc, embedded(FACES)).to_report(), tmp_path / "reversed")
    with pytest.raises(InputError, match="pair 0 is 1 – 2 in one and 3 – 4 in the other; evaluate both on one list"):
        compare_runs([tmp_path / "straight", tmp_path / "reversed"])


def test_ytf_has_the_page_of_a_k_fold_verification(tmp_path: Path) -> None:
    """ROC, DET, distributions, errors and calibration of the averaged features, and runs that can be compared."""
    pytest.importorskip("matplotlib")
    (tmp_path / "splits.txt").write_text(YTF)
    for name, degrees in (("good", 60), ("bad", 20)):
        frames = embedded({"A/0/0.1.jpg": -60, "A/0/0.2.jpg": 60, "A/1/1.1.jpg": 0, "B/0/0.1.jpg": degrees})
        write_report(run("ytf", tmp_path / "splits.txt", frames).to_report(), tmp_path / name)
    pictures = {path.stem for path in (tmp_path / "good").glob("*.png")}
    assert pictures == {"roc", "det", "scores", "errors", "reliability"}
    assert (tmp_path / "good" / "report.html").read_text().count("<svg") == 5
    assert "A/0" in compare_runs([tmp_path / "good", tmp_path / "bad"]).reports[str(tmp_path / "good")].series["ids"]


@pytest.mark.usefixtures("without_pictures")
def test_protocols_that_keep_no_pairs_say_so(tmp_path: Path) -> None:
    """Evaluating again would not help."""
    lists = write(tmp_path, **SEARCH)
    for name in ("identification", "trillion-pairs"):
        write_report(run(name, lists, embedded(SEARCH_ANGLES)).to_report(), tmp_path / name)
    with pytest.raises(InputError, match="'identification', which counts and keeps no pairs") as refused:
        compare_runs([tmp_path / "identification", tmp_path / "trillion-pairs"])
    assert "evaluate it again" not in str(refused.value)


@pytest.mark.parametrize("name", ["fairness", "a .bin with folds of one kind"])
@pytest.mark.usefixtures("without_pictures")
def test_runs_of_every_list_of_pairs_know_their_images(name: str, grouped: Path, tmp_path: Path) -> None:
    """Another image of the same person in one pair leaves kinds and people as they were."""

    def evaluated() -> Report:
        if name == "fairness":
            return run("fairness", grouped, embedded(GROUPED)).to_report()
        pairs = read_pairs(grouped / "pairs.txt")
        one_kind = replace(pairs, folds=1 + pairs.same)
        return verify_in_order(embedded(GROUPED), one_kind, protocol="bin", title="a .bin").to_report()

    write_report(evaluated(), tmp_path / "straight")
    text = (grouped / "pairs.txt").read_text()
    (grouped / "pairs.txt").write_text(text.replace("p0\t1\tp2\t2", "p0\t2\tp2\t2"))
    write_report(evaluated(), tmp_path / "changed")
    with pytest.raises(InputError, match="pair 12 is p0/p0_0001 – p2/p2_0002 in one and p0/p0_0002 – p2/p2_0002 in the other"):
        compare_runs([tmp_path / "straight", tmp_path / "changed"])
