"""A folder of photographs to a folder of crops: what is written, what is reported, and what survives a kill."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from orthodrome.data import read_folder
from orthodrome.data.decode import decode_image
from orthodrome.files import alone
from orthodrome.pipeline.align import TEMPLATES
from orthodrome.pipeline.align_folder import CropSettings, align_folder, realign_folder
from orthodrome.pipeline.detect import FACE_RULES, NO_FACES, YuNet
from orthodrome.pipeline.landmarks import read_landmarks
from orthodrome.pipeline.photographs import crop_stems
from orthodrome.types import InputError

pytest.importorskip("cv2", reason="needs the extra align")
FACE = TEMPLATES.get("arcface112").points


def face(left: float, top: float, scale: float = 1.0, score: float = 0.9) -> np.ndarray:
    """A row of a detector: the template's face, enlarged and moved."""
    return np.array([left, top, 112 * scale, 112 * scale, *(FACE * scale + (left, top)).ravel(), score], np.float32)


@dataclass(frozen=True)
class MadeUp:
    """Finds as many faces as the red of the first pixel says (0, 1, 2); counts its calls in a file where it is told one."""

    calls: Path | None = None
    slow: float = 0.0

    def __call__(self, image: np.ndarray) -> np.ndarray:
        if self.calls:
            with self.calls.open("a") as file:
                file.write("x")
        time.sleep(self.slow)
        faces = [face(10, 10), face(130, 20, 0.5)][: int(image[0, 0, 0])]
        return np.stack(faces) if faces else NO_FACES

    def described(self) -> dict[str, Any]:
        return {"name": "made up"}


