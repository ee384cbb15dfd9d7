"""A progress bar for long loops: on the terminal of whoever started the page, never in the page."""

import multiprocessing
import os
import sys
from collections.abc import Iterable, Iterator
from typing import TextIO, TypeVar

Item = TypeVar("Item")


def progress(iterable: Iterable[Item], *, total: int | None = None, label: str) -> Iterator[Item]:
    """Yield the items of `iterable` while a bar shows label, count and remaining time.

    The press puts the path of its own terminal into the environment variable MIEWID_PROGRESS; where
    that cannot be opened there is no bar. Without it (JupyterLab, Python) the bar goes to stderr.
    """
    target = os.environ.get("MIEWID_PROGRESS")
    if target is None:
        yield from _bar(iterable, total, label, sys.stderr)
        return
    try:
        stream = open(target, "a")  # noqa: SIM115, the loop below closes it
    except OSError:  # a socket, another user's terminal, or a system without /proc
        yield from iterable
        return
    with stream:
        yield from _bar(iterable, total, label, stream)


def _bar(iterable: Iterable[Item], total: int | None, label: str, file: TextIO) -> Iterable[Item]:
    from tqdm import tqdm

    every_s = 0.1 if file.isatty() else 10.0  # a log file needs a sign of life, not a film
    number = multiprocessing.current_process().name.rpartition("-")[2]  # LokyProcess-2: second line
    line = (int(number) - 1) % 8 if number.isdigit() and file.isatty() else 0
    return tqdm(
        iterable,
        desc=label,
        total=total,
        file=file,
        position=line,
        dynamic_ncols=True,
        mininterval=every_s,
        maxinterval=max(every_s, 10.0),
    )
