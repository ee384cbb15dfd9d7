"""What the front door promises is what the repository holds."""

import re

import pandas as pd
import pytest

from miewid_lib import readme
from miewid_lib.paths import ROOT

TEXT = (ROOT / "README.md").read_text()


def test_results_are_those_of_the_tables():
    assert readme.fill(TEXT, readme.results(ROOT)) == TEXT, "run python -m miewid_lib.readme"


def test_filling_keeps_everything_around_the_markers():
    text = f"before\n{readme.START}\nold\n{readme.END}\nafter\n"
    assert readme.fill(text, "new") == f"before\n{readme.START}\nnew\n{readme.END}\nafter\n"


def test_a_scale_that_was_not_run_is_left_out(tmp_path):
    assert readme.results(tmp_path) == ""


def test_numbers_come_from_the_tables(tmp_path):
    folder = tmp_path / "reports" / "tables"
    folder.mkdir(parents=True)
    row = {"seed": "mean", "n_identities": 3, "n_queries": 9, "n_species": 1, "chance_top1": 0.25}
    row |= {"top1": 0.125, "top1_low": 0.1, "top1_high": 0.2}
    scores = [row | {"model": m, "species": s} for s in ("koi", "mean") for m in readme.MODELS]
    pd.DataFrame(scores).to_csv(folder / "evaluate.csv", index=False)
    gain = {"model_b": "single", "species": "mean", "difference": -0.031}
    gain |= {"difference_low": -0.06, "difference_high": 0.01}
    pd.DataFrame([gain]).to_csv(folder / "figure1.csv", index=False)
    block = readme.results(tmp_path)
    assert "| koi | 3 | 9 | 25.0 |" in block and block.count("12.5 (10 to 20)") == 8
    assert "-3.1 over `single` (-6.0 to +1.0)" in block


def test_claims_stand_side_by_side_and_empty_cells_stay_empty(tmp_path):
    row = {"claim": "a beats b", "ours": 1.25, "low": 0.5, "high": 2.0, "paper": 12.5}
    row |= {"verdict": "replicated", "note": "interval above zero"}
    bare = dict.fromkeys(("ours", "low", "high", "paper"), None)
    bare |= {"claim": "c beats d", "verdict": "not testable at this scale", "note": "no weights"}
    tables = {"x": pd.DataFrame([row, bare]).set_index("claim")}
    tables["y"] = tables["x"].assign(ours=[-1.0, None], verdict="not replicated")
    lines = readme._claims(tables).splitlines()
    assert lines[2].startswith("| a beats b | +12.5 | +1.2 (+0.5 to +2.0), replicated | -1.0 (")
    assert lines[3] == "| c beats d |  | not testable at this scale | not replicated |"


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target


@pytest.mark.parametrize("command", ["make reproduce", "make test"])
def test_the_two_commands_stand_on_the_first_screen_and_are_targets(command):
    assert command in "\n".join(TEXT.splitlines()[:25])
    assert re.search(rf"^{command.split()[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_ci_calls_the_test_command_of_the_readme():
    assert "make test" in (ROOT / ".ci" / "run").read_text()