def photograph(path: Path, faces: int, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 14, 3), dtype=np.uint8)
    image = np.asarray(Image.fromarray(coarse).resize((200, 160), Image.Resampling.BILINEAR)).copy()
    image[0, 0, 0] = faces
    Image.fromarray(image).save(path)
    return path


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Three people: one face, two faces, none; a broken file; a note; a hidden file."""
    root = tmp_path / "photographs"
    for i in range(3):
        photograph(root / "ada" / f"{i}.png", 1, i)
    photograph(root / "bob" / "pair.png", 2, 7)
    photograph(root / "cleo" / "back.png", 0)
    photograph(root / "cleo" / "front.png", 1, 8)
    (root / "cleo" / "broken.jpg").write_bytes(b"\xff\xd8\xff not a photograph")
    (root / "cleo" / "note.txt").write_text("hello")
    (root / ".hidden.png").write_bytes(b"")
    return root


def test_tree_crops_misses_and_montage(photographs: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    result = align_folder(photographs, tmp_path / "crops", MadeUp(), workers=0, progress=lambda *at: seen.append(at))
    written = sorted(path.relative_to(tmp_path / "crops").as_posix() for path in (tmp_path / "crops").rglob("*.jpg"))
    assert written == ["ada/0.jpg", "ada/1.jpg", "ada/2.jpg", "bob/pair.jpg", "cleo/front.jpg"]
    assert seen == [(i, 7) for i in range(1, 8)]
    with (tmp_path / "crops" / "misses.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["photograph", "reason"]
    assert rows[1] == ["cleo/back.png", "no face was found"]
    assert rows[2][0] == "cleo/broken.jpg"
    assert "not an image" in rows[2][1]
    assert len(rows) == 3
    crop = decode_image(tmp_path / "crops" / "ada" / "0.jpg")
    original = decode_image(photographs / "ada" / "0.png")[10:122, 10:122]
    assert np.abs(crop.astype(int) - original).mean() < 3
    assert Image.open(tmp_path / "crops.montage.png").size == (3 * 112, 2 * 112)
    assert (result.crops, result.crowded, len(result.misses)) == (5, 1, 2)
    assert not result.within(0.1)
    assert result.within(2 / 7)
    assert len(read_folder(tmp_path / "crops")) == 5  # the crops train as they are


def test_processes_give_the_same_bytes(photographs: Path, tmp_path: Path) -> None:
    align_folder(photographs, tmp_path / "one", MadeUp(), workers=0)
    align_folder(photographs, tmp_path / "two", MadeUp(), workers=2)
    for path in (tmp_path / "one").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()


def test_all_faces_are_numbered(photographs: Path, tmp_path: Path) -> None:
    align_folder(photographs, tmp_path / "crops", MadeUp(), CropSettings(faces="all"), workers=0)
    assert sorted(path.name for path in (tmp_path / "crops" / "bob").iterdir()) == ["pair-1.jpg", "pair-2.jpg"]


def test_a_plain_folder(photographs: Path, tmp_path: Path) -> None:
    align_folder(photographs / "ada", tmp_path / "crops", MadeUp(), workers=0)
    names = {path.name for path in (tmp_path / "crops").iterdir()}
    assert names == {"0.jpg", "1.jpg", "2.jpg", "landmarks.jsonl", "misses.csv"}


def test_face_rules() -> None:
    faces = np.stack([face(0, 0, 0.5), face(100, 100, 0.4), face(50, 0, 1.2)])
    assert FACE_RULES.get("largest")(faces, (240, 240)).tolist() == [2]
    assert FACE_RULES.get("central")(faces, (240, 240)).tolist() == [1]
    assert FACE_RULES.get("all")(faces, (240, 240)).tolist() == [0, 1, 2]


def test_what_is_finished_is_not_done_again(photographs: Path, tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    detector = MadeUp(calls)
    align_folder(photographs, tmp_path / "crops", detector, workers=0)
    assert len(calls.read_text()) == 6  # all but the broken one
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "crops").rglob("*.jpg")}
    (tmp_path / "crops" / "ada" / "1.jpg").unlink()  # a lost crop is cut from what is known, and so is a truncated one
    (tmp_path / "crops" / "ada" / "2.jpg").write_bytes(b"")
    photograph(photographs / "cleo" / "broken.jpg", 1)  # mended
    photograph(photographs / "dora" / "new.png", 1)
    result = align_folder(photographs, tmp_path / "crops", detector, workers=0)
    assert len(calls.read_text()) == 6 + 3  # the mended one, the new one, and the miss once more
    assert result.finished_before == 3
    assert [miss.name for miss in result.misses] == ["cleo/back.png"]
    again = {path: path.stat().st_mtime_ns for path in times}
    assert {path.name for path in times if again[path] != times[path]} == {"1.jpg", "2.jpg"}


def test_a_replaced_photograph_is_done_again(photographs: Path, tmp_path: Path) -> None:
    align_folder(photographs, tmp_path / "crops", MadeUp(), workers=0)
    before = (tmp_path / "crops" / "ada" / "0.jpg").read_bytes()
    photograph(photographs / "ada" / "0.png", 1, 99)
    align_folder(photographs, tmp_path / "crops", MadeUp(), workers=0)
    assert (tmp_path / "crops" / "ada" / "0.jpg").read_bytes() != before


def test_a_replaced_photograph_of_the_same_size_is_done_again(photographs: Path, tmp_path: Path) -> None:
    """Another picture of as many bytes is known by its time."""
    path, calls = photograph(photographs / "ada" / "bitmap.bmp", 1, 98), tmp_path / "calls"
    align_folder(photographs, tmp_path / "crops", MadeUp(calls), workers=0)
    size, before = path.stat().st_size, files_of(tmp_path / "crops")
    detections = len(calls.read_text())
    align_folder(photographs, tmp_path / "crops", MadeUp(calls), workers=0)
    assert len(calls.read_text()) == detections + 1, "the photograph without a face only"
    photograph(path, 1, 99)
    assert path.stat().st_size == size
    align_folder(photographs, tmp_path / "crops", MadeUp(calls), workers=0)
    assert len(calls.read_text()) == detections + 3
    changed = {name for name, content in files_of(tmp_path / "crops").items() if before[name] != content}
    assert changed == {"ada/bitmap.jpg", "landmarks.jsonl"}


def test_landmark_files_of_earlier_versions_go_on(photographs: Path, tmp_path: Path) -> None:
    """They hold sizes only; what is finished stays so, and is known by its time from then on."""
    align_folder(photographs, tmp_path / "crops", MadeUp(), workers=0)
    landmarks = tmp_path / "crops" / "landmarks.jsonl"
    whole = landmarks.read_bytes()
    landmarks.write_bytes(re.sub(rb'"modified": \d+, ', b"", whole))
    assert b"modified" not in landmarks.read_bytes()
    result = align_folder(photographs, tmp_path / "crops", MadeUp(), workers=0)
    assert result.finished_before == 5
    assert landmarks.read_bytes() == whole


def test_crops_of_a_photograph_that_was_replaced_do_not_stay(photographs: Path, tmp_path: Path) -> None:
    """They would be trained on as if they were of the new one."""
    every = CropSettings(faces="all")
    align_folder(photographs, tmp_path / "crops", MadeUp(), every, workers=0)
    assert (tmp_path / "crops" / "bob" / "pair-2.jpg").exists()
    photograph(photographs / "bob" / "pair.png", 1, 99)
    photograph(photographs / "ada" / "0.png", 0, 98)
    align_folder(photographs, tmp_path / "crops", MadeUp(), every, workers=0)
    align_folder(photographs, tmp_path / "straight", MadeUp(), every, workers=0)
    assert files_of(tmp_path / "crops") == files_of(tmp_path / "straight")


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@dataclass(frozen=True)
class NotFinite(MadeUp):
    def __call__(self, image: np.ndarray) -> np.ndarray:
        faces = super().__call__(image)
        faces[1:, 4] = np.nan
        return faces


def test_a_detector_that_answers_nonsense_is_a_miss(photographs: Path, tmp_path: Path) -> None:
    result = align_folder(photographs, tmp_path / "crops", NotFinite(), workers=0)
    assert {miss.name: miss.problem for miss in result.misses}["bob/pair.png"].endswith("not finite")


def test_two_runs_at_once_do_not_write_into_each_other(photographs: Path, tmp_path: Path) -> None:
    with alone(tmp_path / "crops"), pytest.raises(InputError, match="another process is writing into it"):
        align_folder(photographs, tmp_path / "crops", MadeUp(), workers=0)
    align_folder(photographs, tmp_path / "crops", MadeUp(), workers=0)


def test_into_the_working_folder(photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "crops").mkdir()
    monkeypatch.chdir(tmp_path / "crops")
    result = align_folder(photographs, Path("."), MadeUp(), workers=0)
    assert result.montage == tmp_path / "crops.montage.png"


def test_a_torn_last_line_is_done_again_and_a_damaged_one_is_refused(photographs: Path, tmp_path: Path) -> None:
    target = tmp_path / "crops"
    align_folder(photographs, target, MadeUp(), workers=0)
    whole = (target / "landmarks.jsonl").read_bytes()
    (target / "landmarks.jsonl").write_bytes(whole[:-20])
    (target / "ada" / ".0123abcd.123.part").write_bytes(b"half")  # what a killed writer leaves
    assert align_folder(photographs, target, MadeUp(), workers=0).finished_before == 4
    assert (target / "landmarks.jsonl").read_bytes() == whole
    assert not list(target.rglob(".*.part"))
    (target / "landmarks.jsonl").write_bytes(whole.replace(b'"bytes"', b'"bites"', 1))
    with pytest.raises(InputError, match=r"landmarks\.jsonl:2: not a line about a photograph"):
        align_folder(photographs, target, MadeUp(), workers=0)


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from test_align_folder import MadeUp
from orthodrome.pipeline.align_folder import align_folder
align_folder(Path({source!r}), Path({target!r}), MadeUp(slow=0.05), workers=2)
"""


