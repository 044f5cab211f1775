"""The files of a log, and what can be said of them before an engine reads them."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet

Source = str | Path | Sequence[str | Path]

# Files that `find_files` leaves out, because they could not be read before.
EXCLUDED: ContextVar[frozenset[str]] = ContextVar("EXCLUDED", default=frozenset())
# What a line that is not UTF-8 begins with in the copy that is read in place of its file.
NOT_UTF8 = "\x1c"


class UnreadableFileError(ValueError):
    """A file that cannot be read at all, whatever its rows hold."""

    def __init__(self, path: str | Path, message: str):
        super().__init__(message)
        self.path = str(path)


def find_files(source: Source, *patterns: str) -> list[str]:
    """The absolute paths of one or several files, or of those of a folder that fit a pattern."""
    found: list[Path] = []
    for given in [source] if isinstance(source, (str, Path)) else source:
        path = Path(given).absolute()
        if not path.exists():
            raise FileNotFoundError(f"There is no such file or folder. Received: {given}")
        files = [path]
        if path.is_dir():
            files = sorted({file for pattern in patterns for file in path.glob(pattern)})
        if not files:
            received = sorted(file.name for file in path.glob("[!.]*"))[:20]
            raise FileNotFoundError(
                f"There is no file {' or '.join(patterns)} in the folder {path}. "
                f"Received: {received}"
            )
        found += files
    kept = [str(file) for file in found if str(file) not in EXCLUDED.get()]
    if not kept:
        raise ValueError(f"None of the files can be read. Received: {list(map(str, found))[:20]}")
    return kept


@contextmanager
def _open(path: str) -> Iterator[IO[bytes]]:
    try:
        with gzip.open(path) if path.endswith(".gz") else open(path, "rb") as file:
            yield file  # type: ignore[misc]
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UnreadableFileError(path, f"{path} cannot be unpacked. Received: {error}") from error


def first_line(path: str) -> str:
    """The first line of a text file that is not empty, without byte order mark and line end."""
    with _open(path) as file:
        start = file.read(1 << 20).removeprefix(codecs.BOM_UTF8)
    if not start.strip():
        message = f"In {path}: there are no events. Received an empty file."
        raise UnreadableFileError(path, message)
    return start.replace(b"\r", b"\n").split(b"\n", 1)[0].decode("utf-8", errors="replace")


def is_plain(path: str) -> bool:
    """Whether a text file is UTF-8 throughout, and no carriage return alone is among its newlines.

    Every byte is looked at. The engines compare no checksums, find a cut-off file when half way
    through, and lose text where line ends vary.
    """
    utf8 = codecs.getincrementaldecoder("utf-8")()
    decoder, is_utf8 = io.IncrementalNewlineDecoder(utf8, translate=False), True
    with _open(path) as file:
        chunk = b"\n"
        while chunk:
            chunk = file.read(1 << 22)
            try:
                if is_utf8:
                    decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError:
                is_utf8 = False  # What is left is read on, for the checksum.
    ends = decoder.newlines  # A tuple, where they vary.
    return is_utf8 and not (isinstance(ends, tuple) and "\r" in ends)


def _lines(path: str) -> Iterator[bytes]:
    """Lines without their ends: newlines, carriage returns, or both together."""
    with _open(path) as file:
        for line in file:
            yield from line.removesuffix(b"\n").removesuffix(b"\r").split(b"\r")


def write_plain(path: str, copy: str | Path) -> None:
    """Writes a copy that is plain: lines that are not UTF-8 begin with `NOT_UTF8` and say why."""
    with open(copy, "wb") as file:
        for line in _lines(path):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                text = line.decode(errors="replace")[:200]
                received = f"byte 0x{line[error.start]:02x} after {error.start} bytes of {text!r}"
                line = f"{NOT_UTF8}{received}".encode()
            file.write(line + b"\n")


def line_number(path: str, nth: int) -> int:
    """The number of the line that is the `nth`, from 1, of those that are not empty."""
    for number, line in enumerate(_lines(path), start=1):
        nth -= bool(line.removeprefix(codecs.BOM_UTF8))
        if nth <= 0:
            return number
    return number + nth


def parquet_columns(path: str) -> list[str]:
    """The names of a Parquet file's columns."""
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
