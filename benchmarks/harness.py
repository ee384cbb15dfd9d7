"""Measures ours and its peers in turn on the same inputs, each run in a process of its own.

A case is a module with OURS, PEERS and LIMITS, each {name: prepare}. `prepare(folder, **size)` gets
everything ready and returns what is timed; that returns a function, called after the clock has
stopped, which tells what came out. `make(folder, **size)`, where a case has it, writes inputs once.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib import import_module, metadata
from pathlib import Path
from statistics import median

from miewid_lib.paths import ROOT

QUICK = (  # case, size, repeats, with peers: less than ten minutes on two idle cores
    ("retrieval", {"n": 2000}, 3, True),
    ("retrieval", {"n": 10_000}, 3, True),
    ("loading", {"n": 60}, 3, True),
    ("embedding", {"n": 320}, 3, True),
    ("photos", {"n": 1000, "size_px": 72}, 3, True),
    ("photos", {"n": 200, "size_px": 224}, 3, True),
    ("training", {"n": 320, "epochs": 1, "seed": 0}, 3, True),
    ("loss", {"n_classes": 12_000}, 3, True),
    ("pipeline", {"task": "nothing to do"}, 3, True),
    ("pipeline", {"task": "start a page"}, 3, True),
    ("pipeline", {"task": "tangle"}, 3, True),
)
LARGE = (  # about two hours
    ("loss", {"n_classes": 37_138}, 3, True),
    ("photos", {"n": 10_000, "size_px": 112}, 1, True),
    ("photos", {"n": 10_000, "size_px": 224}, 1, True),
    ("paper_scale", {"part": "first steps"}, 1, True),
    ("paper_scale", {"part": "no network"}, 1, True),
    ("training", {"n": 1000, "epochs": 6, "seed": 0}, 1, True),  # long enough for a top-1 that
    ("training", {"n": 1000, "epochs": 6, "seed": 1}, 1, True),  # means something
    ("retrieval", {"n": 50_000}, 1, False),
    ("retrieval", {"n": 100_000}, 1, False),
    ("wall", {"scale": "classroom"}, 1, True),
)
TIMEOUT_S = {"quick": 120, "large": 3600}  # a peer that needs longer is named as too slow
ONCE = 3  # a peer that took so many times as long as ours is not asked again
PACKAGES = ("torch", "numpy", "pandas", "scikit-learn", "pillow", "torchvision", "faiss-cpu")
PACKAGES += ("pytorch-metric-learning", "wildlife-tools")


def sides(case: str) -> dict[str, str]:
    """Return {name: kind} of a case, kind being ours, peer or limit."""
    module = import_module(f"benchmarks.{case}")
    groups = {"ours": module.OURS, "peer": module.PEERS, "limit": module.LIMITS}
    return {name: kind for kind, group in groups.items() for name in group}


def run(case: str, name: str, folder: Path, size: dict, *, timeout_s: float = 3600) -> dict:
    """Run one side of a case in a fresh process: seconds, peak_mb above its inputs, answer.

    Where the process fails the result is {"missing": reason} instead.
    """
    command = [sys.executable, "-m", "benchmarks.harness", "--child", case, name]
    command += [str(folder), json.dumps(size)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    try:
        done = subprocess.run(command, env=environment, cwd=ROOT, timeout=timeout_s, **pipes)
    except subprocess.TimeoutExpired:
        return {"missing": f"took longer than {timeout_s:.0f} s"}
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    last = (done.stderr.strip().splitlines() or [f"ended by signal {-done.returncode}"])[-1]
    return {"missing": last.replace(str(folder), "").replace(str(ROOT), "")[:200]}


def child(case: str, name: str, folder: Path, size: dict) -> dict:
    """Prepare one side, then time it and watch its memory: what `run` returns."""
    module = import_module(f"benchmarks.{case}")
    work = (module.OURS | module.PEERS | module.LIMITS)[name](folder, **size)
    before = forget_peak()
    start = time.perf_counter()
    answer = work()
    seconds, peak = time.perf_counter() - start, peak_mb() - before
    return {"seconds": seconds, "peak_mb": max(0.0, peak), "answer": answer()}


def forget_peak() -> float:
    """Let the peak memory of this process start from now; return what is held now in MB."""
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")
    return peak_mb()


def peak_mb() -> float:
    """Largest resident memory of this process in MB; its own children are not counted."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(row for row in status.read_text().splitlines() if row.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS counts bytes