def test_a_killed_run_goes_on_and_ends_as_if_it_had_not_been(photographs: Path, tmp_path: Path) -> None:
    for i in range(40):
        photograph(photographs / "many" / f"{i:02d}.png", 1, i)
    target = tmp_path / "crops"
    script = SCRIPT.format(tests=str(Path(__file__).parent), source=str(photographs), target=str(target))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", script], start_new_session=True, env=environment)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and _lines(target / "landmarks.jsonl") < 15:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    finished = _lines(target / "landmarks.jsonl") - 1
    assert 14 <= finished < 47
    for crop in target.rglob("*.jpg"):
        if not crop.name.startswith("."):
            decode_image(crop)  # each is whole
    result = align_folder(photographs, target, MadeUp(), workers=0)
    assert finished - 2 <= result.finished_before <= finished  # two misses may be among the lines; they are tried again
    align_folder(photographs, tmp_path / "straight", MadeUp(), workers=0)
    for path in (tmp_path / "straight").rglob("*.*"):
        assert path.read_bytes() == (target / path.relative_to(tmp_path / "straight")).read_bytes()


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_again_from_landmarks_without_detection(photographs: Path, tmp_path: Path) -> None:
    align_folder(photographs, tmp_path / "crops", MadeUp(), workers=0)
    landmarks = tmp_path / "crops" / "landmarks.jsonl"
    realign_folder(photographs, tmp_path / "same", landmarks, workers=0)
    for path in (tmp_path / "crops").rglob("*.jpg"):
        assert path.read_bytes() == (tmp_path / "same" / path.relative_to(tmp_path / "crops")).read_bytes()
    larger = CropSettings(template="sphereface96x112", size=(224, 192), faces="all")
    realign_folder(photographs, tmp_path / "larger", landmarks, larger, workers=0)
    assert decode_image(tmp_path / "larger" / "bob" / "pair-2.jpg").shape == (224, 192, 3)
    photograph(photographs / "ada" / "unknown.png", 1)
    Image.open(photographs / "ada" / "0.png").resize((100, 80)).save(photographs / "ada" / "0.png")
    result = realign_folder(photographs, tmp_path / "changed", landmarks, workers=0)
    problems = {miss.name: miss.problem for miss in result.misses}
    assert problems["ada/unknown.png"] == "not in the landmark file"
    assert problems["ada/0.png"] == "100×80 pixels now, but 200×160 in the landmark file"
    assert "as the landmark file says" in problems["cleo/broken.jpg"] or "not an image" in problems["cleo/broken.jpg"]


