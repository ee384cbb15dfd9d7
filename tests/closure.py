"""Which files a piece of code needs: imports found by reading it, also inside functions."""

import ast
from pathlib import Path

from miewid_lib.paths import ROOT


def imported_names(source: str) -> set[str]:
    """Dotted names a source imports; `from a import b` gives both `a` and `a.b`."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not used here"
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def library_files(source: str) -> set[str]:
    """Files of miewid_lib that a source needs, directly or through one another."""
    found: set[str] = set()
    sources = [source]
    while sources:
        for name in imported_names(sources.pop()):
            file = Path(*name.split(".")).with_suffix(".py")
            if name.startswith("miewid_lib.") and (ROOT / file).is_file():
                if file.as_posix() not in found:
                    sources.append((ROOT / file).read_text())
                found.add(file.as_posix())
    return found


def packages(source: str) -> set[str]:
    """Top-level packages outside the book that a source imports, itself or through miewid_lib."""
    sources = [source, *((ROOT / file).read_text() for file in library_files(source))]
    return {name.partition(".")[0] for text in sources for name in imported_names(text)}