def ratios(runs: dict[str, list[dict]], ours: str) -> dict[str, float]:
    """Time of ours divided by that of each other side, median over the repeats; under 1 is faster.

    A side that ran less often than ours is compared with the first runs of ours.

    >>> ratios({"a": [{"seconds": 1}, {"seconds": 3}], "b": [{"seconds": 2}, {"seconds": 4}]}, "a")
    {'b': 0.625}
    """
    present = {name: part for name, part in runs.items() if "missing" not in part[-1]}
    pairs = {name: zip(present[ours], part, strict=False) for name, part in present.items()}
    return {
        name: median(mine["seconds"] / other["seconds"] for mine, other in both)
        for name, both in pairs.items()
        if name != ours
    }


def measure(case: str, size: dict, repeats: int, *, peers: bool, timeout_s: float = 3600) -> dict:
    """Run the sides of a case in turn, `repeats` times over; one row of the report."""
    kinds = sides(case)
    ours = next(name for name, kind in kinds.items() if kind == "ours")
    left_out = [] if peers else [{"missing": "not asked at this size"}]
    runs = {name: list(left_out) if kind == "peer" else [] for name, kind in kinds.items()}
    with tempfile.TemporaryDirectory() as folder:
        module = import_module(f"benchmarks.{case}")
        if hasattr(module, "make"):
            module.make(Path(folder), **size)
        for _ in range(repeats):
            for name, part in runs.items():
                if _again(part, runs[ours]):
                    part.append(run(case, name, Path(folder), size, timeout_s=timeout_s))
    if "missing" in runs[ours][-1]:
        sys.exit(f"{case} {size}: ours failed: {runs[ours][-1]['missing']}")
    times = ratios(runs, ours)
    rows = [_row(name, kinds[name], part, times.get(name)) for name, part in runs.items()]
    return {"size": size, "repeats": repeats, "sides": rows}


def _again(part: list[dict], mine: list[dict]) -> bool:
    """Whether to run a side once more: it worked, and was not far slower than ours."""
    if not part:
        return True
    return "missing" not in part[-1] and part[-1]["seconds"] < ONCE * mine[-1].get("seconds", 0)


def _row(name: str, kind: str, part: list[dict], ratio: float | None) -> dict:
    if "missing" in part[-1]:
        return {"name": name, "kind": kind, "missing": part[-1]["missing"]}
    row = {"name": name, "kind": kind}
    row["seconds"] = round(median(one["seconds"] for one in part), 4)
    row["seconds_all"] = [round(one["seconds"], 4) for one in part]
    row["peak_mb"] = round(median(one["peak_mb"] for one in part), 1)
    row["ours_over_this"] = None if ratio is None else round(ratio, 3)
    return row | {"answer": part[-1]["answer"]}


def machine() -> dict:
    """Facts of the machine and versions; nothing that names it."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    info = Path("/proc/cpuinfo")
    models = info.read_text().split("model name") if info.exists() else []
    model = models[1].splitlines()[0].strip(" \t:") if len(models) > 1 else platform.machine()
    versions = {"python": platform.python_version()}
    installed = {dist.metadata["Name"].lower() for dist in metadata.distributions()}
    versions |= {name: metadata.version(name) for name in PACKAGES if name in installed}
    threads = int(os.environ.get("OMP_NUM_THREADS", cores))
    busy = round(os.getloadavg()[0], 1)
    facts = {"cores": cores, "cpu": model, "threads": threads, "load_before": busy}
    return facts | {"versions": versions}


def write(path: Path, content: dict) -> None:
    """Write JSON under a temporary name, then rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(content, indent=1) + "\n")
    partial.replace(path)


def main() -> int:
    """Command line: run the cases, write a JSON file a case, the page and its plots."""
    parser = argparse.ArgumentParser(prog="benchmarks.harness", description=__doc__)
    parser.add_argument("--large", action="store_true", help="the large sizes instead (two hours)")
    parser.add_argument("--only", nargs="*", help="some cases alone")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        case, name, folder, size = args.child
        print(json.dumps(child(case, name, Path(folder), json.loads(size))))
        return 0
    facts, start = machine(), time.monotonic()
    plan = [row for row in (LARGE if args.large else QUICK) if not args.only or row[0] in args.only]
    results: dict[str, list[dict]] = {}
    folder = ROOT / "reports" / "benchmarks"
    options = {"timeout_s": TIMEOUT_S["large" if args.large else "quick"]}
    for case, size, repeats, peers in plan:
        began = time.monotonic()
        row = measure(case, size, repeats, peers=peers, **options)
        results.setdefault(case, []).append(row)
        print(f"{case} {size}: {time.monotonic() - began:.0f} s", flush=True)
        name = f"{case}_large.json" if args.large else f"{case}.json"
        write(folder / name, {"case": case, "machine": facts, "results": results[case]})
    from benchmarks import page

    page.write(folder)
    page.fill_readme(folder, ROOT / "README.md")
    print(f"all: {time.monotonic() - start:.0f} s, see reports/benchmarks/README.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
