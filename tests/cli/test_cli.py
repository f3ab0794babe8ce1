"""The verbs as a user types them: what they print, what they write, and how they refuse."""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from orthodrome.cli.output import show
from orthodrome.pipeline import load_embeddings

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def trained(run_cli: Run, tiny_recipe_file: Path, small_faces: Path, small_pairs: Path, tmp_path: Path) -> Path:
    out = tmp_path / "run"
    code, printed, _ = run_cli(
        "train", "--recipe", tiny_recipe_file, "--data", small_faces, "--eval", small_faces, "--pairs", small_pairs, "--protocol", "pairs",
        "--set", "schedule.epochs=4", "--out", out,
    )  # fmt: skip
    assert code == 0
    assert str(out / "model.safetensors") in printed
    return out


def test_train_evaluate_embed(trained: Path, run_cli: Run, small_faces: Path, small_pairs: Path, tmp_path: Path) -> None:
    metrics = json.loads((trained / "metrics.json").read_text())
    assert [row["epoch"] for row in metrics["evaluations"]] == [1, 2, 3, 4]
    last = metrics["evaluations"][-1]["accuracy"]["mean"]

    code, printed, _ = run_cli("evaluate", trained, "--protocol", "pairs", "--data", small_faces, "--pairs", small_pairs)
    assert code == 0
    assert f"{100 * last:.2f} %" in printed
    folder = trained / "evaluation-pairs"
    assert {"report.json", "report.html", "roc.png", "scores.png"} <= {path.name for path in folder.iterdir()}
    assert json.loads((folder / "report.json").read_text())["metrics"]["accuracy"]["mean"] == last
    assert '<p class="soft">run, flip sum, protocol pairs' in (folder / "report.html").read_text()

    code, printed, _ = run_cli("embed", trained, small_faces, "-o", tmp_path / "all.npz")
    assert code == 0
    assert "36 embeddings of 16 numbers" in printed
    code, printed, _ = run_cli(
        "evaluate", tmp_path / "all.npz", "--protocol", "pairs", "--pairs", small_pairs, "--out", tmp_path / "report"
    )
    assert code == 0
    assert json.loads((tmp_path / "report" / "report.json").read_text())["metrics"]["accuracy"]["mean"] == last

    image = small_faces / "person_0" / "person_0_0001.png"
    assert run_cli("embed", trained, image, "-o", tmp_path / "one.npz")[0] == 0
    np.testing.assert_allclose(
        load_embeddings(tmp_path / "one.npz").vectors[0], load_embeddings(tmp_path / "all.npz").vectors[0], atol=1e-5
    )


def test_resume_of_a_finished_run_changes_nothing(trained: Path, run_cli: Run) -> None:
    from orthodrome import load_model

    before = load_model(trained).network.state_dict()
    code, _, _ = run_cli("train", "--resume", trained)
    assert code == 0
    assert all((tensor == before[name]).all() for name, tensor in load_model(trained).network.state_dict().items())


def test_version_and_help(run_cli: Run) -> None:
    assert run_cli("--version")[1].startswith("orthodrome 0.")
    code, printed, _ = run_cli("--help")
    assert code == 0
    for verb in ("quickstart", "train", "evaluate", "embed", "losses"):
        assert verb in printed


def test_python_m_orthodrome() -> None:
    printed = subprocess.run([sys.executable, "-m", "orthodrome", "--version"], capture_output=True, text=True, check=True).stdout
    assert printed.startswith("orthodrome 0.")


# ------------------------------------------------------------------------------------------------------------ bad input


def write_list(root: Path, text: str) -> Path:
    (root / "list.txt").write_text(text)
    return root / "list.txt"


def make_people(root: Path, *people: str) -> Path:
    for person in people:
        (root / person).mkdir(parents=True)
        for number in range(4):
            Image.new("RGB", (32, 32), (40 * number, 9, 99)).save(root / person / f"{number}.png")
    return root


def text_named_jpg(root: Path) -> Path:
    make_people(root, "a", "b")
    (root / "b" / "x.jpg").write_text("I am not a picture")
    return root


def truncated_jpeg(root: Path) -> Path:
    make_people(root, "a", "b")
    path = root / "b" / "x.jpg"
    Image.effect_noise((64, 64), 90).save(path)
    path.write_bytes(path.read_bytes()[:-400])
    return root


