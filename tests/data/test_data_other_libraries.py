"""Both ways with the libraries these forms come from: what they write is read here, and what is written here they read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from set_files import encoded, jpeg, picture

from orthodrome.data import convert, open_reader

LABELS = [7, 3, 3, 12, 7, 0, 3]

# ----------------------------------------------------------------------------------------------------------- webdataset


def webdataset() -> Any:
    return pytest.importorskip("webdataset", reason="needs webdataset (extra dev)")


@pytest.mark.parametrize("label", ["cls", "json"])
@pytest.mark.parametrize("key", ["{:06d}", "some folder/{:03d}"])
def test_shards_that_webdataset_wrote(tmp_path: Path, key: str, label: str) -> None:
    images = [jpeg(number) for number in range(len(LABELS))]
    with webdataset().ShardWriter(f"{tmp_path}/part-%04d.tar", maxcount=3, verbose=0) as writer:
        for number, (image, person) in enumerate(zip(images, LABELS, strict=True)):
            value = person if label == "cls" else {"label": person, "age": 30}
            writer.write({"__key__": key.format(number), "jpg": image, label: value, "txt": "a caption"})
    for path in (tmp_path, tmp_path / "part-{0000..0002}.tar"):
        reader = open_reader(path)
        assert list(reader.class_names) == ["0", "3", "7", "12"]
        assert [int(reader.class_names[person]) for person in np.asarray(reader.labels)] == LABELS
        assert [reader.encoded(i) for i in range(len(reader))] == images
        assert [reader.sample(i).key for i in (0, 3)] == [f"part-0000/{key.format(0)}.jpg", f"part-0001/{key.format(3)}.jpg"]
        assert not reader.problems


def test_pixels_that_webdataset_encoded(tmp_path: Path) -> None:
    pixels = np.asarray(picture(5))
    with webdataset().TarWriter(str(tmp_path / "a.tar")) as writer:
        writer.write({"__key__": "one", "png": pixels, "cls": 0})
        writer.write({"__key__": "two", "PNG": encoded(picture(6), "PNG"), "cls": 1})
    reader = open_reader(tmp_path / "a.tar")
    assert (reader.image(0) == pixels).all()
    assert (reader.image(1) == np.asarray(picture(6))).all()


def test_webdataset_reads_our_shards(identities: Path, tmp_path: Path) -> None:
    source = open_reader(identities)
    convert(source, tmp_path / "wds", "webdataset", per_file=4)
    shards = sorted(str(path) for path in (tmp_path / "wds").glob("*.tar"))
    assert len(shards) == 3
    samples = list(webdataset().WebDataset(f"{tmp_path}/wds/{{000000..000002}}.tar", shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == [source.sample(i).key.removesuffix(".jpg") for i in range(10)]
    assert [int(sample["cls"]) for sample in samples] == source.labels.tolist()
    assert [sample["jpg"] for sample in samples] == [source.encoded(i) for i in range(10)]
    assert [sample["__url__"] for sample in samples] == [shards[i // 4] for i in range(10)]
    decoded = list(webdataset().WebDataset(shards, shardshuffle=False).decode("rgb8").to_tuple("jpg", "cls"))
    assert all((image == source.image(i)).all() and label == source.labels[i] for i, (image, label) in enumerate(decoded))


# ------------------------------------------------------------------------------------------------------------- datasets


def hugging_face() -> Any:
    return pytest.importorskip("datasets", reason="needs datasets, which is in no extra: it brings pandas and a network client")


@pytest.mark.parametrize("form", ["parquet", "save_to_disk"])
def test_sets_that_datasets_wrote(tmp_path: Path, form: str) -> None:
    datasets = hugging_face()
    images = [jpeg(number) for number in range(len(LABELS))]
    names = [f"person {number}" for number in range(13)]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=names)})
    rows = {"image": [{"bytes": image, "path": None} for image in images], "label": LABELS}
    made = datasets.Dataset.from_dict(rows, features)
    if form == "parquet":
        made.to_parquet(str(tmp_path / "train.parquet"))
    else:
        made.save_to_disk(str(tmp_path), num_shards=2)
    reader = open_reader(tmp_path)
    assert [reader.class_names[person] for person in np.asarray(reader.labels)] == [names[label] for label in LABELS]
    assert [reader.encoded(i) for i in range(len(reader))] == images


def test_datasets_reads_our_tables(identities: Path, tmp_path: Path) -> None:
    datasets = hugging_face()
    source = open_reader(identities)
    convert(source, tmp_path / "table", "parquet", per_file=4)
    made = datasets.load_dataset(str(tmp_path / "table"), split="train", cache_dir=str(tmp_path / "cache"))
    assert made.features["label"].names == ["ada", "bob", "cleo"]
    assert made["label"][:] == source.labels.tolist()
    assert all((np.asarray(row["image"].convert("RGB")) == source.image(i)).all() for i, row in enumerate(made))
    plain = made.cast_column("image", datasets.Image(decode=False))
    assert [row["image"]["bytes"] for row in plain] == [source.encoded(i) for i in range(10)]
