"""``map`` ahead of the consumer, in order: in worker processes, or in one background thread."""

from __future__ import annotations

import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from orthodrome.types import InputError

Task = TypeVar("Task")
Result = TypeVar("Result")

ENDING = (signal.SIGINT, signal.SIGTERM)


def map_in_processes(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    workers: int,
    prefetch: int = 2,
    start_method: str | None = None,
) -> Iterator[Result]:
    """``function`` of every task, in order, by ``workers`` processes with ``prefetch`` results ahead each.

    ``function`` must be picklable unless processes are forked. An InputError in a worker is raised here, with
    its message as it is, when its turn comes. The random state of the caller is not touched.
    """
    loader: DataLoader[Any] = DataLoader(
        _Calls(function),
        sampler=tasks,
        batch_size=None,
        collate_fn=_as_is,
        num_workers=workers,
        prefetch_factor=max(1, prefetch),
        multiprocessing_context=start_method or default_start_method(),
        worker_init_fn=_apart,
        generator=torch.Generator(),  # else each pass draws a number from torch's global state
    )
    with _signals_held():
        results = iter(loader)
    for result in results:
        if isinstance(result, InputError):
            raise result
        yield result


def map_in_thread(function: Callable[[Task], Result], tasks: Iterable[Task], ahead: int = 1) -> Iterator[Result]:
    """``function`` of every task, in order, computed by one thread up to ``ahead`` results early."""
    waiting: deque[Future[Result]] = deque()
    thread = ThreadPoolExecutor(max_workers=1)
    try:
        for task in tasks:
            waiting.append(thread.submit(function, task))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:  # also when the consumer stops early
        thread.shutdown(wait=True, cancel_futures=True)


def default_start_method() -> str:
    """``fork`` where it is safe: it starts at once and asks nothing of the caller's script. Else ``spawn``.

    A forked child must not inherit a CUDA context, nor the system libraries of macOS. Workers run one thread
    each, so they do not meet OpenMP's limits after a fork.
    """
    can_fork = sys.platform == "linux" and not torch.cuda.is_initialized()
    return "fork" if can_fork else "spawn"


def available_processors() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Calls(Dataset[Any], Generic[Task, Result]):
    """What `DataLoader` asks its workers for: ``self[task]``."""

    def __init__(self, function: Callable[[Task], Result]) -> None:
        self.function = function

    def __getitem__(self, task: Task) -> Result | InputError:
        # Raised, it would come back with a traceback in its message; returned, it stays what it is.
        try:
            return self.function(task)
        except InputError as error:
            return InputError(str(error))


@contextmanager
def _signals_held() -> Iterator[None]:
    """Signals that end a program wait, also for processes that are begun meanwhile, until these have left the group (`_apart`)."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows, where there are no groups to signal
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _apart(worker: int) -> None:
    """Leave the process group of the caller: a signal to all of it (Ctrl-C, or torchrun that ends a run) is for the caller to heed, who
    may still want a batch. Workers end with it.
    """
    if hasattr(signal, "pthread_sigmask"):
        os.setpgrp()
        while hasattr(signal, "sigtimedwait") and signal.sigtimedwait(ENDING, 0):
            pass  # what came before was for the group
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


def _as_is(result: Any) -> Any:
    return result
