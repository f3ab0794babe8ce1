"""``orthodrome align``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def align(
    source: Annotated[
        Path, typer.Argument(help="Folder of photographs: one sub-folder per person, or as they are.", metavar="SRC")
    ],
    target: Annotated[Path, typer.Argument(help="Folder for the crops; the same tree.", metavar="DST")],
    faces: Annotated[str, typer.Option(help="Which faces count: largest, central (nearest to the middle) or all.")] = "largest",
    template: Annotated[str, typer.Option(help="Where landmarks go: arcface112 or sphereface96x112.")] = "arcface112",
    size: Annotated[str | None, typer.Option(help="HEIGHT or HEIGHTxWIDTH of the crops; default: the template's.")] = None,
    quality: Annotated[int, typer.Option(help="JPEG quality.", min=1, max=100)] = 95,
    landmarks: Annotated[
        Path | None, typer.Option(help="A landmarks.jsonl of an earlier run: cut again, without finding faces again.")
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="Weights of the detector (ONNX), for machines without network.")] = None,
    score: Annotated[float, typer.Option(help="Least score of a face.", min=0.0, max=1.0)] = 0.6,
    budget: Annotated[float, typer.Option(help="Share of photographs that may stay without a crop.", min=0.0, max=1.0)] = 0.001,
    workers: Annotated[int | None, typer.Option(help="Processes; default: one per processor.", min=0)] = None,
) -> None:
    """Find faces, align them and write the crops. After an interruption, the same command goes on.

    Needs the extra `align`. DST/landmarks.jsonl keeps what was found, DST/misses.csv lists photographs without a crop and why,
    DST.montage.png shows a hundred crops. The exit code is 1 where more are missed than --budget allows.

    Example: orthodrome align photographs/ faces/ --faces central
    """
    from orthodrome.cli.output import remarks, show
    from orthodrome.data import printable
    from orthodrome.pipeline.align_folder import MISSES_FILE, CropSettings, align_folder, realign_folder
    from orthodrome.pipeline.detect import YuNet
    from orthodrome.pipeline.models import find_weights
    from orthodrome.training.telemetry import counting
    from orthodrome.types import InputError

    settings = CropSettings(template, _size(size, template), faces, quality)
    if landmarks and weights:
        raise InputError("--landmarks needs no detector; leave out --weights")
    with counting(remarks(), "aligning") as progress:
        if landmarks:
            result = realign_folder(source, target, landmarks, settings, workers=workers, progress=progress)
        else:
            detector = YuNet(find_weights("yunet", weights), score)
            result = align_folder(source, target, detector, settings, workers=workers, progress=progress)
    show(result.summary())
    if result.montage:
        show(f"montage: {result.montage}")
    if result.misses:
        show(f"misses:  {target / MISSES_FILE}")
    if not result.within(budget):
        raise InputError(
            f"{len(result.misses)} of {len(result.photographs)} photographs have no crop, more than the {budget:.2%} that are borne "
            "(--budget); the first: " + "; ".join(f"{printable(miss.name)}: {miss.problem}" for miss in result.misses[:3])
        )


def _size(text: str | None, template: str) -> tuple[int, int] | None:
    """(height, width) of ``--size``."""
    from orthodrome.pipeline.align import TEMPLATES
    from orthodrome.types import InputError

    if text is None:
        return None
    numbers = text.split("x")
    if len(numbers) > 2 or not all(number.isdecimal() for number in numbers):
        raise InputError(f"--size takes HEIGHT or HEIGHTxWIDTH, for example 224 or 224x192; got {text!r}")
    height = int(numbers[0])
    natural = TEMPLATES.get(template).size
    return height, int(numbers[1]) if len(numbers) == 2 else round(height * natural[1] / natural[0])
