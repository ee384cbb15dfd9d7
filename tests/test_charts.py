"""Charts: the table's numbers at their places, nothing covered, cut off or lost in grey."""

import io
from itertools import combinations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from PIL import Image

mpl.use("Agg")
import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure, SubFigure
from matplotlib.text import Text

from miewid_lib import chart_style, charts, figures
from miewid_lib.errors import ChartError

SPECIES = ["a long-named whale shark", "zebra", "koi"]
ENDS = ("difference", "difference_low", "difference_high")
STRANGERS = ("megadescriptor-t-224", "miewid-msv3")
TOGETHER = [  # models that one chart of the book shows
    ("imagenet", "single", "single_matched", "multispecies", "heldout"),
    ("finetuned", "scratch", "joint", "heldout"),
    ("efficientnetv2", "swinv2"),
    ("imagenet", "heldout", *STRANGERS),
]
MIN_GREY_STEP = 0.1  # of 0 (black) to 1 (white)
PAIR = dict(order=SPECIES, models=("single", "joint"))
LONG = dict(models=("heldout", "multispecies"), reference="imagenet", paper=-3.0)


def scores(*models, species=SPECIES, mean=True, seeds=(0,)):
    """A table of scores, each cell with a value of its own."""
    rows = []
    for seed in seeds:
        for m, model in enumerate(models):
            for i, name in enumerate([*species, *(["mean"] if mean else [])]):
                value = round(0.25 + 0.07 * m + 0.2 * i / len(species) + 0.03 * seed, 4)
                row = {"model": model, "species": name, "seed": seed, "chance_top1": 0.1}
                row |= {"top1": value, "top1_low": value - 0.2, "top1_high": value + 0.08}
                rows.append(row | {"n_annotations": np.nan if name == "mean" else 1100 + 100 * i})
    return pd.DataFrame(rows)


def differences(species=SPECIES):
    rows = [
        dict(zip(ENDS, (0.1 * i, 0.1 * i - 0.15, 0.1 * i + 0.1), strict=True)) | {"species": name}
        for i, name in enumerate(species)
    ]
    mean = dict(zip(ENDS, (0.205, -0.0141, 0.262), strict=True))
    return pd.DataFrame([*rows, mean | {"species": "mean"}])


def curve():
    rows = [
        {"n_own": n, "metric": metric, "species": name, "mean": mean, "chance": 0.05 * n}
        | {"low": mean - 0.1, "high": mean + 0.05}
        for metric, start in (("top1", 0.2), ("top5", 0.5))
        for s, name in enumerate([*SPECIES, "mean"])
        for n in (1, 2, 3, 5)
        for mean in [start + 0.05 * n + 0.02 * s]
    ]
    return pd.DataFrame(rows).sample(frac=1, random_state=0)  # in no order


def arrival():
    rows = [
        {"way": way, "share": share, "n_photos": 1000 * share, "chance_top1": 0.06}
        | {"top1": value, "top1_low": value - 0.1, "top1_high": value + 0.08}
        for k, way in enumerate(("joint", "finetuned", "scratch"))
        for share in (0.25, 0.5, 0.75, 1.0)
        for value in [0.5 - 0.1 * k + 0.2 * share]
    ]
    level = {"way": "heldout", "top1": 0.36, "top1_low": 0.3, "top1_high": 0.45}
    return pd.DataFrame([*rows, level | {"chance_top1": 0.06}])


def dumbbell(on=None, species=SPECIES, **given):
    given = {"models": ("single", "multispecies"), "paper": 12.5} | given
    table = scores("imagenet", "single", "multispecies", "heldout", species=species)
    return charts.dumbbell(table, differences(species), order=species, on=on, **given)


def poster():
    return charts.poster(
        [
            ("The catalogue", lambda part: charts.catalogue(curve(), on=part)),
            ("One model for all", dumbbell),
            ("A new species", lambda part: charts.growth(arrival(), on=part)),
            ("Unseen species", lambda part: dumbbell(part, **LONG)),
        ]
    )


MANY = [f"species number {i}" for i in range(49)]
MAKERS = {
    "scores": lambda: charts.scores(scores(*TOGETHER[0], *STRANGERS), order=SPECIES),
    "dumbbell": dumbbell,
    "dumbbell, long names": lambda: dumbbell(**LONG),
    "dumbbell, 49 species": lambda: dumbbell(species=MANY),
    "catalogue": lambda: charts.catalogue(curve()),
    "growth": lambda: charts.growth(arrival()),
    "seeds": lambda: charts.seeds(
        scores("single", "single_matched", "multispecies", seeds=(0, 1)), order=SPECIES
    ),
    "poster": poster,
}


