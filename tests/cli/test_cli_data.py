"""``orthodrome data`` as a user types it, and ``orthodrome train`` on what it makes."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from orthodrome.data import read_verification_set
from orthodrome.types import InputError

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def faces(small_faces: Path, tmp_path: Path) -> Path:
    """A copy of the small faces that may be spoilt."""
    import shutil

    return shutil.copytree(small_faces, tmp_path / "faces")


def test_inspect(run_cli: Run, faces: Path, tmp_path: Path) -> None:
    code, printed, _ = run_cli(
        "data", "inspect", faces, "-o", tmp_path / "found.json", "--mean-faces", tmp_path / "mean.png", "--workers", 0
    )
    assert code == 0
    assert "people                     6" in printed
    assert json.loads((tmp_path / "found.json").read_text())["images"] == 36
    assert Image.open(tmp_path / "mean.png").size == (6 * 64, 64)
    code, printed, _ = run_cli("data", "inspect", faces, "--images", 10, "--workers", 0)
    assert (code, "images                     10 " in printed) == (0, True)


def test_verify_then_train_without_the_bad_one(run_cli: Run, faces: Path, tiny_recipe_file: Path, tmp_path: Path) -> None:
    assert run_cli("data", "verify", faces, "--workers", 0, "--checksums", tmp_path / "sums")[0] == 0
    (faces / "person_2" / "person_2_0003.png").write_bytes(b"\x89PNG\r\n\x1a\n and nothing more")
    code, printed, _ = run_cli("data", "verify", faces, "--workers", 2, "--against", tmp_path / "sums")
    assert code == 1
    assert "unusable: " in printed
    assert "person_2/person_2_0003.png: " in printed
    assert "changed:  person_2/person_2_0003.png" in printed
    assert "36 items: 1 unusable, 0 odd" in printed
    assert run_cli("data", "verify", faces, "--budget", 0.05)[0] == 0

    train = ("train", "--recipe", tiny_recipe_file, "--data", faces, "--set", "schedule.epochs=1")
    code, _, error = run_cli(*train, "--out", tmp_path / "refused")
    assert code == 1
    assert "1 of 36 items cannot be used, more than the 0.10%" in error
    code, _, error = run_cli(*train, "--out", tmp_path / "run", "--set", "data.quarantine=0.05")
    assert code == 0
    assert "35 images of 6 people (5 to 6 per person, median 6); 1 left out, first: " in error

    code, _, error = run_cli("data", "convert", faces, tmp_path / "rec", "--to", "rec")
    assert (code, "raise the budget (--budget" in error) == (1, True)
    for verb in (("convert", "--to", "rec"), ("noise", "--flips", 0.1), ("split", "--test-people", 2)):
        code, printed, _ = run_cli("data", verb[0], faces, tmp_path / verb[0], *verb[1:], "--budget", 0.05)
        assert code == 0
        assert "1 left out, first: " in printed, "a copy says what is not in it"


def test_verify_tells_what_it_found_where_it_cannot_write(run_cli: Run, faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (faces / "person_2" / "person_2_0003.png").write_text("no picture")

    def refuse(*_: object) -> None:
        raise InputError("cannot write the list: Read-only file system")

    monkeypatch.setattr("orthodrome.data.jobs.write_quarantine", refuse)
    code, printed, error = run_cli("data", "verify", faces, "--workers", 0)
    assert (code, "Read-only file system" in error) == (1, True)
    assert "person_2_0003.png: not an image" in printed


def test_verify_looks_at_older_checksums_before_it_decodes(run_cli: Run, faces: Path, tmp_path: Path) -> None:
    code, printed, error = run_cli("data", "verify", faces, "--workers", 0, "--against", tmp_path / "none")
    assert (code, printed, "the checksums cannot be read" in error) == (1, "", True)


def test_convert_train_embed(run_cli: Run, faces: Path, tiny_recipe_file: Path, tmp_path: Path) -> None:
    for form in ("rec", "webdataset"):
        code, printed, _ = run_cli("data", "convert", faces, tmp_path / form, "--to", form, "--per-file", 10)
        assert (code, "36 images of 6 people" in printed) == (0, True)
        train = ("train", "--recipe", tiny_recipe_file, "--data", tmp_path / form, "--out", tmp_path / f"run-{form}")
        assert run_cli(*train)[0] == 0
    logs = [(tmp_path / f"run-{form}" / "log.jsonl").read_text() for form in ("rec", "webdataset")]
    losses = [[json.loads(line).get("loss") for line in log.splitlines()] for log in logs]
    assert losses[0] == losses[1]
    assert run_cli("train", "--resume", tmp_path / "run-rec")[0] == 0
    code, printed, _ = run_cli("embed", tmp_path / "run-rec", tmp_path / "rec" / "train.rec", "-o", tmp_path / "all.npz")
    assert (code, "36 embeddings" in printed) == (0, True)
    code, printed, _ = run_cli(
        "data", "clean", tmp_path / "rec", tmp_path / "clean", "--embeddings", tmp_path / "all.npz", "--angle", 179
    )
    assert (code, "36 images kept, 0 dropped" in printed) == (0, True)
    code, printed, _ = run_cli("data", "overlap", tmp_path / "all.npz", tmp_path / "all.npz", "--threshold", 0.9999)
    assert code == 1
    assert "pairs of people with a cosine of at least 0.9999" in printed


def test_what_a_folder_changes_of_order_and_names_is_told(run_cli: Run, faces: Path, tmp_path: Path) -> None:
    people = dict(zip("012", ("2", "10", "9"), strict=True))
    names = [(f"faces/person_{person}/person_{person}_000{i}.png", people[person]) for i in (1, 2) for person in people]
    (tmp_path / "list.txt").write_text("".join(f"{name} {person}\n" for name, person in names))
    for form, told in (("folder", 2), ("rec", 0)):
        code, printed, _ = run_cli("data", "convert", tmp_path / "list.txt", tmp_path / form, "--to", form)
        assert (code, printed.count("changed: ")) == (0, told)
        if told:
            assert "changed: the images are in another order: a folder groups them by person" in printed
            assert "changed: 2 people have other names, first: 2 is 02" in printed
    assert "changed: " not in run_cli("data", "convert", faces, tmp_path / "copy", "--to", "folder")[1]


def test_embed_and_clean_a_list_without_what_is_missing(
    run_cli: Run, faces: Path, tiny_recipe_file: Path, tmp_path: Path
) -> None:
    """As `data clean` asks for where the embeddings are of another set."""
    run_cli("train", "--recipe", tiny_recipe_file, "--data", faces, "--out", tmp_path / "run", "--set", "schedule.epochs=1")
    names = [path.relative_to(tmp_path).as_posix() for path in sorted(faces.rglob("*.png"))]
    (tmp_path / "list.txt").write_text("".join(f"{name} {Path(name).parent.name}\n" for name in [*names, "faces/gone.png"]))
    embed = ("embed", tmp_path / "run", tmp_path / "list.txt", "-o", tmp_path / "all.npz")
    code, _, error = run_cli(*embed)
    assert (code, "1 of 37 items cannot be used" in error, "raise the budget (--budget" in error) == (1, True, True)
    code, printed, _ = run_cli(*embed, "--budget", 0.05)
    assert code == 0
    assert "36 embeddings of 16 numbers" in printed
    assert "1 left out, first: " in printed
    clean = ("data", "clean", tmp_path / "list.txt", tmp_path / "clean", "--embeddings", tmp_path / "all.npz", "--budget", 0.05)
    assert run_cli(*clean, "--angle", 179)[0] == 0


def test_split_noise_index(run_cli: Run, faces: Path, tmp_path: Path) -> None:
    code, printed, _ = run_cli("data", "split", faces, tmp_path / "parts", "--test-people", 2)
    assert (code, "12 images of 2 other people" in printed) == (0, True)
    code, printed, _ = run_cli("data", "noise", faces, tmp_path / "noisy", "--flips", 0.25)
    assert (code, "27 clean, 9 flipped" in printed) == (0, True)
    (tmp_path / "noisy" / "train.idx").unlink()
    code, printed, _ = run_cli("data", "index", tmp_path / "noisy" / "train.rec")
    assert (code, "36 images, 0 unusable" in printed) == (0, True)
    assert (tmp_path / "noisy" / "train.idx").is_file()
    assert (tmp_path / "noisy" / "train.rec.index").is_file()
    (tmp_path / "noisy" / "train.rec.index").unlink()
    assert run_cli("data", "index", tmp_path / "noisy")[0] == 0, "a folder, as everywhere"
    assert (tmp_path / "noisy" / "train.rec.index").is_file()
    run_cli("data", "convert", faces, tmp_path / "tars", "--to", "webdataset", "--per-file", 10)
    code, printed, _ = run_cli("data", "index", tmp_path / "tars")
    assert (code, (tmp_path / "tars" / "000000-000003.tar.index").is_file()) == (0, True)


def test_a_verification_bin_becomes_safe_and_a_hostile_one_is_refused(run_cli: Run, faces: Path, tmp_path: Path) -> None:
    images = [file.read_bytes() for file in sorted(faces.rglob("*.png"))[:4]]
    (tmp_path / "lfw.bin").write_bytes(pickle.dumps((images, [True, False])))
    code, printed, _ = run_cli("data", "safe-bin", tmp_path / "lfw.bin", tmp_path / "lfw.npz")
    assert (code, "2 pairs, 1 of one person" in printed) == (0, True)
    assert read_verification_set(tmp_path / "lfw.npz").images == tuple(images)
    hostile = b"cposix\nsystem\n(S'touch " + str(tmp_path / "made").encode() + b"'\ntR."
    (tmp_path / "hostile.bin").write_bytes(hostile)
    code, _, error = run_cli("data", "safe-bin", tmp_path / "hostile.bin", tmp_path / "hostile.npz")
    assert (code, "posix.system" in error) == (1, True)
    assert not (tmp_path / "made").exists()
    assert not (tmp_path / "hostile.npz").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("convert", "FACES", "OUT", "--to", "rex"), "unknown form of a set 'rex'. Did you mean 'rec'"),
        (("convert", "FACES", "FACES", "--to", "rec"), "is there already"),
        (("convert", "FACES", "INSIDE", "--to", "rec"), "lies in the set it is made of"),
        (("split", "FACES", "INSIDE", "--test-people", "2"), "lies in the set it is made of"),
        (("convert", "NOWHERE", "OUT", "--to", "rec"), "no such file or folder; expected a folder of identities"),
        (("split", "FACES", "OUT", "--test-people", "6"), "test_identities must be in [1, 5]"),
        (("index", "NOWHERE.rec"), "no such file"),
        (("index", "FACES"), "no such shard"),
        (("noise", "FACES", "OUT", "--flips", "0.8", "--outliers", "0.8"), "together at most 1"),
        (("overlap", "NOWHERE", "NOWHERE"), "no such file"),
    ],
)
def test_mistakes_end_in_one_line(run_cli: Run, faces: Path, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    places = {
        "FACES": faces,
        "INSIDE": faces / "all",
        "OUT": tmp_path / "out",
        "NOWHERE": tmp_path / "nowhere",
        "NOWHERE.rec": tmp_path / "nowhere.rec",
    }
    code, _, error = run_cli("data", *(places.get(word, word) for word in arguments))
    assert code == 1
    assert message in error
    assert error.count("\n") == 1


def test_files_that_are_not_read_are_told(run_cli: Run, faces: Path, tmp_path: Path) -> None:
    person = sorted(folder for folder in faces.iterdir() if folder.is_dir())[0]
    first = sorted(person.iterdir())[0]
    first.rename(first.with_suffix(".heic"))
    (person / "more").mkdir()
    assert "odd:      " in run_cli("data", "verify", faces, "--workers", "0")[1]
    for command in (("inspect", faces, "--workers", "0"), ("convert", faces, tmp_path / "rec", "--to", "rec")):
        printed = run_cli("data", *command)[1]
        assert "2 not read, as no image by its ending" in printed
        assert person.name in printed
