"""What the paper's size would cost, stage by stage, from what the other cases measured."""

from benchmarks import loss
from benchmarks.paper_scale import N_ANNOTATIONS, N_INDIVIDUALS, N_SPECIES

TRAIN_SHARE, EPOCHS, SIZE_PX = 0.7, 30, 256  # params/paper.yaml; a test holds them equal
SEEDS, FOLDS = 2, 49
GPU_TFLOPS = 40  # sustained in bfloat16, an assumption: a tenth to an eighth of a large card's peak
HEAD = "| stage | items | each | all | bytes or memory |"
INTRO = f"""## Budget of the paper's scale

Costs of an item as measured above, times the paper's numbers: {N_ANNOTATIONS:,} annotations,
{N_INDIVIDUALS:,} individuals, {N_SPECIES} species, {SIZE_PX} px, {EPOCHS} epochs. Hours on graphics
cards are floating-point operations divided by {GPU_TFLOPS} tera a second, an assumption; forward
and backward together count three times the forward pass. Photos are taken to be those of the
loading case."""

PLAN = """### When the loss head does not fit

Its weights grow with the animals: {numbers:,} numbers at the paper's size, {head_gb:.1f} GB, four
times that with gradient and Adam's moments{measured}. Two ways out, neither needed at this size and
neither built. *Shard the classes*: each of n cards keeps the sub-centers of C / n identities,
gathers the features of the batch, and needs from the others only the largest logit and the sum of
exponentials of each photo; the result is exact. *Sample the classes*: a step uses the identities of
its batch and a random tenth of all others (partial FC, An et al. 2022), which is an approximation
to be checked on a tuning split."""


def plan(reports: dict[str, dict]) -> str:
    """Say what the loss head needs at the paper's size and what to do where that is too much."""
    numbers = N_INDIVIDUALS * loss.SUBCENTERS * loss.SIZE
    measured = ""
    for result in reports.get("loss_large", {"results": []})["results"]:
        ours = result["sides"][0]
        cost = f"{ours['seconds']:.1f} s and {ours['peak_mb'] / 1e3:.1f} GB"
        measured = f". Forward and backward took {cost} on the CPU, gradient included"
    return PLAN.format(numbers=numbers, head_gb=4 * numbers / 1e9, measured=measured)


def rows(reports: dict[str, dict]) -> list[list[str]]:
    """Rows of the budget from reports by file name; a stage whose case has not run is left out."""
    found = []
    if "loading" in reports:
        result = reports["loading"]["results"][-1]
        each_s = result["sides"][0]["seconds"] / result["sides"][0]["answer"]["photos"]
        size = f"{N_ANNOTATIONS * 3 * SIZE_PX**2 / 1e9:.0f} GB of crops"
        found.append(_row("decode and crop, once (CPU)", N_ANNOTATIONS, each_s, size))
    sides = {
        result["size"]["part"]: result["sides"][0]
        for result in reports.get("paper_scale_large", {"results": []})["results"]
        if "missing" not in result["sides"][0]
    }
    if "no network" in sides:
        side = sides["no network"]
        text = f"{side['seconds'] / 60:.1f} min measured"
        memory = f"{side['peak_mb'] / 1000:.1f} GB"
        found.append(["every stage without a network (CPU)", "1", "", text, memory])
    if "first steps" in sides:
        side = sides["first steps"]
        photos = int(TRAIN_SHARE * N_ANNOTATIONS) * EPOCHS
        hours = 3 * side["answer"]["gflop a photo"] * photos / GPU_TFLOPS / 1e3 / 3600
        weights = side["answer"]["million weights"]
        memory = f"{weights * 16 / 1e3:.1f} GB of weights, gradients and moments"
        for name, times in (
            ("one joint model", 1),
            ("joint and single, both seeds", 2 * SEEDS),
            ("joint models without a species", FOLDS),
        ):
            line = [f"train: {name} (card hours)", f"{times * photos:,}"]
            found.append([*line, "", f"{times * hours:.0f} h", memory])
    return found


def _row(name: str, n: int, each_s: float, size: str) -> list[str]:
    return [name, f"{n:,}", f"{1e3 * each_s:.1f} ms", f"{n * each_s / 3600:.1f} h", size]


def text(reports: dict[str, dict]) -> str:
    """Return the budget in Markdown, empty where nothing was measured."""
    found = rows(reports)
    if not found:
        return ""
    lines = [HEAD, "| --- | ---: | ---: | ---: | --- |", *(f"| {' | '.join(r)} |" for r in found)]
    return "\n\n".join([INTRO, "\n".join(lines), plan(reports)])
