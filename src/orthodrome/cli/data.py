"""``orthodrome data``: look at a set, check it, and bring it into another form."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

data = typer.Typer(no_args_is_help=True, help="Look at a set of faces, check it, and bring it into another form.")

SET = typer.Argument(help="Folder of identities, list file, .rec, tar shards, Parquet, or a folder of these.")
FORM = typer.Option("--to", help="folder, rec, webdataset or parquet.")
WORKERS = typer.Option(help="Decoding processes; default: one per processor.", min=0)
BUDGET = typer.Option(help="Share of the set that may be unusable.", min=0.0, max=1.0)


@data.command()
def inspect(
    source: Annotated[Path, SET],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write everything found as JSON.")] = None,
    mean_faces: Annotated[Path | None, typer.Option(help="Write a PNG with the mean faces of the largest classes.")] = None,
    images: Annotated[int | None, typer.Option(help="Look at this many random images only.", min=1)] = None,
    workers: Annotated[int | None, WORKERS] = None,
) -> None:
    """People, images per person, sizes, colour modes, and the same picture under two names.

    Example: orthodrome data inspect faces/ -o faces.json --mean-faces faces.png
    """
    import io
    import json

    from orthodrome.cli.output import remarks, show, show_left_out
    from orthodrome.data.inspection import inspect as look
    from orthodrome.data.inspection import mean_faces as draw
    from orthodrome.data.inspection import tables
    from orthodrome.data.jobs import sample_of
    from orthodrome.data.parallel import available_processors
    from orthodrome.data.readers import open_reader
    from orthodrome.files import write_file
    from orthodrome.training.telemetry import counting

    with counting(remarks(), "looking") as progress:
        reader = sample_of(open_reader(source, 1.0, progress), images)
        found = look(reader, available_processors() if workers is None else workers, progress)
    for table in tables(found):
        show(table)
    show_left_out(reader)
    if output:
        show(f"everything: {write_file(output, json.dumps(found.to_json(), indent=2, ensure_ascii=False).encode())}")
    if mean_faces:
        picture = io.BytesIO()
        draw(reader).save(picture, "PNG")
        show(f"mean faces: {write_file(mean_faces, picture.getvalue())}")


@data.command()
def verify(
    source: Annotated[Path, SET],
    budget: Annotated[float, BUDGET] = 0.001,
    checksums: Annotated[Path | None, typer.Option(help="Write the checksum of every image.")] = None,
    against: Annotated[Path | None, typer.Option(help="Compare with such a file.")] = None,
    workers: Annotated[int | None, WORKERS] = None,
) -> None:
    """Decode everything; what cannot be used goes to SET.quarantine.jsonl, which training leaves out. Exit code 1 above the budget.

    Example: orthodrome data verify ms1m/ --checksums ms1m.sums
    """
    from orthodrome.cli.output import remarks, show
    from orthodrome.data.integrity import changed_since, read_checksums, write_checksums
    from orthodrome.data.jobs import quarantine, verify_set
    from orthodrome.data.parallel import available_processors
    from orthodrome.training.telemetry import counting

    before = read_checksums(against) if against else None  # now, not after hours of decoding
    with counting(remarks(), "verifying") as progress:
        result = verify_set(source, available_processors() if workers is None else workers, progress)
    for problem in result.problems[:20]:
        show(f"unusable: {problem}")
    for remark in result.remarks[:20]:
        show(f"odd:      {remark}")
    changed = changed_since(before, result.checksums) if before is not None else []
    for key in changed[:20]:
        show(f"changed:  {key}")
    show(f"{result.total:,} items: {len(result.problems):,} unusable, {len(result.remarks):,} odd; checksum {result.checksum}")
    if against:
        show(f"{len(changed):,} differ from {against}")
    if checksums:
        write_checksums(checksums, result.checksums)
    if listed := quarantine(source, result):
        show(f"quarantine list: {listed}")
    if changed or not result.within(budget):
        raise typer.Exit(1)


@data.command()
def convert(
    source: Annotated[Path, SET],
    target: Annotated[Path, typer.Argument(help="New folder.")],
    form: Annotated[str, FORM],
    per_file: Annotated[int, typer.Option(help="Images of a shard or table.", min=1)] = 10_000,
    size: Annotated[int | None, typer.Option(help="Re-encode to this side.", min=1)] = None,
    quality: Annotated[int | None, typer.Option(help="Re-encode as JPEG of this quality.", min=1, max=100)] = None,
    workers: Annotated[int | None, WORKERS] = None,
    budget: Annotated[float, BUDGET] = 0.001,
) -> None:
    """Write a set in another form: bytes, labels, order and class names as they are. After an interruption, the same command goes on.

    A folder sorts people and images by name; what that changes of order and names is told.

    Example: orthodrome data convert faces/ faces-rec --to rec
    """
    from orthodrome.cli.output import remarks, show, show_left_out
    from orthodrome.data.conversion import Encoding
    from orthodrome.data.jobs import Copying
    from orthodrome.data.naming import folder_changes
    from orthodrome.data.parallel import available_processors
    from orthodrome.training.telemetry import counting

    encoding = Encoding((size, size) if size else None, quality or 95) if size or quality else None
    with counting(remarks(), "converting") as progress:
        copying = Copying(source, target, form, budget, progress)
        reader = copying.open()
        processes = available_processors() if workers is None else workers
        copying.write(reader, encoding=encoding, per_file=per_file, workers=processes)
    show(f"{len(reader):,} images of {len(reader.class_names):,} people: {target}")
    for change in folder_changes(reader) if form == "folder" else ():
        show(f"changed: {change}")
    show_left_out(reader)


@data.command()
def split(
    source: Annotated[Path, SET],
    target: Annotated[Path, typer.Argument(help="Folder for train/ and test/.")],
    test_people: Annotated[int, typer.Option(help="People of the test side.", min=1)],
    seed: Annotated[int, typer.Option(min=0)] = 0,
    form: Annotated[str, FORM] = "folder",
    budget: Annotated[float, BUDGET] = 0.001,
) -> None:
    """Two sets that share no person: train and test.

    Example: orthodrome data split faces/ parts --test-people 100
    """
    from orthodrome.cli.output import remarks, show, show_left_out
    from orthodrome.data.jobs import Copying, split_set
    from orthodrome.training.telemetry import counting

    with counting(remarks(), "writing") as progress:
        train, test = split_set(Copying(source, target, form, budget, progress), test_people, seed)
    show(f"{len(train):,} images: {target / 'train'}\n{len(test):,} images of {test_people:,} other people: {target / 'test'}")
    show_left_out(train)


@data.command()
def noise(
    source: Annotated[Path, SET],
    target: Annotated[Path, typer.Argument(help="New folder.")],
    flips: Annotated[float, typer.Option(help="Share of images with another person's label.", min=0, max=1)] = 0.0,
    outliers: Annotated[float, typer.Option(help="Share of images of people who are not in the set.", min=0, max=1)] = 0.0,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    form: Annotated[str, FORM] = "rec",
    budget: Annotated[float, BUDGET] = 0.001,
) -> None:
    """A copy with wrong labels, and the truth about each image in TARGET/truth.tsv.

    Example: orthodrome data noise faces/ noisy --flips 0.2 --outliers 0.1
    """
    from collections import Counter

    from orthodrome.cli.output import remarks, show, show_left_out
    from orthodrome.data.jobs import Copying, noise_set
    from orthodrome.training.telemetry import counting

    with counting(remarks(), "writing") as progress:
        noisy = noise_set(Copying(source, target, form, budget, progress), flips, outliers, seed)
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(Counter(noisy.kind).items()))
    show(f"{len(noisy.reader):,} images of {len(noisy.reader.class_names):,} people ({kinds}): {target}")
    show_left_out(noisy.reader)


@data.command()
def index(source: Annotated[Path, typer.Argument(help=".rec or tar shards.")]) -> None:
    """Put the index beside the data, so that every user and machine opens it at once; and the .idx where a .rec has none.

    Example: orthodrome data index train.rec
    """
    from orthodrome.cli.output import remarks, show
    from orthodrome.data.jobs import index_set
    from orthodrome.training.telemetry import counting

    with counting(remarks(), "indexing") as progress:
        place, images, problems = index_set(source, progress)
    for problem in problems[:20]:
        show(f"unusable: {problem}")
    show(f"{images:,} images, {len(problems):,} unusable: {place}")


@data.command(name="safe-bin")
def safe_bin(
    source: Annotated[Path, typer.Argument(help="Verification .bin of insightface.")],
    target: Annotated[Path, typer.Argument(help="The .npz to write.")],
) -> None:
    """Read a verification .bin, which is a pickle, without running it, and keep it as an .npz that is none.

    Example: orthodrome data safe-bin lfw.bin lfw.npz
    """
    from orthodrome.cli.output import show
    from orthodrome.data import read_verification_set, save_verification_set

    found = read_verification_set(source)
    save_verification_set(found, target)
    show(f"{len(found):,} pairs, {int(found.same.sum()):,} of one person: {target}")


@data.command()
def clean(
    source: Annotated[Path, SET],
    target: Annotated[Path, typer.Argument(help="New folder.")],
    embeddings: Annotated[Path, typer.Option(help="The set's embeddings: orthodrome embed MODEL SET -o set.npz.")],
    angle: Annotated[
        float, typer.Option(help="Degrees from the person's centre beyond which an image goes.", min=0, max=180)
    ] = 75.0,
    form: Annotated[str, FORM] = "rec",
    budget: Annotated[float, BUDGET] = 0.001,
) -> None:
    """A copy without the images that are far from the centre of their person; TARGET/dropped.tsv lists them.

    Example: orthodrome data clean faces/ cleaned --embeddings faces.npz --angle 75
    """
    from orthodrome.cli.output import remarks, show, show_left_out
    from orthodrome.data.jobs import Copying, clean_set
    from orthodrome.pipeline import load_embeddings
    from orthodrome.training.telemetry import counting

    with counting(remarks(), "writing") as progress:
        kept, dropped = clean_set(Copying(source, target, form, budget, progress), load_embeddings(embeddings), angle)
    show(f"{len(kept):,} images kept, {dropped:,} dropped: {target}")
    show_left_out(kept)


@data.command()
def overlap(
    first: Annotated[Path, typer.Argument(help="Embeddings of a set (.npz).")],
    second: Annotated[Path, typer.Argument(help="Embeddings of another, by the same model.")],
    threshold: Annotated[
        float, typer.Option(help="Cosine of two centres from which they may be one person.", min=-1, max=1)
    ] = 0.7,
) -> None:
    """People who may be in both sets, by the centres of their embeddings; exit code 1 where there are any.

    Example: orthodrome data overlap train.npz test.npz --threshold 0.7
    """
    from orthodrome.cli.output import show
    from orthodrome.data.centres import shared_people
    from orthodrome.pipeline import load_embeddings

    found = shared_people(load_embeddings(first), load_embeddings(second), threshold)
    for pair in found:
        show(f"{pair.cosine:.3f}  {pair.first}  {pair.second}")
    show(f"{len(found):,} pairs of people with a cosine of at least {threshold}")
    if found:
        raise typer.Exit(1)
