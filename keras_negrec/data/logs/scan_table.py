"""Delimited text with a header as a table of its columns."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence

import ibis
import ibis.expr.types as ir

from keras_negrec.data.logs.files import first_line, require_columns
from keras_negrec.data.logs.scan_files import scan_lines
from keras_negrec.data.logs.split_lines import split_lines


def scan_table(
    files: Sequence[str],
    connection: ibis.BaseBackend,
    columns: Sequence[str],
    *,
    delimiter: str = ",",
    quoted: bool = False,
    name_of: Callable[[str], str] = str,
    number_rows: bool = False,
) -> ir.Table:
    """All columns of files with a header, as text, with `file` and `problem`.

    Args:
        files: absolute paths. All have the same header.
        connection: an Ibis connection to DuckDB or PySpark.
        columns: those that must be there.
        delimiter: what stands between fields.
        quoted: whether fields may stand in double quotes.
        name_of: what a column is called, given its field of the header.
        number_rows: adds `row`, the line of each event in its file. DuckDB only.

    Raises:
        ValueError: a column that is missing or there twice, headers that differ, an empty file.
    """
    header = first_line(files[0])

    def names_in(header: str) -> list[str]:
        if quoted:
            fields = next(csv.reader([header], delimiter=delimiter))
        else:
            fields = header.split(delimiter)
        return [name_of(field) or f"column {i}" for i, field in enumerate(fields, start=1)]

    names = names_in(header)
    require_columns(names, columns, files[0])
    for file in files[1:]:
        received = first_line(file)
        if received != header:
            require_columns(names_in(received), columns, file)
            raise ValueError(
                f"In {file}, line 1: expected the header of {files[0]}, {header!r}. "
                f"Received: {received!r}"
            )
    lines = scan_lines(files, connection, number_rows=number_rows)
    return split_lines(lines.filter(lines.line != header), names, delimiter, quoted=quoted)