def test_landmarks_that_cannot_be_used_name_the_photograph_and_stop_nothing(photographs: Path, tmp_path: Path) -> None:
    align_folder(photographs, tmp_path / "crops", MadeUp(), workers=0)
    file = tmp_path / "crops" / "landmarks.jsonl"
    lines = file.read_text().splitlines()
    values = json.loads(lines[1])
    values["faces"] = [[1.0] * 15]
    file.write_text("\n".join([lines[0], json.dumps(values), *lines[2:]]) + "\n")
    result = realign_folder(photographs, tmp_path / "again", file, workers=0)
    assert "not all one point" in {miss.name: miss.problem for miss in result.misses}["ada/0.png"]
    assert result.crops == 4


def test_other_settings_and_foreign_folders_are_refused(photographs: Path, tmp_path: Path) -> None:
    target = tmp_path / "crops"
    align_folder(photographs, target, MadeUp(), workers=0)
    with pytest.raises(InputError, match=r"begun with other settings \(quality: 95, now 80\).*--landmarks"):
        align_folder(photographs, target, MadeUp(), CropSettings(quality=80), workers=0)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match="holds something else"):
        align_folder(photographs, tmp_path / "mine", MadeUp(), workers=0)
    for inside in (photographs, photographs / "crops", photographs.parent):
        with pytest.raises(InputError, match="among the photographs"):
            align_folder(photographs, inside, MadeUp(), workers=0)
    with pytest.raises(InputError, match="no such folder"):
        align_folder(tmp_path / "nowhere", tmp_path / "out", MadeUp(), workers=0)


def test_crops_never_meet() -> None:
    stems = crop_stems(["p/a.jpg", "p/a.png", "p/b.jpg", "q/a.jpg", "p/C.jpg", "p/c.png"])
    assert stems["p/a.jpg"] == "p/a.jpg"
    assert stems["p/a.png"] == "p/a.png"
    assert stems["p/b.jpg"] == "p/b"
    assert stems["q/a.jpg"] == "q/a"
    assert len({stem.casefold() for stem in stems.values()}) == 6
    with pytest.raises(InputError, match="same crop"):
        crop_stems(["a.png", "a.jpg", "a.png.png"])


