"""``orthodrome compare-all``."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from orthodrome.pipeline.matching import LoadedSide


def compare_all(
    probes: Annotated[Path, typer.Argument(help="Embeddings: .npz, or .npy, which is memory-mapped.")],
    gallery: Annotated[
        Path | None, typer.Argument(help="The same; without one, the probes are compared among themselves.")
    ] = None,
    fars: Annotated[
        list[str] | None,
        typer.Option("--far", help="False accept rate, repeatable; default: 1e-3 … 1e-6, as far as they resolve."),
    ] = None,
    roc: Annotated[bool, typer.Option("--roc", help="Also points over the whole ROC, and the equal error rate.")] = False,
    labels: Annotated[Path | None, typer.Option(help="Text file with the person of each probe.")] = None,
    gallery_labels: Annotated[Path | None, typer.Option(help="The same of the gallery.")] = None,
    groups: Annotated[
        Path | None, typer.Option(help="Text file with the media or template of each probe: none is compared with its own.")
    ] = None,
    gallery_groups: Annotated[Path | None, typer.Option(help="The same of the gallery.")] = None,
    resamples: Annotated[int, typer.Option(help="Resamples of people for intervals; 0: Wilson's.", min=0)] = 1000,
    screen: Annotated[str, typer.Option(help="fp32, bf16, int8, or auto: the fastest on this machine.")] = "auto",
    workers: Annotated[int, typer.Option(help="Processes that share the work.", min=1)] = 1,
    state: Annotated[
        Path | None, typer.Option(help="File to go on from after an interruption; written every half minute.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("all-comparisons"),
) -> None:
    """Count all probes against all of a gallery exactly, however many, in bounded memory: TAR at FARs down to 1e-9 and the ROC.

    Example: orthodrome compare-all faces.npz --far 1e-4 --far 1e-6 --roc
    """
    from orthodrome.cli.output import remarks, saying, show_report
    from orthodrome.evaluation import compare_all as compare
    from orthodrome.evaluation import write_report
    from orthodrome.evaluation.report import check_folder
    from orthodrome.files import check_writable
    from orthodrome.pipeline.matching import SideFiles, load_sides
    from orthodrome.training.telemetry import counting

    check_writable(out)
    check_folder(out)
    files = [SideFiles(probes, labels, groups)]
    if gallery is not None:
        files.append(SideFiles(gallery, gallery_labels, gallery_groups))
    first, *rest = load_sides(files)
    second = rest[0] if rest else None
    impostors = _announced(first, second)
    with counting(remarks(), "comparing") as progress:
        found = compare(
            first.vectors,
            first.labels,
            second.vectors if second else None,
            second.labels if second else None,
            fars or _default_fars(impostors, roc),
            probe_groups=first.groups,
            gallery_groups=second.groups if second else None,
            roc=roc,
            resamples=resamples,
            screen=screen,
            workers=workers,
            state=state,
            progress=progress,
        )
    measured = " against ".join(file.name for file in (probes, gallery) if file)
    written = write_report(saying(found.to_report(), measured), out)
    show_report(found.summary(), written)


def _announced(first: LoadedSide, second: LoadedSide | None) -> int:
    """Says how many comparisons there are, and how much memory they will take. Returns the impostors."""
    from orthodrome.evaluation import streaming_memory
    from orthodrome.evaluation.streaming.sides import comparison, count, side

    sides = [side(given.vectors, given.labels, given.groups, "embeddings") for given in (first, second) if given]
    counts = count(comparison(sides[0], sides[1] if second else None))
    memory = streaming_memory(first.vectors.shape[1], len(first.labels))
    print(
        f"{counts.counted + counts.excluded:,} comparisons; at most {memory / 2**20:,.0f} MiB a process beside the embeddings",
        file=sys.stderr,
    )
    return counts.impostor


def _default_fars(impostors: int, roc: bool) -> list[str]:
    """Those that the impostors resolve; where there are none and nothing else is asked for, the largest, which will be refused."""
    return [far for far in ("1e-3", "1e-4", "1e-5", "1e-6") if Fraction(far) * impostors >= 1] or ["1e-3"] * (not roc)
