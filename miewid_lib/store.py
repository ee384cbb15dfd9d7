"""Files of embeddings, `.npz` or `.parquet`: vectors, the table they belong to, and of which model.

Written part by part, so that memory does not grow with the number of photos.
"""

import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from miewid_lib.errors import RetrievalError

TEXT = ("annotation_id", "image_path", "species", "individual", "viewpoint", "encounter")
NUMBERS = ("x", "y", "w", "h", "theta_rad")
"""Columns of the annotation table that a file keeps; text for nothing is empty."""

Embeddings = tuple[pd.DataFrame, np.ndarray, str]
FAULTS = (OSError, ValueError, LookupError, EOFError, zipfile.BadZipFile)


def write(path: Path, table: pd.DataFrame, vectors: Iterable[np.ndarray], *, model: str) -> None:
    """Write a row of `table` for each vector; same arguments, same bytes, and never half a file.

    vectors: float32 parts [n, D] that together have the length of `table`, at least one vector;
    model: digest of the weights. `.npz` needs numpy alone to be read (`vectors`, `model` and a
    one-dimensional array a column), `.parquet` (a column `vector`) needs pyarrow.
    Raises RetrievalError.
    """
    check_name(path)
    write_as = _write_parquet if path.suffix == ".parquet" else _write_npz
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    write_as(partial, _columns(table), vectors, model)
    partial.replace(path)


def check_name(path: Path) -> None:
    """Raise RetrievalError unless a file of this name can be written here."""
    if path.suffix not in (".npz", ".parquet"):
        raise RetrievalError(f"{path}: a file of embeddings ends in .npz or .parquet")
    if path.suffix == ".parquet":
        _pyarrow()


def read(path: Path) -> Embeddings:
    """Return table, vectors float32 [N, D] and model of a file of `write`, null where it was empty.

    Raises RetrievalError naming the file.
    """
    try:
        columns, vectors, model = (_read_parquet if path.suffix == ".parquet" else _read_npz)(path)
        table = pd.DataFrame(columns)
    except FAULTS as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise RetrievalError(f"{path}: not a file of embeddings ({reason})") from None
    if vectors.ndim != 2 or len(vectors) != len(table):
        raise RetrievalError(f"{path}: {len(table)} rows, but vectors of shape {vectors.shape}")
    text = table[list(TEXT)].astype("str")
    return table.assign(**text.mask(text == "")), vectors, model


def _columns(table: pd.DataFrame) -> dict[str, np.ndarray]:
    text = {name: table[name].fillna("").to_numpy(str) for name in TEXT}
    return text | {name: table[name].to_numpy(np.float64) for name in NUMBERS}


def _write_npz(path: Path, columns: dict, vectors: Iterable[np.ndarray], model: str) -> None:
    n, vectors = len(columns["x"]), iter(vectors)
    first = next(vectors)
    with zipfile.ZipFile(path, "w") as file:
        with file.open("vectors.npy", "w", force_zip64=True) as member:
            about = {"descr": "<f4", "fortran_order": False, "shape": (n, first.shape[1])}
            np.lib.format.write_array_header_1_0(member, about)
            member.write(first.astype("<f4").tobytes())
            for part in vectors:
                member.write(part.astype("<f4").tobytes())
        for name, values in {**columns, "model": np.array(model)}.items():
            with file.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, values, allow_pickle=False)


def _read_npz(path: Path) -> tuple[dict, np.ndarray, str]:
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
        columns = {name: file[name] for name in (*TEXT, *NUMBERS)}
        return columns, file["vectors"], str(file["model"])


def _write_parquet(path: Path, columns: dict, vectors: Iterable[np.ndarray], model: str) -> None:
    pa, parquet = _pyarrow()
    writer, start = None, 0
    for part in vectors:
        rows = slice(start, start + len(part))
        vector = pa.FixedSizeListArray.from_arrays(pa.array(part.ravel()), part.shape[1])
        parts = {name: pa.array(values[rows]) for name, values in columns.items()}
        table = pa.table({**parts, "vector": vector}).replace_schema_metadata({"model": model})
        writer = writer or parquet.ParquetWriter(path, table.schema)
        writer.write_table(table)
        start = rows.stop
    writer.close()


def _read_parquet(path: Path) -> tuple[dict, np.ndarray, str]:
    _, parquet = _pyarrow()
    table = parquet.read_table(path)
    columns = {name: table[name].to_numpy() for name in (*TEXT, *NUMBERS)}
    vectors = table["vector"].combine_chunks()
    size = vectors.type.list_size
    flat = vectors.flatten().to_numpy(zero_copy_only=False)
    return columns, flat.reshape(-1, size), table.schema.metadata[b"model"].decode()


def _pyarrow() -> tuple:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise RetrievalError("parquet needs pyarrow: pip install pyarrow, or use .npz") from None
    return pyarrow, parquet
