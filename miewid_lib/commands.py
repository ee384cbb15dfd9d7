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

from miewid_lib import annotations, images
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
    write_csv(table, args.out, float_format="%.4f")
    n_alone = len(queries[0]) - table["query"].nunique()
    alone = f", {n_alone} without any candidate" if n_alone else ""
    _say(f"{args.out}: {table['query'].nunique()} queries with up to {args.top} candidates{alone}")
    return max(faults, more)


def check(args: argparse.Namespace) -> int:
    """Print what there is and what is wrong with photos and table; 1 where photos are broken."""
    from miewid_lib import checkup

    table, root = photo_table(args.photos, args.species)
    report = checkup.report(table, root).dropna(axis=1, how="all")
    print(report.to_string(index=False, na_rep=""))
    if args.out:
        write_csv(report, args.out)
    broken = report["finding"].isin(["photo missing", "photo unreadable"])
    return int(report.loc[broken, "count"].sum() > 0)


def finetune(args: argparse.Namespace) -> int:
    """Fine-tune a network on photos of one's own animals and keep the best epoch."""
    import torch

    from miewid_lib import finetuning, models
    from miewid_lib.progress import progress

    torch.set_num_threads(args.threads)
    net = models.load(args.model, revision=args.revision)
    if not isinstance(net, models.EmbeddingNet):
        raise WeightsError(f"{args.model}: a network in timm's layout cannot be fine-tuned here")
    size_px = args.size_px or _size_px(net, args.model)
    options = {"seed": args.seed, "validation_share": args.validation_share}
    table, dropped, root = training_table(args.photos, args.species, args.lateral, **options)
    _report(dropped, args.out)
    stages = finetuning.stages(
        frozen_epochs=args.frozen_epochs, epochs=args.epochs, lr_max=args.lr_max
    )
    options = {"stages": stages, "batch_size": args.batch_size, "seed": args.seed}
    options |= {"precision": args.precision}
    crops, parts = images.crops(table, root, size_px=size_px), args.out.with_suffix(".parts")
    folder = finetuning.run_folder(parts, net, crops, table, *options.values())
    rows = finetuning.run(net, crops, table, folder, **options)
    log = pd.DataFrame(progress(rows, total=args.frozen_epochs + args.epochs, label="fine-tuning"))
    best = models.load(folder / finetuning.BEST)
    models.save(best, args.out, size_px=size_px, species=set(table["species"]))
    write_csv(log, args.out.with_suffix(".csv"))
    shutil.rmtree(parts)
    kept = finetuning.best_row(log)
    facts = f"epoch {kept['epoch']}, validation top-1 {kept['validation_top1']:.3f}"
    _say(f"{args.out}: {facts} (at the start {log['validation_top1'].iloc[0]:.3f})")
    return int(dropped["reason"].str.startswith("photo").any())


def training_table(
    photos: Path, species: str, lateral: list[str], *, seed: int, validation_share: float
) -> tuple[pd.DataFrame, pd.DataFrame, Path]:
    """Return the split table of the usable photos, the dropped rows with reasons, and the folder.

    Raises AnnotationError, and SplitError where there are too few animals or encounters.
    """
    from miewid_lib import splits

    table, root = photo_table(photos, species)
    table = annotations.fill_encounters(annotations.set_identity(table, lateral=lateral))
    table, dropped = annotations.clean(table, root, min_side_px=8)
    table = splits.split(table, seed=seed, train_share=1 - validation_share)
    return table, dropped, root


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
    size_px = args.size_px or _size_px(net, args.model)
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


def _size_px(net, name: str) -> int:
    if net.size_px is None:
        raise WeightsError(f"{name}: does not say how large its photos are, give --size-px")
    return net.size_px


def _report(skipped: pd.DataFrame, out: Path) -> None:
    """Say which photos were skipped and why, and keep them all in a table beside `out`."""
    path = out.with_suffix(".skipped.csv")
    path.unlink(missing_ok=True)
    if skipped.empty:
        return
    for row in skipped.head(SHOWN).itertuples():
        _say(f"skipped {row.annotation_id!r}: {row.reason}")
    if len(skipped) > SHOWN:
        _say(f"and {len(skipped) - SHOWN} more")
    write_csv(skipped[["annotation_id", "image_path", "reason"]], path)
    _say(f"{path}: {len(skipped)} photos that were skipped")


def write_csv(table: pd.DataFrame, path: Path, **options) -> None:
    """Write a table under a temporary name, then rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    table.to_csv(partial, index=False, lineterminator="\n", **options)
    partial.replace(path)


def _say(text: str) -> None:
    print(text, file=sys.stderr)
