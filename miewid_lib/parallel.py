"""Several training runs at once, each in a process of its own, and what a process keeps.

Small networks leave threads waiting for each other: two runs with a thread each finish a third
sooner than one after the other with two threads.
"""

import ctypes
import signal
import sys
from collections.abc import Callable, Iterable
from typing import Any


def starmap(function: Callable, jobs: Iterable[tuple], *, threads: int) -> list[Any]:
    """Return [function(*job) for job in jobs], up to `threads` of them at once.

    Each process gets an equal part of the threads for torch; a single job keeps them all and runs
    in this process. An error of any job ends the others. The result is the same whichever job ends
    first, if `function` draws random numbers from seeds of its own.
    """
    jobs = list(jobs)
    n = min(threads, len(jobs))
    if n < 2:
        return [function(*job) for job in jobs]
    from joblib import Parallel, delayed  # sends functions of a notebook, too (cloudpickle)

    each = {"initializer": settle, "initargs": (threads // n,)}
    pool = Parallel(n_jobs=n, batch_size=1, pre_dispatch="all", **each)
    return pool(delayed(function)(*job) for job in jobs)


def settle(threads: int) -> None:
    """Give a worker process its threads, and let it end with the one that started it."""
    import torch

    torch.set_num_threads(threads)
    if sys.platform == "linux":  # no worker outlives the page
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def keep_memory() -> None:
    """Keep what this process frees, up to 2 GB, for its next request (glibc; elsewhere nothing).

    Each step of a network asks for the same large blocks again. By default they go back to the
    system in between, and clearing them anew costs a small network up to a tenth of its time.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(-4, 0)  # M_MMAP_MAX: large blocks come from the heap, too
        mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD, in bytes
