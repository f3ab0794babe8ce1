"""Models and embeddings: saved, loaded, used."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from orthodrome import EmbeddingSet, InputError, Preprocessing, load_model
from orthodrome.data import open_reader
from orthodrome.pipeline import Model, create_model, load_embeddings, save_embeddings, save_model

PREPROCESSING = Preprocessing((32, 48), mean=127.5, std=128.0, template="arcface112")


@pytest.fixture(scope="module")
def model() -> Model:
    torch.manual_seed(0)
    made = create_model("sfnet4", 8, PREPROCESSING, {"width": 0.125, "batch_norm": True})
    made.network.eval()
    return made


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 32, 48, 3), dtype=np.uint8)


def test_a_model_survives_its_file(model: Model, images: np.ndarray, tmp_path: Path) -> None:
    save_model(model, tmp_path / "model.safetensors", {"recipe": "x"})
    for path in (tmp_path, tmp_path / "model.safetensors"):
        loaded = load_model(path)
        assert loaded.preprocessing == PREPROCESSING
        assert (loaded.backbone, loaded.embedding_dim, loaded.meta) == ("sfnet4", 8, {"recipe": "x"})
        assert np.array_equal(loaded.embed(images, workers=0).vectors, model.embed(images, workers=0).vectors)


def test_embedding_is_the_network_on_scaled_rgb_pixels(model: Model, images: np.ndarray) -> None:
    pixels = (torch.from_numpy(images).permute(0, 3, 1, 2).float() - 127.5) / 128
    with torch.no_grad():
        straight, mirrored = model.network(pixels), model.network(pixels.flip(3))
    none, both, side = (model.embed(images, flip=flip, workers=0).vectors for flip in ("none", "sum", "concat"))
    np.testing.assert_allclose(none, straight, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(both, straight + mirrored, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(side, torch.cat([straight, mirrored], dim=1), rtol=1e-5, atol=1e-6)


def test_a_model_that_sees_the_middle(images: np.ndarray, tmp_path: Path) -> None:
    made = create_model("sfnet4", 8, replace(PREPROCESSING, center_crop=(16, 32)), {"width": 0.125})
    save_model(made, tmp_path / "model.safetensors")
    loaded = load_model(tmp_path)
    assert loaded.preprocessing == made.preprocessing
    pixels = (torch.from_numpy(images).permute(0, 3, 1, 2).float() - 127.5) / 128
    with torch.no_grad():
        expected = loaded.network(pixels[:, :, 8:24, 8:40])
    np.testing.assert_allclose(loaded.embed(images, flip="none", workers=0).vectors, expected, rtol=1e-5, atol=1e-6)


def test_embeddings_do_not_depend_on_batch_size_or_mode(model: Model, images: np.ndarray) -> None:
    model.network.train()
    small = model.embed(images, batch_size=2, workers=0)
    assert model.network.training
    model.network.eval()
    np.testing.assert_allclose(small.vectors, model.embed(images, workers=0).vectors, rtol=1e-5, atol=1e-6)
    assert len(small) == 5
    assert (small.labels == -1).all()


def test_readers_keep_labels_and_keys(model: Model, small_faces: Path) -> None:
    reader = open_reader(small_faces)
    embeddings = model.embed(reader, workers=0)
    assert np.array_equal(embeddings.labels, reader.labels)
    assert embeddings.ids[0] == "person_0/person_0_0001.png"


def test_paths_and_mappings_keep_their_names(model: Model, small_faces: Path) -> None:
    path = small_faces / "person_1" / "person_1_0002.png"
    assert model.embed([path], workers=0).ids == (str(path),)
    assert model.embed(path, workers=0).ids == model.embed(str(path), workers=0).ids == (str(path),)
    assert model.embed({"me": path}, workers=0).ids == ("me",)
    with pytest.raises(InputError, match="no images"):
        model.embed([])


def test_an_image_given_twice_is_refused_and_not_dropped(model: Model, small_faces: Path) -> None:
    first, second = sorted(small_faces.rglob("*.png"))[:2]
    with pytest.raises(InputError, match=f"{first.name} is given twice"):
        model.embed([first, second, str(first)], workers=0)


@pytest.mark.parametrize("given", [[np.zeros((32, 48, 3), np.uint8)], torch.zeros(1, 32, 48, 3), b"bytes", {1, 2}, None])
def test_what_is_no_image_is_refused_by_type(model: Model, given: object) -> None:
    with pytest.raises(InputError, match=f"images to embed are .* got {type(given).__name__}"):
        model.embed(given, workers=0)


def test_damaged_weights_are_named(images: np.ndarray) -> None:
    broken = create_model("sfnet4", 8, PREPROCESSING, {"width": 0.125})
    with torch.no_grad():
        next(broken.network.parameters()).fill_(float("nan"))
    with pytest.raises(InputError, match="embedding of 0 is not finite"):
        broken.embed(images, workers=0)


def test_unknown_flip_is_refused(model: Model, images: np.ndarray) -> None:
    with pytest.raises(InputError, match="unknown flip 'sums'"):
        model.embed(images, flip="sums", workers=0)


def test_files_that_are_no_models_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.safetensors").write_text("hello")
    save_file({"a": torch.zeros(2)}, tmp_path / "other.safetensors")
    for path, message in (
        (tmp_path, "no model here"),
        (tmp_path / "missing", "no model here"),
        (tmp_path / "text.safetensors", "cannot be read as a model"),
        (tmp_path / "other.safetensors", "not one of orthodrome"),
    ):
        with pytest.raises(InputError, match=message):
            load_model(path)


def test_a_truncated_model_is_refused(model: Model, tmp_path: Path) -> None:
    path = save_model(model, tmp_path / "model.safetensors")
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match="cannot be read as a model"):
        load_model(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"preprocessing": {"size": [32, 48], "gamma": 1}}, "its description cannot be used: .*'gamma'"),
        ({"preprocessing": {"size": [32, 48], "std": 0}}, "its description cannot be used: std must be positive"),
        ({"preprocessing": {"size": 32}}, "its description cannot be used"),
        (
            {"preprocessing": {"size": [32, 48], "template": "arcfaec112"}},
            "unknown template 'arcfaec112'. Did you mean 'arcface112'",
        ),
        (None, "its description cannot be used"),
    ],
)
def test_a_description_of_another_version_is_refused(
    change: dict[str, object] | None, message: str, model: Model, tmp_path: Path
) -> None:
    path = save_model(model, tmp_path / "model.safetensors")
    with safe_open(path, framework="pt") as opened:
        metadata = opened.metadata()
    described = json.dumps({**json.loads(metadata["model"]), **change}) if change else "{"
    save_file(load_file(path), path, {**metadata, "model": described})
    with pytest.raises(InputError, match=message):
        load_model(path)


def test_embeddings_survive_their_file(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    stored = EmbeddingSet(vectors, np.array([0, 1, -1]), ("a", "b", "ü"), {"flip": "sum"})
    loaded = load_embeddings(save_embeddings(stored, tmp_path / "set.npz"))
    assert np.array_equal(loaded.vectors, vectors)
    assert np.array_equal(loaded.labels, stored.labels)
    assert (loaded.ids, loaded.meta) == (stored.ids, stored.meta)


def test_anyones_vectors_are_enough(tmp_path: Path) -> None:
    np.savez(tmp_path / "theirs.npz", vectors=np.ones((2, 3)))
    loaded = load_embeddings(tmp_path / "theirs.npz")
    assert (loaded.ids, loaded.labels.tolist()) == (("0", "1"), [-1, -1])


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (np.array([7, -1], np.int32), [7, -1]),
        (np.array(["bob", "ada"]), [1, 0]),
        (np.array(["10", "9"]), [10, 9]),
        (np.array(["ada", "-1"]), [0, -1]),
        (np.array(["ada", "1" * 30]), [1, 0]),
    ],
)
def test_labels_of_others_are_whole_numbers_or_names(labels: np.ndarray, expected: list[int], tmp_path: Path) -> None:
    np.savez(tmp_path / "theirs.npz", vectors=np.ones((2, 3)), labels=labels)
    assert load_embeddings(tmp_path / "theirs.npz").labels.tolist() == expected


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"labels": np.array([1.7, 2.2])}, "labels must be whole numbers or names; got float64"),
        ({"labels": np.array([True, False])}, "labels must be whole numbers or names; got bool"),
        ({"meta": np.array("hello")}, "'meta' must be a JSON object as text; got 'hello'"),
        ({"meta": np.array("[1]")}, "'meta' must be a JSON object"),
    ],
)
def test_what_others_have_beside_their_vectors_is_not_guessed(more: dict[str, np.ndarray], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "theirs.npz", vectors=np.ones((2, 3)), **more)
    with pytest.raises(InputError, match=rf"theirs\.npz: {message}"):
        load_embeddings(tmp_path / "theirs.npz")


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (open, ("executed", "w"))


def test_embeddings_that_are_not_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "pickled.npz", vectors=np.array([_Evil()], dtype=object))
    np.savez(tmp_path / "other.npz", x=np.ones(2))
    np.save(tmp_path / "array.npy", np.ones(2))
    (tmp_path / "text.npz").write_text("hello")
    for name in ("pickled.npz", "other.npz", "array.npy", "text.npz", "missing.npz"):
        with pytest.raises(InputError, match=name):
            load_embeddings(tmp_path / name)
    assert not (tmp_path / "executed").exists()
    with pytest.raises(InputError, match=r"\.npz"):
        save_embeddings(EmbeddingSet(np.ones((1, 2)), np.zeros(1, np.int64), ("a",)), tmp_path / "set.bin")
