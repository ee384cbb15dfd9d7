"""The page of the benchmarks: a table and a plot for each case, from its JSON file alone."""

import json
from importlib import import_module
from pathlib import Path

from benchmarks import budget

COLOUR = {"ours": "#0b3c5d", "peer": "#f2b134", "limit": "#949ba3"}
START, END = "<!-- benchmarks -->", "<!-- /benchmarks -->"
HEAD = "| side | kind | seconds | ours / this | peak MB | what came out |"
INTRO = """# Benchmarks

Made by `make benchmark`. All sides of a case run in turn on the same inputs, each in a process of
its own. Seconds and peak memory (above the inputs) are medians over the repeats. `ours / this` is
the median ratio of a repeat: under 1, ours is faster. A limit does the unavoidable work alone."""


def write(folder: Path) -> None:
    """Write folder/README.md and a PNG a case from the JSON files in `folder`."""
    parts = [INTRO]
    found = sorted(folder.glob("*.json"))
    for path in found:
        report = json.loads(path.read_text())
        module = import_module(f"benchmarks.{report['case']}")
        plot(report, path.with_suffix(".png"))
        parts += [f"## {path.stem.replace('_', ' ')}", module.__doc__.strip()]
        parts += [_machine(report["machine"]), f"![{path.stem}]({path.stem}.png)"]
        parts += [table(result) for result in report["results"]]
    parts.append(budget.text({path.stem: json.loads(path.read_text()) for path in found}))
    (folder / "README.md").write_text("\n\n".join(part for part in parts if part) + "\n")


def summary(folder: Path) -> str:
    """Return a Markdown table of ratios for the README: the largest size of each case."""
    lines = ["| case | size | beside | ours / this | peak MB: ours, this |"]
    lines.append("| --- | --- | --- | ---: | ---: |")
    for path in sorted(folder.glob("*.json")):
        report = json.loads(path.read_text())
        for result in report["results"][-1:]:
            ours, *others = result["sides"]
            size = ", ".join(f"{name} = {value}" for name, value in result["size"].items())
            for side in (side for side in others if side.get("ours_over_this") is not None):
                memory = f"{ours['peak_mb']:.0f}, {side['peak_mb']:.0f}"
                name = f"{side['name']}{' (limit)' if side['kind'] == 'limit' else ''}"
                case = path.stem.replace("_", " ")
                ratio = f"{side['ours_over_this']:.2f}"
                lines.append(f"| {case} | {size} | {name} | {ratio} | {memory} |")
    facts = report["machine"]
    return "\n".join(lines) + f"\n\nEach case is one run of `make benchmark` on {_cores(facts)}."


def fill_readme(folder: Path, path: Path) -> None:
    """Put the summary between the marks of the README."""
    head, _, rest = path.read_text().partition(START)
    tail = rest.partition(END)[2]
    if tail:
        path.write_text(f"{head}{START}\n{summary(folder)}\n{END}{tail}")


def table(result: dict) -> str:
    """Return Markdown: one row a side; a side that could not run is named with its reason."""
    size = ", ".join(f"{name} = {value}" for name, value in result["size"].items())
    lines = [
        f"{size}; {result['repeats']} repeats",
        "",
        HEAD,
        "| --- | --- | ---: | ---: | ---: | --- |",
    ]
    for side in result["sides"]:
        start = f"| {side['name']} | {side['kind']} |"
        if "missing" in side:
            lines.append(f"{start} | | | did not run: {side['missing'].replace('|', ' ')} |")
            continue
        ratio = "" if side["ours_over_this"] is None else f"{side['ours_over_this']:.2f}"
        answer = ", ".join(f"{name} {value}" for name, value in side["answer"].items())
        lines.append(
            f"{start} {side['seconds']:.2f} | {ratio} | {side['peak_mb']:.0f} | {answer} |"
        )
    return "\n".join(lines)


def _cores(facts: dict) -> str:
    return f"{facts['cores']} cores ({facts['cpu']}), {facts['threads']} threads"


def _machine(facts: dict) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    return f"{_cores(facts)}; load before the run {facts['load_before']}. {versions}."


def plot(report: dict, path: Path) -> None:
    """Draw the seconds of each side as bars, a panel a size."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    results = report["results"]
    rows = max(len(result["sides"]) for result in results)
    size_in = (10, len(results) * (0.4 * rows + 1))
    fig, axes = plt.subplots(len(results), 1, figsize=size_in, squeeze=False, layout="constrained")
    for ax, result in zip(axes[:, 0], results, strict=True):
        ran = [side for side in result["sides"] if "missing" not in side][::-1]
        seconds = [side["seconds"] for side in ran]
        ax.barh([s["name"] for s in ran], seconds, color=[COLOUR[s["kind"]] for s in ran])
        ax.set(title=str(result["size"]).strip("{}"), xlabel="seconds (median)")
    fig.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(fig)
