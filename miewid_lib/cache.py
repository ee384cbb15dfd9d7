"""A check that DVC does not make: does each file of its cache still hold the bytes it is named by?

DVC hands out a damaged cache file without a word. `python -m miewid_lib.cache` names such files
(exit 1), with `--delete` it also removes them; `dvc pull` or `dvc repro` then makes them again.
"""

import argparse
import hashlib
import re
import sys
from pathlib import Path

from miewid_lib.errors import MiewidError
from miewid_lib.paths import need

NAME = re.compile(r"[0-9a-f]{30}(\.dir)?")  # the rest of the md5; two digits are in the folder


def cached_files(cache: Path) -> list[Path]:
    """Return the content-named files of a DVC cache, sorted; half-written ones have other names."""
    return sorted(path for path in cache.glob("files/md5/??/*") if NAME.fullmatch(path.name))


def is_whole(path: Path) -> bool:
    """Tell whether the md5 of a cached file equals its name."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
    return digest.hexdigest() == path.parent.name + path.name.removesuffix(".dir")


def verify_cache(cache: Path) -> list[Path]:
    """Return the damaged files of a DVC cache folder; StageError where there is no such folder."""
    files = cached_files(need(cache, made_by="dvc pull or dvc repro"))
    return [path for path in files if not is_whole(path)]


def main(argv: list[str] | None = None) -> int:
    """Command line: `--delete` removes what is damaged, `--cache` names another folder."""
    parser = argparse.ArgumentParser(prog="miewid_lib.cache", description=__doc__.split("\n")[0])
    parser.add_argument("--cache", type=Path, default=Path(".dvc/cache"))
    parser.add_argument("--delete", action="store_true", help="remove the damaged files")
    args = parser.parse_args(argv)
    try:
        damaged = verify_cache(args.cache)
    except MiewidError as error:
        print(error, file=sys.stderr)
        return 2
    n_files = len(cached_files(args.cache))
    for path in damaged:
        print(f"damaged{', deleted' if args.delete else ''}: {path}", file=sys.stderr)
        if args.delete:
            path.unlink()
    print(f"{args.cache}: {n_files} files, {len(damaged)} damaged")
    return int(bool(damaged))


if __name__ == "__main__":
    sys.exit(main())
