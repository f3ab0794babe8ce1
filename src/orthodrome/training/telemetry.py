"""What a run tells: a progress bar on the terminal, JSON lines in a file, TensorBoard where asked."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from orthodrome.files import write_file
from orthodrome.types import InputError

LINE_SECONDS = 60.0
"""Between the lines of progress where there is no terminal to draw a bar on."""


def say(console: Console, text: str) -> None:
    """One remark, as it is: no colours, no folding of paths."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)


class JsonLines:
    """Appends one JSON object per line; each line is whole on disk when `write` returns."""

    def __init__(self, path: Path, after_step: int = 0, after_epoch: int = 0) -> None:
        """Open for appending; lines of steps or epochs beyond these (of a run that was killed after its checkpoint) are cut."""
        self._path = path
        kept = [line for line in _lines(path) if _is_of(line, after_step, after_epoch)]
        write_file(path, "".join(line + "\n" for line in kept).encode())

    def write(self, **values: Any) -> None:
        """One line; numbers that are not finite become null, which JSON can say."""
        line = json.dumps({key: _plain(value) for key, value in values.items()})
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            raise InputError(f"cannot write {self._path}: {error.strerror or error}") from None


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _is_of(line: str, step: int, epoch: int) -> bool:
    """Whether a line was written up to there. What is said after an epoch has the step of its last batch, where a checkpoint may be."""
    try:
        values = json.loads(line)
        return bool(values["step"] <= step and values["epoch"] <= epoch)
    except (ValueError, KeyError, TypeError):  # a line cut short by a kill
        return False


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Board:
    """Scalars for TensorBoard."""

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise InputError('log.tensorboard needs the package tensorboard: pip install "orthodrome[tensorboard]"') from None
        self._writer = SummaryWriter(str(folder))

    def write(self, step: int, scalars: dict[str, float]) -> None:
        """Each number as a curve of its name."""
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush to disk."""
        self._writer.close()


class Speed:
    """Images per second since the last reading."""

    def __init__(self) -> None:
        self._since, self._images = time.perf_counter(), 0

    def count(self, images: int) -> None:
        """More images are done."""
        self._images += images

    def read(self) -> float:
        """Images per second since the last call; starts anew."""
        now = time.perf_counter()
        rate = self._images / max(now - self._since, 1e-9)
        self._since, self._images = now, 0
        return rate


def training_progress(console: Console) -> Progress:
    """A bar over the steps of the run with loss, images/s and time left; silent where the output is not a terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.3f}"),
        TextColumn("{task.fields[speed]:.0f} images/s"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )


@contextmanager
def counting(console: Console, what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar over images that are decoded or embedded, or over comparisons; a line each minute where the output is no terminal. Yields
    the function to call with (done, all), from one thread at a time.
    """
    if not console.is_terminal:
        yield _lines_of(console, what)
        return
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=None), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _lines_of(console: Console, what: str) -> Callable[[int, int], None]:
    said = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal said
        if time.monotonic() - said >= LINE_SECONDS:
            said = time.monotonic()
            say(console, f"{what}: {done:,} of {total:,} ({done / max(total, 1):.0%})")

    return tell
