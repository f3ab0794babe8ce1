"""Models and embeddings made elsewhere: ONNX files, arrays with text files, MegaFace features, insightface's test sets."""

from __future__ import annotations

import io
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from orthodrome.data import VerificationSet, open_reader
from orthodrome.evaluation import PROTOCOLS
from orthodrome.evaluation.outcome import Outcome
from orthodrome.pipeline import (
    OnnxModel,
    ProtocolData,
    create_model,
    embed_images,
    evaluate_embeddings,
    evaluate_model,
    load_embeddings,
    load_model,
    load_onnx,
    open_model,
    read_preprocessing,
    save_embeddings,
)
from orthodrome.pipeline.audit import audited, training_set
from orthodrome.pipeline.evaluate import people_tested
from orthodrome.pipeline.megaface_features import read_feature, read_features, write_feature
from orthodrome.types import EmbeddingSet, InputError, Preprocessing, Report


def field(number: int, content: bytes | int | str) -> bytes:
    """One field of a protocol buffer."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    data = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(data)) + data


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def flatten_model(batch: int | str = "batch", side: int = 4) -> bytes:
    """An ONNX file whose embedding is its input, flattened."""

    def tensor(name: str, *shape: int | str) -> bytes:
        dimensions = b"".join(field(1, field(1, size) if isinstance(size, int) else field(2, size)) for size in shape)
        return field(1, name) + field(2, field(1, field(1, 1) + field(2, dimensions)))

    node = field(1, "pixels") + field(2, "embedding") + field(4, "Flatten")
    graph = (
        field(1, node)
        + field(2, "flatten")
        + field(11, tensor("pixels", batch, 3, side, side))
        + field(12, tensor("embedding", batch, 3 * side**2))
    )
    return field(1, 8) + field(7, graph) + field(8, field(1, "") + field(2, 13))


PREPROCESSING = "{mean: [1, 2, 3], std: [2, 4, 8], size: 4, colour: RGB}"


@pytest.fixture
def onnx_file(tmp_path: Path) -> Path:
    pytest.importorskip("onnxruntime")
    (tmp_path / "flatten.onnx").write_bytes(flatten_model())
    return tmp_path / "flatten.onnx"


def images(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)


@pytest.mark.parametrize("colour", ["RGB", "BGR"])
def test_onnx_sees_each_channel_scaled_by_its_own_mean_and_std(onnx_file: Path, colour: str) -> None:
    model = load_onnx(onnx_file, read_preprocessing(PREPROCESSING.replace("RGB", colour)))
    pixels = images(3)
    ordered = pixels if colour == "RGB" else pixels[..., ::-1]
    expected = ((ordered - np.float32([1, 2, 3])) / np.float32([2, 4, 8])).transpose(0, 3, 1, 2).reshape(3, -1)
    np.testing.assert_allclose(model.embed(pixels, flip="none", workers=0).vectors, expected, rtol=1e-6)


def test_onnx_with_a_fixed_batch_loses_no_tail(onnx_file: Path) -> None:
    """Sets smaller than the batch, and a last batch that is not full."""
    free = load_onnx(onnx_file, read_preprocessing(PREPROCESSING))
    onnx_file.write_bytes(flatten_model(batch=4))
    fixed = load_onnx(onnx_file, read_preprocessing(PREPROCESSING))
    assert fixed.batch_size == 4
    for count in (1, 3, 4, 7):
        expected = free.embed(images(count), flip="concat", workers=0).vectors
        np.testing.assert_array_equal(fixed.embed(images(count), flip="concat", workers=0, batch_size=5).vectors, expected)


def test_trap_a_set_smaller_than_the_batch_and_a_tail_batch() -> None:
    model = create_model("sfnet4", 8, Preprocessing((32, 32)), {"width": 0.125})
    pixels = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    whole = model.embed(pixels, workers=0, batch_size=64)
    assert len(whole) == 5
    np.testing.assert_allclose(model.embed(pixels, workers=0, batch_size=3).vectors, whole.vectors, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("{std: 1}", "mean is missing"),
        ("{mean: 1}", "std is missing"),
        ("{mean: 1, std: 0}", "std must be positive"),
        ("{mean: 1, std: 1, color: RGB}", "unknown key 'color'.*Did you mean 'colour'"),
        ("{mean: 1, std: 1, colour: GBR}", "colour must be 'RGB' or 'BGR'"),
        ("{mean: [1, 2], std: 1}", "mean must be one number or three"),
        ("{mean: [1, x, 3], std: 1}", "could not convert"),
        ("{mean: 1, std: 1, size: 0}", "size must be two positive integers"),
        ("{mean", "cannot be read as YAML"),
        ("no-such-file.yaml", "no-such-file.yaml: cannot be read as YAML"),
    ],
)
def test_preprocessing_refuses(given: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_preprocessing(given)


def test_preprocessing_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("mean: 127.5\nstd: 128\nsize: [112, 96]\ncolour: BGR\ninput: data\n")
    found = read_preprocessing(str(tmp_path / "p.yaml"))
    assert (found.mean, found.std, found.size, found.colour, found.input) == (
        (127.5,) * 3,
        (128.0,) * 3,
        (112, 96),
        "BGR",
        "data",
    )


def test_onnx_refuses(onnx_file: Path, tmp_path: Path) -> None:
    for change, message in (
        ("size: 4", "takes .*the preprocessing makes"),
        ("input: data, size: 4", "inputs are pixels; .*names data"),
    ):
        changed = PREPROCESSING.replace("size: 4", change if "data" in change else "size: 5")
        with pytest.raises(InputError, match=message):
            load_onnx(onnx_file, read_preprocessing(changed))
    with pytest.raises(InputError, match="no such file"):
        load_onnx(tmp_path / "none.onnx", read_preprocessing(PREPROCESSING))
    onnx_file.write_bytes(b"nonsense")
    with pytest.raises(InputError, match="cannot be loaded as an ONNX model"):
        load_onnx(onnx_file, read_preprocessing(PREPROCESSING))
    with pytest.raises(InputError, match="--preprocessing is missing"):
        open_model(onnx_file)
    with pytest.raises(InputError, match=r"--preprocessing goes with \.onnx"):
        open_model(tmp_path, PREPROCESSING)
    with pytest.raises(InputError, match="use open_model"):
        load_model(onnx_file)


def test_embed_by_onnx(onnx_file: Path, run_cli: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.png" for number in range(2)]
    for file, pixels in zip(files, images(2), strict=True):
        Image.fromarray(pixels).save(file)
    code, printed, errors = run_cli("embed", onnx_file, *files, "-o", tmp_path / "all.npz", "--preprocessing", PREPROCESSING)
    assert code == 0, errors
    assert "2 embeddings of 48 numbers" in printed
    stored = load_embeddings(tmp_path / "all.npz")
    expected = open_model(onnx_file, PREPROCESSING)
    np.testing.assert_allclose(stored.vectors, embed_images(expected, images(2), workers=0).vectors, rtol=1e-6)
    assert stored.meta["preprocessing"]["mean"] == [1, 2, 3]


# ------------------------------------------------------------------------------------------------------------ embeddings

VECTORS = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)


def test_npy_with_ids_and_labels(tmp_path: Path) -> None:
    np.save(tmp_path / "e.npy", VECTORS.astype(np.float64))
    (tmp_path / "ids.txt").write_text("a/1\na/2\nb/1\nb/2\n")
    (tmp_path / "labels.txt").write_text("zoe\nzoe\nann\nann\n")
    found = load_embeddings(tmp_path / "e.npy", tmp_path / "ids.txt", tmp_path / "labels.txt")
    np.testing.assert_array_equal(found.vectors, VECTORS)
    assert (found.ids, found.labels.tolist()) == (("a/1", "a/2", "b/1", "b/2"), [1, 1, 0, 0])
    (tmp_path / "labels.txt").write_text("7\n7\n-1\n3\n")
    assert load_embeddings(tmp_path / "e.npy", labels=tmp_path / "labels.txt").labels.tolist() == [7, 7, -1, 3]
    (tmp_path / "labels.txt").write_text("zoe\n-1\n-1\nann\n")
    assert load_embeddings(tmp_path / "e.npy", labels=tmp_path / "labels.txt").labels.tolist() == [1, -1, -1, 0]
    (tmp_path / "ids.txt").write_text("a/1\na/2\nb/1\n")
    with pytest.raises(InputError, match=r"ids.txt: expected 4 lines, one for each embedding; got 3"):
        load_embeddings(tmp_path / "e.npy", tmp_path / "ids.txt")
    (tmp_path / "labels.txt").write_text("zoe\n\n\nann\n")
    with pytest.raises(InputError, match=r"labels.txt:2: a blank line"):
        load_embeddings(tmp_path / "e.npy", labels=tmp_path / "labels.txt")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(4), r"real numbers of shape \(N, D\)"),
        (np.array([["a", "b"]]), "real numbers"),
        (np.array([[{}]], dtype=object), "without pickles"),
    ],
)
def test_npy_that_is_not_embeddings(tmp_path: Path, array: np.ndarray, message: str) -> None:
    np.save(tmp_path / "e.npy", array, allow_pickle=True)
    with pytest.raises(InputError, match=message):
        load_embeddings(tmp_path / "e.npy")


def test_megaface_features(tmp_path: Path) -> None:
    file = write_feature(VECTORS[0], tmp_path / "facescrub" / "Ann" / "Ann_1.png_r100.bin")
    assert file.read_bytes()[:16] == struct.pack("<4i", 6, 1, 4, 5)
    write_feature(VECTORS[1], tmp_path / "megaface" / "a" / "b" / "7.jpg_r100.bin")
    found = read_features(tmp_path)
    assert found.ids == ("facescrub/Ann/Ann_1.png", "megaface/a/b/7.jpg")
    np.testing.assert_array_equal(found.vectors, VECTORS[:2])
    assert load_embeddings(tmp_path).ids == found.ids
    write_feature(VECTORS[0][:3], tmp_path / "megaface" / "short.jpg_r100.bin")
    with pytest.raises(InputError, match=r"3 numbers, but .* has 6"):
        read_features(tmp_path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (struct.pack("<4i", 2, 1, 4, 5) + b"\0" * 7, "2 numbers are announced, which are 24 bytes in all; got 23"),
        (struct.pack("<4i", 2, 1, 4, 6) + b"\0" * 8, r"must be \(dim, 1, 4, 5\); got \(2, 1, 4, 6\)"),
        (struct.pack("<4i", 0, 1, 4, 5), "not a MegaFace feature"),
        (b"short", "not a MegaFace feature"),
    ],
)
def test_megaface_features_damaged(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "x_r.bin").write_bytes(data)
    with pytest.raises(InputError, match=message):
        read_feature(tmp_path / "x_r.bin")


# ------------------------------------------------------------------------------------------------------------ .bin


def test_kinds_of_bins(onnx_file: Path, tmp_path: Path) -> None:
    """Forty pairs: a person is a pixel pattern. In order of the list, with both kinds in every fold, or one kind first."""
    random = np.random.default_rng(1)
    same = np.tile([True, False], 20)

    def png(pixels: np.ndarray) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, format="PNG")
        return buffer.getvalue()

    def write(flags: np.ndarray) -> Path:
        bins = []
        for flag in flags:
            first, second = random.integers(0, 256, (2, 4, 4, 3), dtype=np.uint8)
            bins += [png(first), png(first if flag else second)]
        (tmp_path / "small.bin").write_bytes(pickle.dumps((bins, flags.tolist())))
        return tmp_path / "small.bin"

    model = load_onnx(onnx_file, read_preprocessing(PREPROCESSING.replace("[1, 2, 3]", "127.5")))
    where = ProtocolData("bin", Path(), write(same), {"convention": "insightface"})
    report = evaluate_model(model, where).to_report()
    assert report.metrics["accuracy"]["mean"] == 1.0
    assert len(report.metrics["folds"]) == 10
    assert report.metrics["compatibility"]["plus_minus"] == 0.0
    ordered = evaluate_model(model, ProtocolData("bin", Path(), write(np.sort(same)[::-1]))).to_report()
    assert "accuracy" not in ordered.metrics
    assert ordered.metrics["eer"]["rate"] == 0.0
    assert "one kind only" in ordered.notes[0]
    wrong = create_model("sfnet4", 8, Preprocessing((32, 32)), {"width": 0.125})
    with pytest.raises(InputError, match=r"small.bin/000000: the image is 4×4 .*the model takes 32×32"):
        evaluate_model(wrong, where)


@pytest.mark.parametrize(("same", "kind"), [(True, "the same person"), (False, "different people")])
def test_a_bin_of_one_kind_of_pair_is_refused_by_name(same: bool, kind: str) -> None:
    found = VerificationSet((b"",) * 8, np.full(4, same), "sets/odd.bin")
    embeddings = EmbeddingSet(np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32), np.full(8, -1), found.keys())
    with pytest.raises(InputError, match=rf"sets/odd\.bin: all 4 pairs are of {kind}"):
        PROTOCOLS.get("bin").run(embeddings, found)


# ------------------------------------------------------------------------------------------------------------ audit


def test_overlap_audit_in_the_report(tmp_path: Path, small_faces: Path, small_pairs: Path) -> None:
    ids = tuple(reader.sample(i).key for reader in [open_reader(small_faces)] for i in range(len(reader)))
    vectors = np.random.default_rng(0).normal(size=(len(ids), 8)).astype(np.float32)
    test = EmbeddingSet(vectors, np.full(len(ids), -1), ids)
    result = evaluate_embeddings(test, ProtocolData("pairs", Path(), small_pairs))
    (tmp_path / "names.txt").write_text("Ann Lee\nsomebody\n")
    numbered = people_tested(ProtocolData("pairs", Path(), small_pairs), test)
    named = {f"person_{n}": name for n, name in enumerate(("ann_lee", "Bo", "Cleo", "Dan", "Eve", "Finn"))}
    people = [named.get(person, "") for person in numbered or ()]
    by_name = audited(result, test, training_set(tmp_path / "names.txt"), people).to_report().metrics["overlap"]
    assert by_name["pairs"] == [{"train": "Ann Lee", "test": "ann_lee"}]
    assert by_name["text"] == "1 of 6 test people have the name of one of 2 training people"
    by_folder = audited(result, test, training_set(small_faces), people).to_report().metrics["overlap"]
    assert by_folder["text"].startswith("not looked for: the training people have numbers or codes for names ('person_0', …)")
    save_embeddings(test, tmp_path / "train.npz")
    found = audited(result, test, training_set(tmp_path / "train.npz"), people)
    assert found.to_report().metrics["overlap"]["pairs"][0]["score"] > 0.8  # the images of the list, with all of a person
    assert "overlap" in found.summary()
    nameless = audited(result, test, training_set(tmp_path / "names.txt"), None).to_report().metrics["overlap"]
    assert nameless["pairs"] == []
    assert "name no people" in nameless["text"]


NAMES = ("Ann_Lee", "Bo", "Cleo Núñez", "Dan O'Neil")


@pytest.mark.parametrize(
    ("training", "tested", "text"),
    [
        (["10000", "10001"], NAMES, "not looked for: the training people have numbers or codes for names ('10000', …)"),
        (["n000001", "n000002"], NAMES, "not looked for: the training"),
        (["m.0107_f", "m.0bh7c", "m.01_x2z"], NAMES, "not looked for: the training"),
        (["id_0", "id_1", "id_2"], NAMES, "not looked for: the training"),
        (NAMES, ["001", "002"], "not looked for: the test people have numbers or codes for names ('001', …)"),
        (NAMES, [], "not looked for: the lists of this protocol name no people"),
        (["bo", "7"], NAMES, "1 of 4 test people have the name of one of 2 training people; 1 training names are numbers"),
        (["bo", "李娜"], NAMES, "1 of 4 test people have the name of one of 2 training people"),
    ],
)
def test_the_audit_by_name_wants_names(training: list[str], tested: list[str], text: str) -> None:
    """Folders that are numbers share no name with anybody, which reassures falsely."""
    test = EmbeddingSet(np.eye(4, dtype=np.float32), np.full(4, -1), tuple("abcd"))
    people = [*tested, *[""] * (4 - len(tested))]
    found = audited(Outcome(Report("x", "x", {})), test, training, people).to_report()
    assert found.metrics["overlap"]["text"].startswith(text)
    assert ("embeddings of the training set are needed" in found.notes[-1]) == text.startswith("not looked for")


def test_the_audit_knows_people_as_the_protocol_does(tmp_path: Path) -> None:
    def audit(name: str, lists: Path, ids: list[str]) -> dict[str, Any]:
        vectors = np.random.default_rng(0).normal(size=(len(ids), 8)).astype(np.float32)
        test = EmbeddingSet(vectors, np.full(len(ids), -1), tuple(ids))
        people = PROTOCOLS.get(name).people(PROTOCOLS.get(name).read(lists), test)
        return audited(Outcome(Report("x", "x", {})), test, ["Ann Lee", "Maria Callas"], people).to_report().metrics["overlap"]

    (tmp_path / "splits.txt").write_text("header\n1, 1, Ann_Lee/0, Ann_Lee/1, 1, 1\n1, 2, Ann_Lee/0, Bo_Ray/0, 0, 0\n")
    videos = audit("ytf", tmp_path / "splits.txt", ["Ann_Lee/0/1", "Ann_Lee/1/1", "Bo_Ray/0/1"])
    assert videos["text"].startswith("1 of 2 test people")
    (tmp_path / "agedb.txt").write_text(
        "0_MariaCallas_35_f.jpg 1_MariaCallas_60_f.jpg 1\n0_MariaCallas_35_f.jpg 2_BoRay_30_m.jpg 0\n" * 10
    )
    aged = audit("agedb-30", tmp_path / "agedb.txt", ["0_MariaCallas_35_f", "1_MariaCallas_60_f", "2_BoRay_30_m"])
    assert aged["text"].startswith("1 of 2 test people")
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "probes.txt").write_text("a/1 Ann_Lee\n")
    (tmp_path / "lists" / "gallery.txt").write_text("b/2 Ann_Lee\nb/3 Bo\n")
    (tmp_path / "lists" / "distractors.txt").write_text("c/Ann_Lee\n")
    searched = audit("identification", tmp_path / "lists", ["a/1", "b/2", "b/3", "c/Ann_Lee"])
    assert searched["text"].startswith("1 of 2 test people")


@pytest.mark.parametrize("order", [1, -1])
def test_the_overlap_audit_takes_the_strictest_threshold_in_any_order(tmp_path: Path, order: int) -> None:
    """IJB lists FARs from the smallest, LFW from the largest: at the loosest nearly everybody would be found."""
    people = EmbeddingSet(np.eye(3, dtype=np.float32), np.arange(3), ("a/0", "b/0", "c/0"))
    save_embeddings(people, tmp_path / "train.npz")
    rows = [{"threshold": 0.9}, {"threshold": -1.0}][::order]
    found = audited(Outcome(Report("x", "x", {"tar_at_far": rows})), people, training_set(tmp_path / "train.npz"), "abc")
    assert "score at or above 0.9000" in found.to_report().metrics["overlap"]["text"]


def test_the_overlap_audit_leaves_out_embeddings_that_are_not_of_the_test(tmp_path: Path) -> None:
    """A file of embeddings may hold a whole set of which the lists name a part."""
    (tmp_path / "pairs.txt").write_text("1\t1\nAnn_Lee\t1\t2\nAnn_Lee\t1\tBo_Ray\t1\n")
    ids = ("Ann_Lee/Ann_Lee_0001", "Ann_Lee/Ann_Lee_0002", "Bo_Ray/Bo_Ray_0001", "Cy_Orr/Cy_Orr_0001", "Cy_Orr/Cy_Orr_0002")
    test = EmbeddingSet(np.eye(5, dtype=np.float32), np.array([0, 0, 1, 2, 2]), ids)
    people = people_tested(ProtocolData("pairs", Path(), tmp_path / "pairs.txt"), test)
    found = audited(Outcome(Report("x", "x", {})), test, test, people).to_report().metrics["overlap"]
    assert found["text"].startswith("2 test people and 3 training people: nearest are")
    assert {pair["test"] for pair in found["pairs"]} == {"Ann_Lee", "Bo_Ray"}


def test_reference_model_on_lfw(shared: Callable[[str], Path], tmp_path: Path) -> None:
    """Fold 1 of LFW through the whole path: 600 pairs of the shared .bin; the full run is `orthodrome evaluate` on 6,000."""
    pytest.importorskip("onnxruntime")
    files = shared("models/mobilefacenet_reference.onnx"), shared("fixtures/lfw_fold1.bin")
    copied = Path(shutil.copy(files[1], tmp_path))
    imagenet = "{mean: [123.675, 116.28, 103.53], std: [58.395, 57.12, 57.375], input: input0}"
    model = load_onnx(files[0], read_preprocessing(imagenet))
    assert isinstance(model, OnnxModel)
    report = PROTOCOLS.get("bin")
    found = report.read(copied)
    few = type(found)(found.images[:100] + found.images[-100:], np.append(found.same[:50], found.same[-50:]), found.source)
    embeddings = model.embed(report.images(few, Path()), flip="concat", workers=0)
    metrics = report.run(embeddings, few).to_report().metrics
    assert metrics["eer"]["rate"] <= 0.03