@pytest.fixture(params=MAKERS)
def figure(request) -> Figure:
    return MAKERS[request.param]()


def png(figure: Figure, dpi: int = 50) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, **charts.PRINT | {"dpi": dpi})
    return buffer.getvalue()


def line(ax, label: str):
    (found,) = [line for line in ax.lines if line.get_label() == label and len(line.get_xdata())]
    return found


def points(ax, label: str) -> np.ndarray:
    return line(ax, label).get_xydata().astype(float)


def intervals(ax, colour: str) -> list[list[float]]:
    """The ends of the drawn intervals of one colour, sorted."""
    bars = [bar for bar in ax.collections if hasattr(bar, "get_segments")]
    bars = [bar for bar in bars if len(bar.get_color()) and to_hex(bar.get_color()[0]) == colour]
    ends = [segment.ravel() for bar in bars for segment in bar.get_segments()]
    return sorted(np.round(end, 6).tolist() for end in ends)


def shown_texts(figure: Figure) -> list[Text]:
    """Texts with something in them; of ticks, only those within the limits of their axis."""
    hidden = set()
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks():
                if not low <= tick.get_loc() <= high:
                    hidden |= {tick.label1, tick.label2}
    texts = figure.findobj(lambda artist: isinstance(artist, Text) and artist.get_visible())
    return [text for text in texts if text.get_text().strip() and text not in hidden]


def legends(figure: Figure) -> list:
    return [*figure.legends, *(legend for part in figure.subfigs for legend in part.legends)]


# nothing lost, nothing covered


def test_a_chart_is_closed_and_the_same_bytes_each_time(figure, request):
    first = png(figure)
    assert plt.get_fignums() == []  # else a page would show it twice
    assert png(figure) == first
    with mpl.rc_context():
        sns.set_theme(style="darkgrid", rc={"font.size": 20, "savefig.dpi": 99})
        again = MAKERS[request.node.callspec.params["figure"]]()
        assert png(again) == first, "the theme of a page must not change a chart"


def test_no_text_is_cut_off_or_written_over_another(figure):
    figure.draw_without_rendering()
    page = figure.bbox
    boxes = {text: text.get_window_extent() for text in shown_texts(figure)}
    for text, box in boxes.items():
        inside = page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1
        assert inside, text.get_text()
    for (a, box_a), (b, box_b) in combinations(boxes.items(), 2):
        assert not box_a.overlaps(box_b), f"{a.get_text()!r} on {b.get_text()!r}"


def test_legends_cover_no_panel_and_no_axis_label(figure):
    figure.draw_without_rendering()
    assert legends(figure)
    for legend in legends(figure):
        box = legend.get_window_extent()
        for ax in figure.axes:
            assert not box.overlaps(ax.get_tightbbox()), ax.get_title(loc="left")


def test_every_point_lies_within_its_panel(figure):
    figure.draw_without_rendering()
    n_points = 0
    for ax in figure.axes:
        panel = ax.get_window_extent()
        for drawn in (found for found in ax.lines if found.get_transform() == ax.transData):
            xy = drawn.get_xydata().astype(float)
            shown = ax.transData.transform(xy[np.isfinite(xy).all(axis=1)])
            assert all(panel.contains(*point) for point in shown), f"{drawn.get_label()}: {shown}"
            n_points += len(shown)
    assert n_points >= 12


def test_text_is_large_enough_to_be_projected(figure):
    assert min(text.get_fontsize() for text in shown_texts(figure)) >= 11


def test_print_is_sharp_light_and_without_software_or_date():
    data = png(dumbbell(), dpi=charts.PRINT["dpi"])
    with Image.open(io.BytesIO(data)) as image:
        assert set(image.info) == {"dpi"}
        assert image.width >= 3000
    assert len(data) < 300_000


# the visual language


@pytest.mark.parametrize("models", TOGETHER)
def test_models_of_one_chart_differ_in_grey_and_in_marker(models):
    styles = chart_style.styles(models).values()
    levels = sorted(chart_style.grey(style.colour) for style in styles)
    assert min(np.diff(levels)) >= MIN_GREY_STEP
    assert levels[-1] < 0.75, "too pale on white"
    assert len({style.marker for style in styles}) == len(models)


def seen_by_the_colour_blind(colours) -> list[np.ndarray]:
    """RGB as red-blind and green-blind people see it, by linear RGB (Machado and others, 2009)."""
    red_blind = [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]
    green_blind = [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]
    linear = np.array([to_rgb(colour) for colour in colours]) ** 2.2
    return [(linear @ np.transpose(m)).clip(0, 1) ** (1 / 2.2) for m in (red_blind, green_blind)]


