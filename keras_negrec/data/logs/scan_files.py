"""Files as lazy tables, on DuckDB and on Spark."""

from __future__ import annotations

import csv
import glob
import shutil
import tempfile
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import ibis
import ibis.expr.types as ir

from keras_negrec.data.logs.engine import engine_errors
from keras_negrec.data.logs.files import (
    NOT_UTF8,
    first_line,
    is_plain,
    require_columns,
    write_plain,
)

# Control characters that no text has in a row: every line is one field, and none is missing.
_NO_DELIMITER = "\x1c\x1d\x1e"
_NO_NULL = "\x1f\x1f\x1f"


def scan_lines(
    files: Sequence[str],
    connection: ibis.BaseBackend,
    *,
    header: str | None = None,
    number_rows: bool = False,
) -> ir.Table:
    """Text files as a table of lines: `line`, `file`, `problem`, and `row` if asked for.

    Blank lines are no rows. Lines end in `\\n`, `\\r\\n` or `\\r`. The `header`, the first line of
    every file, is no row. A line that is not UTF-8, and a header that is there again, have a
    problem; on Spark, headers that are there again are passed over. `row`, the number of the line
    in its file, from 1 and without blank lines, is there on DuckDB only and keeps the scan to one
    thread.
    """
    for file in files:
        first_line(file)  # Raises where there is none.
    with ThreadPoolExecutor() as pool:  # Files are read and unpacked outside of Python's lock.
        plain = pool.map(is_plain, files)
        odd = [file for file, is_fine in zip(files, plain, strict=True) if not is_fine]
    if connection.name == "duckdb":
        # Read in place of files that DuckDB cannot read, for as long as the connection.
        copies = {}
        if odd:
            folder = tempfile.mkdtemp(prefix="keras_negrec_")
            weakref.finalize(connection, shutil.rmtree, folder, True)
            copies = {file: f"{folder}/{n}.txt" for n, file in enumerate(odd)}
        for file, copy in copies.items():
            write_plain(file, copy)
        skipped = int(header is not None)
        lines = connection.read_csv(
            [glob.escape(copies.get(file, file)) for file in files],
            columns={"line": "VARCHAR"},
            header=False,
            skip=skipped,
            delim=_NO_DELIMITER,
            quote="",
            escape="",
            comment="",
            nullstr=_NO_NULL,
            strict_mode=False,  # Strict, it refuses files in which the line ends vary.
            filename=True,
        ).rename(file="filename")
        if number_rows:
            lines = lines.mutate(row=ibis.row_number().over(ibis.window()) + 1 + skipped)
            if len(files) > 1:  # One file's lines come one after the other.
                least = lines.row.min().over(ibis.window(group_by="file"))
                lines = lines.mutate(row=lines.row - least + 1 + skipped)
        if odd:
            names = {copy: file for file, copy in copies.items()}
            lines = lines.mutate(file=lines.file.substitute(names))
        is_wrong, received = lines.line.startswith(NOT_UTF8), lines.line.substr(1)
    elif connection.name == "pyspark" and not number_rows:
        # Spark gives the file as a URL in which `+` stands for itself.
        url = "replace(_metadata.file_path, '+', '%2B')"
        name = ibis.util.gen_name("lines")
        connection._session.read.text(list(files)).selectExpr(
            # Bytes that are no UTF-8 stay in Spark's strings, where nothing finds them.
            "make_valid_utf8(value) AS line" if odd else "value AS line",
            f"regexp_replace(url_decode({url}), '^file:/+', '/') AS file",
        ).createOrReplaceTempView(name)
        lines = connection.table(name)
        lines = lines.filter(~lines.line.isin(["", header or ""]))
        received = lines.line
        is_wrong = received.contains("\ufffd")  # What it puts in place of a byte.
    else:
        rows = ", DuckDB for one that numbers rows" if number_rows else ""
        raise ValueError(
            f"Expected a connection to DuckDB or PySpark{rows}. Received: {connection.name}"
        )
    problem = ibis.null("string")
    if odd:
        message = "expected text in UTF-8, which `iconv -f latin1 -t utf-8` makes of Latin-1."
        problem = ibis.ifelse(is_wrong, message + " Received: " + received, problem)
    if header is not None:
        again = "expected the header in the first line alone. Received: "
        problem = ibis.ifelse(lines.line == header, again + lines.line.substr(0, 200), problem)
    return lines.select("line", "file", *["row"] * number_rows, problem=problem)


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
    """All columns of files with one header, as text, with what `scan_lines` adds.

    The `columns` must be there. Fields may stand in double quotes if `quoted`. `name_of` tells what
    a column is called, given its field of the header.
    """
    headers = [first_line(file) for file in files]
    for file, header in zip(files, headers, strict=True):
        fields = header.split(delimiter)
        if quoted:
            fields = next(csv.reader([header], delimiter=delimiter), [""])
        names = [name_of(field) or f"column {i}" for i, field in enumerate(fields, start=1)]
        require_columns(names, columns, file)
        if header != headers[0]:
            raise ValueError(
                f"In {file}, line 1: expected the header of {files[0]}, {headers[0]!r}. "
                f"Received: {header!r}"
            )
    lines = scan_lines(files, connection, header=headers[0], number_rows=number_rows)
    return split_lines(lines, names, delimiter, quoted=quoted)


