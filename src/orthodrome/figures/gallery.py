"""Figures as files, and the page that shows them."""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from orthodrome.figures.table import FIGURES, FigureRow
from orthodrome.files import write_file

_HEAD = """# Figures

Every picture is made from the functions of the loss table, none from a copy of a formula, by

```console
$ pip install "orthodrome[plots]"
$ orthodrome figures --all -o figures
```

and one of them by its name, for example `orthodrome figures target-logits -o figures`; `orthodrome figures --list` names them.
The trainings use the handwritten digits that ship with scikit-learn (Alpaydin and Kaynak, UCI, 1998).
This page is printed by `orthodrome figures --markdown`.
"""


def write_figure(name: str, folder: Path) -> Path:
    """Compute, draw and write ``folder/name.png``, and return its path. Raises InputError for an unknown name or a folder that cannot be
    written.
    """
    row = FIGURES.get(name)
    return write_png(row.draw(row.compute()), folder / f"{name}.png")


def write_png(figure: Figure, path: Path, dots_per_inch: int = 110) -> Path:
    """Write with a palette of 256 colours: a third of the size, the same to the eye. Raises InputError where it cannot be written."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=dots_per_inch, facecolor="white")
    with Image.open(picture) as drawn:
        small = drawn.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    return write_file(path, lambda file: small.save(file, format="png", optimize=True))


def markdown() -> str:
    """The gallery page: each figure with its title and caption, pictures in the folder ``figures`` beside the page."""
    return _HEAD + "".join(_entry(name, FIGURES.get(name)) for name in FIGURES)


def _entry(name: str, row: FigureRow) -> str:
    return f"\n## {row.title}\n\n![{row.title}](figures/{name}.png)\n\n{row.caption}\n\n`orthodrome figures {name}`\n"
