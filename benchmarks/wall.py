"""The wall time of the whole pipeline, split into network time and everything else.

Network time is when at least one loop that trains or applies a network showed its progress bar.
The rest is drawing, decoding, splits, bootstrap, figures, the start of kernels, DVC and weaving.
"""

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from miewid_lib import scales
from miewid_lib.paths import ROOT

DONE = re.compile(r"(?P<label>[^|]*): 100%\|.*\[(?P<elapsed>[\d:]+)<")
NO_NETWORK = ("drawing encounters",)  # labels of progress bars


def intervals(lines: Iterable[tuple[float, str]]) -> list[tuple[float, float]]:
    """Return start and end in seconds of each network loop, from (time of arrival, line) pairs.

    >>> intervals([(70.0, "all species, seed 0: 100%|###| 10/10 [01:05<00:00, 6.5s/it]")])
    [(5.0, 70.0)]
    """
    first: dict[str, float] = {}
    for at_s, line in lines:  # a bar that is drawn again is as old as its first picture
        first.setdefault(line.strip(), at_s)
    bars = [(at_s, DONE.match(line)) for line, at_s in first.items()]
    return [
        (at_s - _seconds(bar["elapsed"]), at_s)
        for at_s, bar in bars
        if bar and bar["label"] not in NO_NETWORK
    ]


def _seconds(clock: str) -> float:
    parts = [int(part) for part in reversed(clock.split(":"))]
    return float(sum(part * 60**i for i, part in enumerate(parts)))


def union_s(pairs: Iterable[tuple[float, float]]) -> float:
    """Seconds that lie in at least one interval.

    >>> union_s([(0.0, 2.0), (1.0, 3.0), (5.0, 6.0)])
    4.0
    """
    total, reached = 0.0, float("-inf")
    for start, end in sorted(pairs):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def watch(command: list[str], folder: Path) -> list[tuple[float, str]]:
    """Run a command in `folder`; return each line of its output with the time it came.

    The command imports the library from `folder`, not the one that this benchmark uses.
    """
    lines, rest = [], b""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    variables = scales.environment(folder)
    with subprocess.Popen(command, cwd=folder, env=variables, **pipes) as process:
        while chunk := process.stdout.read1(65536):
            *whole, rest = re.split(rb"[\r\n]", rest + chunk)
            lines += [(time.perf_counter(), line.decode(errors="replace")) for line in whole]
            lines += [(time.perf_counter(), rest.decode(errors="replace"))]  # a bar ends late
    if process.returncode:
        sys.exit("\n".join(line for _, line in lines[-20:]))
    return lines


def _ours(folder, scale: str):
    workspace = scales.workspace("tiny", folder / "book")
    if scale == "classroom":
        shutil.copyfile(ROOT / "params.yaml", workspace / "params.yaml")

    def work():
        start = time.perf_counter()
        lines = watch([sys.executable, "-m", "dvc", "repro"], workspace)
        all_s = time.perf_counter() - start
        network_s = union_s(intervals(lines))
        stages = sum(line.startswith("Running stage") for _, line in lines)
        facts = {"stages": stages, "network s": round(network_s)}
        facts |= {"rest s": round(all_s - network_s)}
        return lambda: facts | {"rest, share": round(1 - network_s / all_s, 3)}

    return work


OURS = {"dvc repro": _ours}
PEERS: dict = {}
LIMITS: dict = {}