def test_crops_of_a_photograph_that_is_gone_are_not_taken_over(photographs: Path, tmp_path: Path) -> None:
    target, first, apart = tmp_path / "crops", photographs / "ada" / "0.png", tmp_path / "0.png"
    align_folder(photographs, target, MadeUp(), workers=0)
    before = (target / "ada" / "0.jpg").read_bytes()
    first.rename(apart)
    photograph(photographs / "ada" / "0.bmp", 1, 20)
    photograph(photographs / "cleo" / "back.bmp", 1, 21)  # in place of one without a crop
    (photographs / "cleo" / "back.png").unlink()
    align_folder(photographs, target, MadeUp(), workers=0)
    assert (target / "ada" / "0.jpg").read_bytes() == before
    shutil.move(apart, first)
    result = align_folder(photographs, target, MadeUp(), workers=0)
    crops = {photograph.name: list(photograph.crops) for photograph in result.photographs}
    assert (crops["ada/0.png"], crops["ada/0.bmp"], crops["cleo/back.bmp"]) == (
        ["ada/0.jpg"],
        ["ada/0.bmp.jpg"],
        ["cleo/back.jpg"],
    )
    assert (target / "ada" / "0.jpg").read_bytes() == before
    assert all((target / crop).is_file() for names in crops.values() for crop in names)


def test_names_that_are_not_utf8(photographs: Path, tmp_path: Path) -> None:
    strange = os.fsdecode(b"\xff\xe9.png")
    try:
        shutil.copy(photographs / "ada" / "0.png", photographs / "ada" / strange)
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    align_folder(photographs, tmp_path / "crops", MadeUp(), workers=0)
    assert f"ada/{strange}" in read_landmarks(tmp_path / "crops" / "landmarks.jsonl").photographs
    assert align_folder(photographs, tmp_path / "crops", MadeUp(), workers=0).finished_before == 6


def test_a_full_disk_stops_the_run_and_says_so(photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "crops"
    target.mkdir()
    align_folder(photographs / "ada", target, MadeUp(), workers=0)
    photograph(photographs / "ada" / "sub" / "9.png", 1)
    (target / "sub").write_bytes(b"")  # a file where a folder is needed
    with pytest.raises(InputError, match="cannot write"):
        align_folder(photographs / "ada", target, MadeUp(), workers=0)


# ------------------------------------------------------------------------------------------------- the real detector


@pytest.fixture
def weights(shared: Callable[[str], Path]) -> Path:
    return shared("models/yunet_n_320_320.onnx")


def test_a_face_in_every_lfw_photograph_cut_as_the_aligned_set(
    weights: Path, shared: Callable[[str], Path], tmp_path: Path
) -> None:
    source = shared("data/lfw_raw")
    result = align_folder(source, tmp_path / "crops", YuNet(weights), CropSettings(faces="central"), workers=2)
    assert len(result.photographs) == 240
    assert not result.misses
    differences = []
    for crop in sorted((tmp_path / "crops").rglob("*.jpg")):
        reference = decode_image(shared("data/lfw") / crop.relative_to(tmp_path / "crops"))
        differences.append(np.abs(decode_image(crop).astype(int) - reference).mean())
    assert np.median(differences) < 2.5  # of 255: two JPEG encodings apart
    assert max(differences) < 5


@pytest.mark.parametrize("factor", [0.25, 0.5, 6.0])
def test_landmarks_follow_the_size_of_the_photograph(weights: Path, shared: Callable[[str], Path], factor: float) -> None:
    """Bordered (62 and 125 pixels) and reduced (1500): the same points. One photograph's vary by 3 to 5 pixels of 250 with the
    place of the network's grid, whatever the size; the mean of many does not.
    """
    detector = YuNet(weights)

    def points(image: np.ndarray) -> np.ndarray:
        faces = detector(image)
        return faces[FACE_RULES.get("central")(faces, image.shape[:2])[0], 4:14].reshape(5, 2).astype(np.float64)

    differences = []
    for path in sorted(shared("data/lfw_raw").glob("*/*_0001.jpg"))[:20]:
        image = decode_image(path)
        side = round(250 * factor)
        scaled = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR))
        truth = points(image)
        assert truth[0, 0] < truth[1, 0]  # the left eye as seen in the image comes first
        assert truth[3, 0] < truth[4, 0]
        differences.append((points(scaled) + 0.5) * 250 / side - 0.5 - truth)
    assert np.abs(np.mean(differences, axis=(0, 1))).max() < 2.5
    assert np.hypot(*np.moveaxis(differences, 2, 0)).mean() < 6


