"""The values of one run: the defaults a page shows, the sections of params.yaml, and overrides."""

import ast
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from miewid_lib.errors import PageError
from miewid_lib.pages import code_cells, tags

KINDS = {bool: "yes/no", int: "number", float: "number", str: "text", list: "list", dict: "table"}


def literals(nb: NotebookNode, page: Path, tag: str = "parameters") -> dict[str, Any]:
    """Return name -> value of the one cell tagged `tag`; PageError unless all are literals."""
    cells = [cell for cell in code_cells(nb) if tag in tags(cell)]
    if len(cells) != 1:
        raise PageError(f"{page}: needs exactly one cell tagged {tag}, has {len(cells)}")
    try:
        nodes = ast.parse(cells[0].source).body
        pairs = [(target.id, node.value) for node in nodes for target in node.targets]
        return {name: ast.literal_eval(value) for name, value in pairs}
    except (AttributeError, SyntaxError, ValueError):
        raise PageError(f"{page}: the {tag} cell may hold only lines `name = literal`") from None


def merge(
    defaults: dict[str, Any],
    table: dict[str, dict[str, Any]],
    sections: list[str],
    overrides: dict[str, Any],
) -> dict[str, Any]:
    """Return a value for every name of `defaults`; later sections win, `overrides` win over all.

    The last section is the stage's own, each of its keys must be a name; the earlier ones (and
    `base` anywhere) lend what is used. Raises PageError at unknown, missing or ill-typed values.
    """
    values: dict[str, Any] = {}
    for section in sections:
        if not isinstance(table.get(section), dict):
            raise PageError(f"params.yaml has no section {section!r}")
        unknown = [name for name in table[section] if name not in defaults]
        if unknown and section == sections[-1] and section != "base":
            raise PageError(f"{section}.{unknown[0]} of params.yaml is not in the parameters cell")
        values |= {name: value for name, value in table[section].items() if name in defaults}
    if unknown := [name for name in overrides if name not in defaults]:
        raise PageError(f"--set {unknown[0]}: no such name in the parameters cell")
    values |= overrides
    for name, default in defaults.items():
        if name not in values:
            raise PageError(f"{name}: neither in {sections} of params.yaml nor given by --set")
        _check_kind(name, values[name], default)
    return {name: values[name] for name in defaults}


def _check_kind(name: str, value: Any, default: Any) -> None:
    try:
        plain = ast.literal_eval(repr(value)) == value
    except (SyntaxError, ValueError):  # a date, nan
        plain = False
    if not plain:
        raise PageError(f"{name}: {value!r} cannot be written as a literal, quote it")
    if None not in (value, default) and KINDS[type(value)] != KINDS[type(default)]:
        hint = " (YAML reads 1e-3 as text, write 1.0e-3)" if isinstance(value, str) else ""
        raise PageError(f"{name}: {value!r} is not a {KINDS[type(default)]} like {default!r}{hint}")
