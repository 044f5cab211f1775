"""The files of a log, and what can be said of them before an engine reads them."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

Source = str | Path | Sequence[str | Path]

# Files that `find_files` leaves out, because they could not be read before.
EXCLUDED: ContextVar[frozenset[str]] = ContextVar("EXCLUDED", default=frozenset())


class UnreadableFileError(ValueError):
    """A file that cannot be read at all, whatever its rows hold."""

    def __init__(self, path: str | Path, message: str):
        super().__init__(message)
        self.path = str(path)


def find_files(source: Source, *patterns: str) -> list[str]:
    """The absolute paths of a file, of a list of files, or of the files of a folder.

    Args:
        source: a path, or several.
        patterns: which files of a folder are meant, such as `"log_*.csv"`.

    Raises:
        FileNotFoundError: a path that is not there, a folder without such files.
        UnreadableFileError: a packed file that cannot be unpacked.
        ValueError: no files are left.
    """
    sources = [source] if isinstance(source, (str, Path)) else source
    found = [file for path in sources for file in _files_of(path, patterns)]
    files = [file for file in found if str(file) not in EXCLUDED.get()]
    if not files:
        raise ValueError(f"None of the files can be read. Received: {list(map(str, found))[:20]}")
    packed = [file for file in files if file.suffix == ".gz"]
    with ThreadPoolExecutor() as pool:  # Unpacking runs outside of Python's lock.
        list(pool.map(_check_packed, packed))
    return [str(file) for file in files]


def _files_of(source: str | Path, patterns: Sequence[str]) -> list[Path]:
    path = Path(source).absolute()
    if path.is_dir():
        files = sorted({file for pattern in patterns for file in path.glob(pattern)})
        if not files:
            received = sorted(file.name for file in path.iterdir())
            raise FileNotFoundError(
                f"There is no file {' or '.join(patterns)} in the folder {path}. "
                f"Received: {received[:20]}"
            )
    elif path.is_file():
        files = [path]
    else:
        raise FileNotFoundError(f"There is no such file or folder. Received: {source}")
    return files


def _check_packed(path: Path) -> None:
    """DuckDB compares no checksums, and the engines find a cut-off file when half way through."""
    try:
        with gzip.open(path) as file:
            while file.read(1 << 20):
                pass
    except (OSError, EOFError, zlib.error) as error:
        raise UnreadableFileError(path, f"{path} cannot be unpacked. Received: {error}") from error


def first_line(path: str) -> str:
    """The first line of a text file, without byte order mark and line end.

    Raises:
        ValueError: an empty file.
    """
    with gzip.open(path) if path.endswith(".gz") else open(path, "rb") as file:
        line = file.readline(1 << 20).decode("utf-8-sig", errors="replace").rstrip("\r\n")
        if not line and not file.read(1 << 10).strip():
            message = f"In {path}: there are no events. Received an empty file."
            raise UnreadableFileError(path, message)
    return line


def parquet_columns(path: str) -> list[str]:
    """The names of a Parquet file's columns.

    Raises:
        ValueError: a file that is no Parquet, or that was cut off.
    """
    try:
        return pyarrow.parquet.ParquetFile(path).schema_arrow.names
    except (pa.ArrowException, OSError) as error:
        message = f"{path} cannot be read as Parquet. Received: {error}"
        raise UnreadableFileError(path, message) from error


def require_columns(received: Sequence[str], expected: Sequence[str], source: str) -> None:
    """Raises a ValueError about a column that is missing, there twice or not to be there."""
    for name in ("file", "problem", "row"):
        if name in received:
            raise ValueError(
                f"In {source}: a column cannot be called {name!r}, because a scan has a column of "
                f"that name. Received columns: {list(received)}"
            )
    for name in expected:
        if received.count(name) != 1:
            wrong = "must be there once" if name in received else "is missing"
            raise UnreadableFileError(
                source, f"In {source}: column {name!r} {wrong}. Received columns: {list(received)}"
            )