TOLD_APART = [[style.colour for style in chart_style.styles(m).values()] for m in TOGETHER]
TOLD_APART += [list(figures.PART_COLOURS.values()), [figures.RIGHT, figures.WRONG, figures.QUERY]]


@pytest.mark.parametrize("colours", TOLD_APART, ids=" ".join)
def test_colours_of_one_picture_differ_for_the_colour_blind(colours):
    for seen in seen_by_the_colour_blind(colours):
        assert min(np.linalg.norm(a - b) for a, b in combinations(seen, 2)) > 0.15


def test_a_way_of_training_looks_like_its_model():
    assert charts.MODEL_STYLE["scratch"] == charts.MODEL_STYLE["single"]
    assert charts.MODEL_STYLE["joint"] == charts.MODEL_STYLE["multispecies"]


def test_unknown_models_are_drawn_in_grey_under_their_own_name():
    (ax,) = charts.scores(scores("imagenet", *STRANGERS), order=SPECIES).axes
    styles = chart_style.styles(["imagenet", *STRANGERS])
    for name in STRANGERS:
        assert len(points(ax, name)) == len(SPECIES) + 1
        assert len(set(to_rgb(styles[name].colour))) == 1
    assert chart_style.styles([f"m{i}" for i in range(30)])["m29"].label == "m29"


# the numbers


def test_scores_stand_at_their_numbers_with_chance_and_interval():
    table = scores("single", "multispecies").assign(n_species=7)
    (ax,) = charts.scores(table, order=SPECIES[::-1]).axes
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels == ["koi (1,300)", "zebra (1,200)", f"{SPECIES[0]} (1,100)", "mean of 7 species"]
    joint = table[table["model"] == "multispecies"].set_index("species")
    joint = 100 * joint.loc[[*SPECIES[::-1], "mean"], ["top1", "top1_low", "top1_high"]]
    drawn = points(ax, "one joint model")
    assert np.allclose(drawn, np.c_[joint["top1"], np.arange(4) + 0.2])
    ends = intervals(ax, charts.MODEL_STYLE["multispecies"].colour)
    assert np.allclose(
        np.array(ends)[:, [0, 2]], joint[["top1_low", "top1_high"]].sort_values("top1_low")
    )
    ticks = np.array(intervals(ax, "#000000"))  # each within its row
    assert np.allclose(ticks, [[10, i - 0.36, 10, i + 0.36] for i in range(4)])
    assert ax.get_ylim()[0] > ax.get_ylim()[1], "the first species stands on top"


def test_scores_take_models_in_the_given_order_and_skip_the_others():
    table = scores("single", "multispecies", "imagenet")
    (ax,) = charts.scores(table, order=SPECIES, models=["multispecies", "imagenet"]).axes
    assert ax.get_legend_handles_labels()[1] == ["one joint model", "ImageNet features", "chance"]


def test_dumbbell_joins_the_two_scores_of_each_species():
    left, _ = dumbbell(reference="imagenet").axes
    first, second = points(left, "one model a species"), points(left, "one joint model")
    joins = [j.get_xydata() for j in left.lines if to_hex(j.get_color()) == chart_style.RULE]
    assert np.allclose(joins, np.stack([first, second], axis=1))
    table = scores("imagenet", "single", "multispecies", "heldout")
    assert np.allclose(second[:, 0], 100 * table.loc[table["model"] == "multispecies", "top1"])
    hollow = line(left, "ImageNet features")
    assert hollow.get_markerfacecolor() == "white"
    assert np.allclose(hollow.get_xdata(), 100 * table.loc[table["model"] == "imagenet", "top1"])


def test_dumbbell_draws_difference_mean_band_and_paper_where_they_are():
    _, right = dumbbell().axes
    (diamond,) = [drawn for drawn in right.lines if drawn.get_marker() == "D"]
    assert diamond.get_xydata().tolist() == [[20.5, 3]]
    assert line(right, "mean +20.5").get_xdata() == [20.5, 20.5]
    (band,) = [p for p in right.patches if p.get_label() == "its 95 % interval, −1.4 to +26.2"]
    assert np.allclose([band.get_x(), band.get_x() + band.get_width()], [-1.41, 26.2])
    paper = line(right, "mean in the paper +12.5")
    assert paper.get_xdata() == [12.5, 12.5] and paper.is_dashed()
    bars = np.array(intervals(right, chart_style.INK))
    assert np.allclose(bars[:, [0, 2]], [[-15, 10], [-5, 20], [5, 30]])
    assert right.get_xlabel() == "one joint model\nminus one model a species"


def test_dumbbell_without_paper_mean_or_chance_leaves_them_out():
    table = scores("single", "multispecies", mean=False).drop(columns="chance_top1")
    alone = differences().query("species != 'mean'")
    figure = charts.dumbbell(table, alone, order=SPECIES, models=("single", "multispecies"))
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["one model a species", "one joint model"]