def split_lines(
    lines: ir.Table, columns: Sequence[str], delimiter: str, *, quoted: bool = False
) -> ir.Table:
    """The fields of each line under the given names, and `problem` where their number is wrong.

    If `quoted`, fields may stand in double quotes. Inside of them the delimiter, then one
    character, is text, and two double quotes are one.
    """
    # What is left without the parts in quotes tells the number of fields.
    bare = lines.line.re_replace('"[^"]*"', "") if quoted else lines.line
    count = bare.split(delimiter).length()
    lines = lines.mutate(fields=lines.line.split(delimiter), num_fields=count)
    # Blank ones go. Few lines begin like one, and the others are not looked at any further.
    is_blank = (lines.num_fields == 1) & (lines.line.strip() == "")
    lines = lines.filter(~ibis.ifelse(lines.line < "!", is_blank, False))
    line, start = lines.line, lines.line.substr(0, 200)
    wrong = f"expected {len(columns)} fields separated by {delimiter!r}. Received: "
    wrong += lines.num_fields.cast("string") + " in " + start
    problems = [(lines.problem.notnull(), lines.problem), (lines.num_fields != len(columns), wrong)]
    if quoted:
        unclosed = "expected every quote to be closed on its line. Received: " + start
        problems.insert(1, (bare.contains('"'), unclosed))
    lines = lines.mutate(problem=ibis.cases(*problems))
    values = {}
    for i, name in enumerate(columns):
        field = lines.fields[i]
        if quoted:
            field = ibis.ifelse(line.contains('"'), _quoted_field(line, delimiter, i), field)
        values[name] = ibis.ifelse(lines.problem.isnull(), field, None)
    kept = {name: lines[name] for name in ("file", "row", "problem") if name in lines.columns}
    return lines.select(**values, **kept)


def _quoted_field(line: ir.StringValue, delimiter: str, i: int) -> ir.StringValue:
    """Field `i` of a line in which delimiters may stand in quotes."""
    # Without array lambdas: ibis writes them in a way that not every DuckDB reads.
    field = f'[^"{delimiter}]*(?:"[^"]*"[^"{delimiter}]*)*'
    value = line.re_extract(f"^(?:{field}{delimiter}){{{i}}}({field})", 1)
    return value.re_replace('^"|"$', "").replace('""', '"')


def scan_parquet(path: str, connection: ibis.BaseBackend, *, number_rows: bool = False) -> ir.Table:
    """A Parquet file as a table of its columns, `file`, `problem` and, if asked for, `row`.

    `row`, from 0, is there on DuckDB alone.
    """
    with engine_errors(path):  # Spark, for one, reads no times in nanoseconds.
        if connection.name == "duckdb":
            table = connection.read_parquet(glob.escape(path), file_row_number=number_rows)
        else:
            table, number_rows = connection.read_parquet(path), False
    if number_rows:
        table = table.rename(row="file_row_number")
    # Types that Ibis has no name for: nanoseconds with a zone, and that of no value at all.
    unknown = {"TIMESTAMPTZ": "timestamp('UTC', 6)", '"NULL"': "string"}
    for name, dtype in table.schema().items():
        for word, known in unknown.items():
            if dtype.is_unknown() and word in str(dtype):
                table = table.mutate({name: table[name].cast(known)})
    return table.mutate(file=ibis.literal(path), problem=ibis.null("string"))