def bomb(root: Path) -> Path:
    make_people(root, "a", "b")
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    (root / "b" / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return root


BAD_DATA: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing": (lambda root: root / "nowhere", "nowhere"),
    "empty folder": (lambda root: root, "empty"),
    "one identity": (lambda root: make_people(root, "alone"), "at least two identities"),
    "text named .jpg": (text_named_jpg, "x.jpg"),
    "truncated JPEG": (truncated_jpeg, "x.jpg"),
    "bomb": (bomb, "30000"),
    "wrong line": (lambda root: write_list(make_people(root, "a", "b"), "a/0.png 0\na/1.png\n"), "list.txt:2"),
    "unknown image": (lambda root: write_list(root, "nowhere.png 0\n"), "list.txt:1"),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data_ends_in_one_clear_line(case: str, run_cli: Run, tiny_recipe_file: Path, tmp_path: Path) -> None:
    make, named = BAD_DATA[case]
    (tmp_path / "data").mkdir()
    data = make(tmp_path / "data")
    code, _, errors = run_cli(
        "train", "--recipe", tiny_recipe_file, "--data", data, "--set", "batch_size=4", "--out", tmp_path / "run"
    )
    assert_refused(code, errors, named)
    assert not (tmp_path / "run" / "model.safetensors").exists()
    assert not list(tmp_path.rglob("*.part"))


def assert_refused(code: int, errors: str, named: str) -> None:
    assert code == 1
    last = errors.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert named in last
    assert "Traceback" not in errors
    assert sum(line.startswith("error:") for line in errors.splitlines()) == 1


def test_a_class_with_one_image_and_odd_images_train(run_cli: Run, tiny_recipe_file: Path, tmp_path: Path) -> None:
    """CMYK, grey, 16-bit and rotated pictures are read, not refused; a person with one image is allowed and counted."""
    root = make_people(tmp_path / "data", "a", "b")
    (root / "single").mkdir()
    Image.new("CMYK", (40, 40), (10, 90, 30, 0)).save(root / "single" / "cmyk.jpg")
    Image.new("L", (40, 40), 80).save(root / "a" / "grey.jpg")
    Image.fromarray(np.full((40, 40), 30_000, np.uint16)).save(root / "a" / "deep.png")
    rotated = Image.new("RGB", (20, 40), (1, 2, 3))
    rotated.save(root / "b" / "rotated.jpg", exif=_rotated_exif())
    code, _, errors = run_cli(
        "train", "--recipe", tiny_recipe_file, "--data", root, "--set", "batch_size=6", "--out", tmp_path / "run"
    )
    assert code == 0, errors
    assert "1 with a single image" in errors


def _rotated_exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["train"], "--data is missing"),
        (["train", "--data", "FACES", "--set", "optimizer.learning_rat=1"], "optimizer.learning_rate"),
        (["train", "--data", "FACES", "--set", "backbone.widht=1"], "'width'"),
        (["train", "--data", "FACES", "--set", "loss.name=arcfase"], "'arcface'"),
        (["train", "--data", "FACES", "--set", "loss.margn=1"], "'margin'"),
        (["train", "--data", "FACES", "--set", "data.size=50", "--out", "OUT"], "divisible by 16"),
        (["train", "--data", "FACES", "--eval", "FACES"], "--pairs"),
        (["train", "--data", "FACES", "--eval", "FACES", "--pairs", "MISSING_PAIR"], "nobody"),
        (["train", "--data", "FACES", "--recipe", "nowhere.yaml"], "nowhere.yaml"),
        (["train", "--resume", "FACES"], "no run here"),
        (["train", "--resume", "FACES", "--data", "FACES"], "--data"),
        (["train", "--resume", "FACES", "--protocol", "pairs"], "leave out --protocol"),
        (["train", "--data", "FACES", "--protocol", "pairs"], "give --eval and --pairs too"),
        (["train", "--data", "FACES", "--set", "device=quantum", "--out", "OUT"], "quantum"),
        (["evaluate", "FACES", "--data", "FACES", "--pairs", "PAIRS"], "no model here"),
        (["evaluate", "FACES", "--data", "FACES"], "--pairs is missing"),
        (["evaluate", "FACES", "--protocol", "lwf", "--data", "FACES", "--pairs", "PAIRS"], "'lfw'"),
        (["evaluate"], "MODEL|EMBEDDINGS is missing"),
        (["evaluate", "x.onnx", "--data", "FACES", "--pairs", "PAIRS"], "--preprocessing is missing"),
        (["evaluate", "FACES", "--data", "FACES", "--pairs", "PAIRS", "--set", "convention"], "--set takes key=value"),
        (["evaluate", "FACES", "--data", "FACES", "--pairs", "PAIRS", "--protocol", "pairs", "--set", "a=b"], "no option 'a'"),
        (
            ["evaluate", "FACES", "--data", "FACES", "--pairs", "PAIRS", "--protocol", "pairs", "--train-set", "OUT"],
            "training people",
        ),
        (["evaluate", "FACES", "--data", "FACES", "--pairs", "PAIRS", "--protocol", "pairs", "--out", "PAIRS"], "is no folder"),
        (["evaluate", "FACES", "--protocol", "ijbc", "--data", "FACES"], "ijbc_face_tid_mid.txt"),
        (["embed", "FACES", "x.jpg", "-o", "x.txt"], ".npz"),
        (["embed", "x.onnx", "x.jpg", "-o", "x.npz"], "--preprocessing is missing"),
        (["embed", "FACES", "x.jpg", "-o", "x.npz", "--preprocessing", "{mean: 0, std: 1}"], "--preprocessing goes with .onnx"),
        (["losses", "arcfase"], "'arcface'"),
    ],
)
def test_wrong_arguments_end_in_one_clear_line(
    arguments: list[str],
    named: str,
    run_cli: Run,
    small_faces: Path,
    small_pairs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    missing = tmp_path / "missing.txt"
    missing.write_text("1\t1\nperson_0\t1\t2\nperson_0\t1\tnobody\t2\n")
    names = {"FACES": small_faces, "PAIRS": small_pairs, "MISSING_PAIR": missing, "OUT": tmp_path / "out"}
    code, _, errors = run_cli(*(names.get(argument, argument) for argument in arguments))
    assert_refused(code, errors, named)


def test_debug_shows_the_traceback(run_cli: Run) -> None:
    with pytest.raises(ValueError, match="--data is missing"):
        run_cli("--debug", "train")


def test_a_run_folder_is_not_overwritten(trained: Path, run_cli: Run, small_faces: Path) -> None:
    code, _, errors = run_cli("train", "--data", small_faces, "--out", trained)
    assert_refused(code, errors, f"--resume {trained}")


def test_evaluate_lists_its_protocols(run_cli: Run) -> None:
    code, printed, _ = run_cli("evaluate", "--list")
    assert code == 0
    for text in ("lfw", "ijbc-1n", "megaface", "bin", "--lists pairs.txt", "--set convention=orthodrome|insightface|opensphere"):
        assert text in printed


def test_evaluate_embeddings_of_another_toolkit(run_cli: Run, small_faces: Path, small_pairs: Path, tmp_path: Path) -> None:
    files = sorted(small_faces.rglob("*.png"))
    np.save(
        tmp_path / "theirs.npy", np.stack([np.asarray(Image.open(file).resize((4, 4)), float).ravel() - 127 for file in files])
    )
    (tmp_path / "ids.txt").write_text("\n".join(str(file) for file in files))
    (tmp_path / "train.txt").write_text("person 3\n")
    code, printed, errors = run_cli(
        "evaluate", tmp_path / "theirs.npy", "--ids", tmp_path / "ids.txt", "--protocol", "pairs", "--lists", small_pairs,
        "--set", "convention=insightface", "--train-set", tmp_path / "train.txt",
    )  # fmt: skip
    assert code == 0, errors
    for text in ("accuracy", "convention insightface", "overlap           not looked for: the test people have"):
        assert text in printed
    report = json.loads((tmp_path / "evaluation-pairs-theirs-convention=insightface" / "report.json").read_text())
    assert report["metrics"]["overlap"]["pairs"] == []  # person_0, person_1, … are no names


def test_names_that_are_not_utf8_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal's standard output is strict: a name as Linux hands it out would end the verb after its work is done."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, "utf-8", errors="strict"))
    show("faces/" + os.fsdecode(b"Andr\xe9") + "/1.jpg é")
    sys.stdout.flush()
    assert raw.getvalue().decode() == "faces/Andr\\xe9/1.jpg é\n"
