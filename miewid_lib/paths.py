"""Where things are: every path in the book starts at ROOT, so a page runs from any folder."""

from pathlib import Path

from miewid_lib.errors import StageError

ROOT = Path(__file__).resolve().parents[1]
"""The folder that holds dvc.yaml and params.yaml."""


def need(path: Path, *, made_by: str) -> Path:
    """Return `path`, or raise StageError naming the chapter or command that makes it."""
    if not path.exists():
        shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
        raise StageError(f"{shown} is not there yet: run {made_by} first (dvc repro runs all)")
    return path


def reports(kind: str) -> Path:
    """Return the folder reports/<kind> (tables, figures, metrics), made if it is not there yet."""
    folder = ROOT / "reports" / kind
    folder.mkdir(parents=True, exist_ok=True)
    return folder
