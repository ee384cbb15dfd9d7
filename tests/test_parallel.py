"""Jobs in processes of their own: order, threads, errors, and nobody left behind."""

import os
import platform
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from miewid_lib.parallel import starmap


def test_results_come_in_the_order_of_the_jobs_whichever_ends_first():
    def slow_first(i: int, pause_s: float) -> tuple[int, int]:  # a function of a page, not a module
        time.sleep(pause_s)
        return i, os.getpid()

    results = starmap(slow_first, [(0, 0.6), (1, 0.0), (2, 0.0)], threads=2)
    assert [i for i, _ in results] == [0, 1, 2]
    assert os.getpid() not in {pid for _, pid in results}


def test_threads_are_dealt_out_and_a_single_job_stays_here():
    def where() -> tuple[int, int]:
        import torch

        return os.getpid(), torch.get_num_threads()

    assert {n for _, n in starmap(where, [(), ()], threads=2)} == {1}
    assert {n for _, n in starmap(where, [(), ()], threads=4)} == {2}
    assert [pid for pid, _ in starmap(where, [()], threads=2)] == [os.getpid()]
    assert [pid for pid, _ in starmap(where, [(), ()], threads=1)] == [os.getpid()] * 2
    assert starmap(where, [], threads=2) == []


def test_an_error_of_a_job_is_the_error_of_the_call():
    def third(i: int) -> float:
        return 1 / (2 - i)

    with pytest.raises(ZeroDivisionError):
        starmap(third, [(0,), (1,), (2,)], threads=2)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_no_process_outlives_a_page_that_is_killed(tmp_path):
    source = (
        "import os, time\n"
        "from pathlib import Path\n"
        "from miewid_lib.parallel import starmap\n"
        "def job(folder):\n"
        "    (Path(folder) / str(os.getpid())).touch()\n"
        "    time.sleep(60)\n"
        f"starmap(job, [({str(tmp_path)!r},)] * 2, threads=2)\n"
    )
    page = subprocess.Popen([sys.executable, "-c", source], stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < until:
        time.sleep(0.1)
    workers = [Path("/proc") / path.name for path in tmp_path.iterdir()]
    assert len(workers) == 2
    page.send_signal(signal.SIGKILL)
    page.wait()
    while any(map(running, workers)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(map(running, workers))


def running(process: Path) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


REQUESTS = """
import resource
from miewid_lib import parallel
keep and parallel.keep_memory()
for _ in range(20):
    bytearray(64 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt belongs to glibc")
def test_freed_memory_is_kept_for_the_next_request():
    """Each page of fresh memory is a fault: 64 MB twenty times, or once."""
    faults = {}
    for keep in (False, True):
        code = f"keep = {keep}\n{REQUESTS}"
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        faults[keep] = int(run.stdout)
    pages = (64 << 20) // resource.getpagesize()
    assert faults[False] - faults[True] > 10 * pages