def test_nothing_there_and_weights_that_are_none(weights: Path, tmp_path: Path) -> None:
    assert YuNet(weights)(np.zeros((60, 90, 3), np.uint8)).shape == (0, 15)
    assert YuNet(weights)(np.zeros((1, 1, 3), np.uint8)).shape == (0, 15)
    wrong = tmp_path / "wrong.onnx"
    wrong.write_bytes(b"not a network")
    with pytest.raises(InputError, match=r"wrong\.onnx: not the weights"):
        replace(YuNet(weights), weights=wrong)(np.zeros((200, 200, 3), np.uint8))


def test_the_command_line(photographs: Path, weights: Path, tmp_path: Path, run_cli: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = run_cli("align", photographs, tmp_path / "crops", "--weights", weights, "--workers", 0)
    assert code == 1
    assert "0 of 7 photographs aligned" in out
    assert "7 of 7 photographs have no crop, more than the 0.10% that are borne" in err
    assert run_cli("align", photographs, tmp_path / "crops", "--weights", weights, "--workers", 0, "--budget", 1)[0] == 0
    assert "--size takes" in run_cli("align", photographs, tmp_path / "x", "--size", "abc", "--weights", weights)[2]
    assert "unknown template" in run_cli("align", photographs, tmp_path / "x", "--template", "arcface", "--weights", weights)[2]
    align_folder(photographs, tmp_path / "known", MadeUp(), workers=0)
    code, out, _ = run_cli(
        "align", photographs, tmp_path / "y", "--landmarks", tmp_path / "known" / "landmarks.jsonl",
        "--workers", 0, "--size", 56, "--budget", 0.5,
    )  # fmt: skip
    assert code == 0
    assert "misses.csv" in out
    assert decode_image(tmp_path / "y" / "ada" / "0.jpg").shape == (56, 56, 3)


def test_without_opencv_the_error_names_the_extra(photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(InputError, match=r'pip install "orthodrome\[align\]"'):
        align_folder(photographs, tmp_path / "crops", MadeUp(), workers=0)


def test_landmarks_of_another_photograph_of_the_same_name_and_size_are_not_used(photographs: Path, tmp_path: Path) -> None:
    align_folder(photographs, tmp_path / "crops", MadeUp(), workers=0)
    photograph(photographs / "ada" / "0.png", 1, seed=9)
    result = realign_folder(photographs, tmp_path / "again", tmp_path / "crops" / "landmarks.jsonl", workers=0)
    with (tmp_path / "again" / "misses.csv").open() as file:
        misses = {row["photograph"]: row for row in csv.DictReader(file)}
    assert "another photograph of this name" in str(misses["ada/0.png"])
    assert not (tmp_path / "again" / "ada" / "0.jpg").exists()
    assert (tmp_path / "again" / "ada" / "1.jpg").exists()
    assert result is not None


def test_corrected_landmarks_are_cut_anew(photographs: Path, tmp_path: Path) -> None:
    align_folder(photographs, tmp_path / "crops", MadeUp(), workers=0)
    landmarks = tmp_path / "crops" / "landmarks.jsonl"
    realign_folder(photographs, tmp_path / "again", landmarks, workers=0)
    before = (tmp_path / "again" / "ada" / "0.jpg").read_bytes()
    lines = [json.loads(line) for line in landmarks.read_text().splitlines()]
    for line in lines[1:]:
        line["faces"] = [[*row[:4], *(value + 15 for value in row[4:14]), row[14]] for row in line.get("faces", [])]
    (tmp_path / "corrected.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    assert (tmp_path / "corrected.jsonl").read_text() != landmarks.read_text()
    realign_folder(photographs, tmp_path / "again", tmp_path / "corrected.jsonl", workers=0)
    assert (tmp_path / "again" / "ada" / "0.jpg").read_bytes() != before


def test_people_behind_links_are_aligned_and_a_link_back_ends(photographs: Path, tmp_path: Path) -> None:
    shutil.move(photographs / "ada", tmp_path / "elsewhere")
    (photographs / "ada").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "elsewhere" / "back").symlink_to(photographs, target_is_directory=True)
    align_folder(photographs, tmp_path / "crops", MadeUp(), workers=0)
    assert (tmp_path / "crops" / "ada" / "1.jpg").exists()
