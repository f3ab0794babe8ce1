"""What ``orthodrome study`` does with its arguments: everything is checked before the first cell, then processes share the grid."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import FrameType

import torch
from rich.console import Console

from orthodrome.data import ImageReader, open_reader
from orthodrome.data.decode import Size
from orthodrome.data.parallel import available_processors
from orthodrome.pipeline.evaluate import ProtocolData, protocol_images
from orthodrome.study.cell import Site
from orthodrome.study.faces import Decoded, decoded
from orthodrome.study.plan import Plan, load_plan
from orthodrome.study.rows import tables
from orthodrome.study.run import work
from orthodrome.study.settings import TEST
from orthodrome.training.telemetry import say
from orthodrome.types import InputError


@dataclass(frozen=True)
class Order:
    """The arguments of ``orthodrome study``, checked."""

    file: Path
    data: Path
    test: Path | None
    pairs: Path | None
    out: Path
    rows: Path
    budget: float | None
    only: tuple[str, ...]
    workers: int
    threads: int


STOPPED, FAILED = 130, 1


def run_study(order: Order) -> int:
    """Run the cells that are left, or those there is time for; returns the exit code: 0, `STOPPED` by a signal, or `FAILED` workers.

    Raises InputError for anything that cannot work, before the first cell.
    """
    plan = load_plan(order.file)
    _check(plan, order)
    if order.workers == 1:
        return 0 if run_worker(order) else STOPPED
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_worker_process, args=(order,)) for _ in range(order.workers)]

    def pass_on(number: int, frame: FrameType | None) -> None:
        for worker in workers:
            if worker.pid and worker.is_alive():
                worker.terminate()

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    codes = {worker.exitcode for worker in workers}
    stopped = {STOPPED, -signal.SIGTERM}  # passed on, in training and while a cell was judged
    return 0 if codes == {0} else STOPPED if codes <= {0, *stopped} else FAILED


def _worker_process(order: Order) -> None:
    """A worker of several: stopped by its parent's SIGTERM alone, as Ctrl-C reaches the whole group."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        raise SystemExit(0 if run_worker(order) else STOPPED)
    except InputError as error:
        say(Console(stderr=True), f"error: {error}")
        raise SystemExit(FAILED) from None


def run_worker(order: Order) -> bool:
    """Take cells in this process; False where a stop was asked for."""
    before = torch.get_num_threads()
    torch.set_num_threads(order.threads)
    plan, remark = load_plan(order.file), partial(say, Console(stderr=True))
    try:
        return work(plan, _site(order), tables(order.rows), only=order.only, budget=order.budget, say=remark)
    finally:
        torch.set_num_threads(before)


def _site(order: Order) -> Site:
    mapped = partial(_mapped, order.out / "cache")
    pairs = ProtocolData("lfw", order.test, order.pairs) if order.test and order.pairs else None
    return Site(mapped(order.data), mapped(order.test) if order.test else None, pairs, order.out, order.workers, order.threads)


def _mapped(folder: Path, path: Path) -> Callable[[Size], Decoded]:
    """The set of ``path`` at any size, opened when it is first asked for and decoded once."""

    @cache
    def reader() -> ImageReader:
        return open_reader(path)

    @cache
    def at(size: Size) -> Decoded:
        return decoded(reader(), size, folder, available_processors())

    return at


def _check(plan: Plan, order: Order) -> None:
    groups = [plan.group(name) for name in order.only] or list(plan.groups)
    judged_on_test = any(group.judge == TEST for group in groups)
    if (order.test is None) != (order.pairs is None):
        raise InputError("--eval and --pairs go together: the folder of test faces and the list of pairs")
    if judged_on_test and (order.test is None or order.pairs is None):
        raise InputError(f"{plan.path} is judged on test faces: give --eval (a folder as LFW) and --pairs")
    if order.test and order.pairs:
        protocol_images(ProtocolData("lfw", order.test, order.pairs))
    tables(order.rows).cells.read()
    open_reader(order.data)
