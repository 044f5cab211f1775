"""Whole files to tables; what cannot be read is named by file and line."""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

LINE = "line"  # The index name of tables read from text: their rows are known by file line.


def existing_file(path: str | Path) -> Path:
    """The path of a file that is there."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no such file. Received: {path}")
    return path


def read_text(path: Path) -> bytes:
    """A text file's content as UTF-8, unpacked, without byte order mark or blank last lines.

    Text that is not UTF-8 is taken as Latin-1, the other encoding in which rating and listening
    logs are published.
    """
    content = path.read_bytes()
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path} cannot be unpacked. Received: {error}") from error
    content = content.removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n")
    if not content.strip():
        raise ValueError(f"In {path}: there are no events. Received an empty file.")
    content += b"\n"
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        content = content.decode("latin-1").encode("utf-8")
    return content


def read_delimited(
    content: bytes,
    source: str | Path,
    *,
    delimiter: str,
    names: Sequence[str] | None = None,
    text_columns: Sequence[str] = (),
    quoted: bool = False,
) -> pd.DataFrame:
    """A table of delimited text whose index is the line of each row.

    Args:
        content: what `read_text` returned.
        source: the file, for messages.
        delimiter: what stands between fields, one character or more.
        names: column names; by default the first line is a header.
        text_columns: columns to keep as text; the others' types are inferred.
        quoted: whether fields may stand in double quotes.

    Raises:
        ValueError: a line with another number of fields than the first, a blank line, or a
            quote that is not closed on its line.
    """
    blank = re.search(rb"\n\r?\n", content)
    if blank:
        line = content.count(b"\n", 0, blank.start()) + 2
        raise ValueError(f"In {source}, line {line}: expected values. Received a blank line.")
    character = delimiter
    if len(delimiter) > 1:
        character = "\t"
        content = content.replace(delimiter.encode(), character.encode())
    malformed: list[pyarrow.csv.InvalidRow] = []

    def remember(row: pyarrow.csv.InvalidRow) -> str:
        malformed.append(row)
        return "error"

    try:
        table = pyarrow.csv.read_csv(
            io.BytesIO(content),
            # Line numbers of malformed rows are only known to a single thread.
            read_options=pyarrow.csv.ReadOptions(use_threads=False, column_names=names),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=character,
                quote_char='"' if quoted else False,
                ignore_empty_lines=False,
                invalid_row_handler=remember,
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types={name: pa.string() for name in text_columns}
            ),
        )
    except pa.ArrowInvalid as error:
        if not malformed:
            raise ValueError(f"{source} cannot be read. Received: {error}") from error
        row = malformed[0]
        raise ValueError(
            f"In {source}, line {row.number}: expected {row.expected_columns} fields separated "
            f"by {delimiter!r}. Received {row.actual_columns}: "
            f"{row.text.replace(character, delimiter)[:200]!r}"
        ) from error
    first_line = 1 if names is not None else 2
    num_lines = content.count(b"\n")
    last_line = content[content.rfind(b"\n", 0, -1) + 1 :]
    # Where a quote stays open, what follows becomes part of its value without a word.
    if table.num_rows != num_lines - first_line + 1 or (quoted and last_line.count(b'"') % 2):
        raise _broken_line(content, source)
    frame = table.to_pandas(date_as_object=False)
    frame.index = pd.RangeIndex(first_line, num_lines + 1, name=LINE)
    return frame


def _broken_line(content: bytes, source: str | Path) -> ValueError:
    """The error for rows that are not lines: a value that holds a line break."""
    lines = content.split(b"\n")
    # The first line with an odd number of quotes, or else with any quote or carriage return.
    row = max(
        range(len(lines)),
        key=lambda row: (
            lines[row].count(b'"') % 2,
            b'"' in lines[row] or b"\r" in lines[row].removesuffix(b"\r"),
        ),
    )
    return ValueError(
        f"In {source}, line {row + 1}: a value holds a line break or a quote that is not closed. "
        f"Received: {lines[row].decode()[:200]!r}"
    )


def read_parquet(path: Path) -> pd.DataFrame:
    """A Parquet file as a table, whatever tool wrote it; what is missing is NaN.

    Raises:
        ValueError: the file is truncated or is no Parquet.
    """
    try:
        table = pyarrow.parquet.ParquetFile(path).read()
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} cannot be read as Parquet. Received: {error}") from error
    return table.to_pandas(date_as_object=False, ignore_metadata=True)