def test_a_species_without_score_or_interval_leaves_a_gap():
    table = scores("single", "multispecies", mean=False)
    table.loc[table["species"] == "zebra", ["top1_low", "top1_high"]] = np.nan
    table = table[(table["species"] != "koi") | (table["model"] != "single")]
    (ax,) = charts.scores(table, order=SPECIES).axes
    assert np.isfinite(points(ax, "one model a species")[:, 0]).tolist() == [True, True, False]


def test_catalogue_draws_mean_band_species_and_chance_over_whole_numbers():
    top1, top5 = charts.catalogue(curve()).axes
    assert [ax.get_title(loc="left") for ax in (top1, top5)] == ["Top-1 in %", "Top-5 in %"]
    label = "mean over species, 95 % interval"
    assert np.allclose(points(top1, label), [[1, 31], [2, 36], [3, 41], [5, 51]])
    assert np.allclose(points(top5, label), [[1, 61], [2, 66], [3, 71], [5, 81]])
    band = top1.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(21) and band[:, 1].max() == pytest.approx(56)
    thin = [found for found in top1.lines if found.get_label() == "each species"]
    assert sorted(found.get_ydata()[0] for found in thin) == pytest.approx([25, 27, 29])
    assert np.allclose(points(top1, "chance")[:, 1], [5, 10, 15, 25])
    assert top1.get_xticks().tolist() == [1, 2, 3, 5]


def test_growth_draws_each_way_a_little_apart_and_the_level_line():
    (ax,) = charts.growth(arrival()).axes
    ways = ("fine-tuned without the old data", "one model a species", "one joint model")
    drawn = np.stack([points(ax, way) for way in ways])  # [way, share, xy]
    assert np.allclose(drawn[1, :, 0], [25, 50, 75, 100])
    assert (np.diff(drawn[:, :, 0], axis=0) > 0.5).all()
    assert np.allclose(drawn[2, :, 1], [55, 60, 65, 70])
    ends = np.array(intervals(ax, charts.MODEL_STYLE["joint"].colour))
    assert np.allclose(ends[:, [1, 3]], [[45, 63], [50, 68], [55, 73], [60, 78]])
    assert line(ax, charts.MODEL_STYLE["heldout"].label).get_ydata() == [36, 36]
    assert line(ax, "chance").get_ydata()[0] == pytest.approx(6)
    assert ax.get_xticklabels()[0].get_text() == "25 %\n250 photos"


def test_seeds_are_joined_and_their_mean_gap_is_told():
    both = scores("single", "multispecies", seeds=(0, 1, 2))
    table = pd.concat([both, scores("imagenet")])
    figure = charts.seeds(table, order=SPECIES)
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    gap = "\nmean gap 6.0 points"
    assert titles == [f"one model a species{gap}", f"one joint model{gap}"]
    joins = [j for j in figure.axes[0].lines if to_hex(j.get_color()) == chart_style.RULE]
    assert np.allclose(joins[0].get_xdata(), [25, 28, 31])


def test_poster_has_letters_titles_and_each_chart_in_its_own_part():
    figure = poster()
    width, height = figure.get_size_inches()
    assert width > height
    titles = [part.get_suptitle() for part in figure.subfigs]
    assert [title[0] for title in titles] == list("ABCD")
    assert titles[1].endswith("One model for all")
    assert [len(part.axes) for part in figure.subfigs] == [2, 2, 1, 2]


def test_a_chart_draws_into_the_part_it_is_given():
    part = plt.figure(layout="constrained").subfigures(1, 1)
    assert isinstance(part, SubFigure)
    assert dumbbell(part) is part and len(part.axes) == 2
    plt.close("all")


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: charts.scores(scores("single"), order=[]), "`order` is empty"),
        (lambda: charts.scores(scores("single"), order=["yeti"]), "yeti"),
        (lambda: charts.scores(scores("single", seeds=(0, 1)), order=SPECIES), "one seed"),
        (lambda: charts.seeds(scores("single"), order=SPECIES), "two seeds"),
        (lambda: dumbbell(models=("single", "swinv2")), "swinv2: 0 scores"),
        (
            lambda: charts.dumbbell(
                scores("single", "joint"), pd.concat([differences()] * 2), **PAIR
            ),
            "one pair",
        ),
        (lambda: charts.poster([]), "one to four panels, not 0"),
    ],
)
def test_a_table_that_cannot_be_drawn_is_one_clear_line(draw, message):
    with pytest.raises(ChartError, match=message) as error:
        draw()
    assert "\n" not in str(error.value)
    plt.close("all")
