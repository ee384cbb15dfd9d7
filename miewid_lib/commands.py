"""What `python -m miewid_lib` does: each command takes its parsed arguments, returns its exit code.

0: done; 1: done, but photos were skipped or are at fault; errors of `miewid_lib.errors` are left to
the caller. What people read goes to stderr, results to files.
"""

import argparse
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from miewid_lib.errors import AnnotationError, ImageError, RetrievalError, WeightsError
from miewid_lib.sources import coco, folders

SHOWN = 10  # skipped photos on the terminal; all are in the table of skipped ones


def embed(args: argparse.Namespace) -> int:
    """Embed photos into a file; report those that cannot be used and go on."""
    return _embed(args, args.photos, args.out)[1]


def match(args: argparse.Namespace) -> int:
    """Write the most similar catalogue photos of every query."""
    from miewid_lib import matching

    (queries, faults), (catalogue, more) = (
        _embeddings(args, path, name)
        for path, name in ((args.queries, "queries"), (args.catalogue, "catalogue"))
    )
    choice = {"top": args.top, "across_species": args.across_species, "one_each": args.one_each}
    table = matching.matches(queries, catalogue, **choice)
    _write_csv(table, args.out, float_format="%.4f")
    n_alone = len(queries[0]) - table["query"].nunique()
    alone = f", {n_alone} without any candidate" if n_alone else ""
    _say(f"{args.out}: {table['query'].nunique()} queries with up to {args.top} candidates{alone}")
    return max(faults, more)


def photo_table(photos: Path, species: str) -> tuple[pd.DataFrame, Path]:
    """Return the annotation table of a file or folder of photos, and the folder its paths start at.

    photos: `annotations.json` or `.csv`, a folder with one, or plain folders, all of `species`.
    Raises AnnotationError.
    """
    if photos.is_file():
        return coco.read(photos), photos.parent
    if not photos.is_dir():
        raise AnnotationError(f"{photos}: no such file or folder")
    table = folders.read_any(photos, species=species)
    if not len(table):
        raise AnnotationError(f"{photos}: no annotation in it")
    return table, photos


def _embed(args: argparse.Namespace, photos: Path, out: Path) -> tuple[Path, int]:
    from miewid_lib import embedding, models, store, weights

    store.check_name(out)
    table, root = photo_table(photos, args.species)
    net = models.load(args.model, revision=args.revision)
    size_px = args.size_px or net.size_px
    if size_px is None:
        raise WeightsError(f"{args.model}: does not say for which photos it is, give --size-px")
    file = weights.find(args.model, args.revision, allow_pickle=False)
    model, parts = embedding.file_digest(file), out.with_name(out.name + ".parts")
    options = {"size_px": size_px, "model": model, "threads": args.threads}
    paths = embedding.to_parts(net, table, root, parts, **options)
    reasons = np.concatenate([embedding.read_part(path)[1] for path in paths])
    good = reasons == ""
    _report(table[~good].assign(reason=reasons[~good]), out)
    if not good.any():
        raise ImageError(f"{photos}: none of {len(table)} photos can be read")
    vectors = (part for path in paths if len(part := embedding.read_part(path)[0]))
    store.write(out, table[good], vectors, model=f"{model} {size_px} px")
    shutil.rmtree(parts)
    _say(f"{out}: {good.sum()} of {len(table)} photos, {net.embedding_size} numbers each")
    return out, int(not good.all())


def _embeddings(args: argparse.Namespace, path: Path, name: str) -> tuple:
    """Table, vectors and model of a file, of all files of a folder, or of photos embedded now."""
    from miewid_lib import store

    faults = 0
    if path.is_dir() and args.model:
        path, faults = _embed(args, path, args.out.with_suffix(f".{name}.npz"))
    files = [path]
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in (".npz", ".parquet"))
    if not files:
        raise RetrievalError(f"{path}: no embeddings in it; give --model to embed its photos")
    tables, vectors, made_by = zip(*map(store.read, files), strict=True)
    if len(set(made_by)) > 1 or len({part.shape[1] for part in vectors}) > 1:
        raise RetrievalError(f"{path}: its files were embedded by different models")
    return (pd.concat(tables, ignore_index=True), np.concatenate(vectors), made_by[0]), faults


def _report(skipped: pd.DataFrame, out: Path) -> None:
    """Say which photos were skipped and why, and keep them all in a table beside `out`."""
    path = out.with_suffix(".skipped.csv")
    path.unlink(missing_ok=True)
    if skipped.empty:
        return
    for reason in skipped["reason"].head(SHOWN):
        _say(f"skipped: {reason}")
    if len(skipped) > SHOWN:
        _say(f"and {len(skipped) - SHOWN} more")
    _write_csv(skipped[["annotation_id", "image_path", "reason"]], path)
    _say(f"{path}: {len(skipped)} photos that were skipped")


def _write_csv(table: pd.DataFrame, path: Path, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    table.to_csv(partial, index=False, lineterminator="\n", **options)
    partial.replace(path)


def _say(text: str) -> None:
    print(text, file=sys.stderr)
