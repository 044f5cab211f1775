"""Files as lazy tables, on DuckDB and on Spark."""

from __future__ import annotations

import glob
from collections.abc import Sequence

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from keras_negrec.data.logs.engine_errors import engine_errors

# Control characters that no text has in a row: every line is one field, and none is missing.
_NO_DELIMITER = "\x1c\x1d\x1e"
_NO_NULL = "\x1f\x1f\x1f"


def scan_lines(
    paths: Sequence[str], connection: ibis.BaseBackend, *, number_rows: bool = False
) -> ir.Table:
    """Text files as a table of lines: `line`, `file`, and `row` if asked for.

    Blank lines are no rows. Lines end in `\\n`, `\\r\\n` or `\\r`.

    Args:
        paths: absolute paths.
        connection: an Ibis connection to DuckDB or PySpark.
        number_rows: adds `row`, the number of the line in its file, from 1; on DuckDB only, and
            there it keeps the scan to one thread. Blank lines are not counted.
    """
    if connection.name == "duckdb":
        lines = connection.read_csv(
            [glob.escape(path) for path in paths],
            columns={"line": "VARCHAR"},
            header=False,
            delim=_NO_DELIMITER,
            quote="",
            escape="",
            comment="",
            nullstr=_NO_NULL,
            strict_mode=False,  # Strict, it refuses files in which the line ends vary.
            filename=True,
        )
        if number_rows:
            lines = lines.mutate(row=ibis.row_number().over(ibis.window()) + 1)
            if len(paths) > 1:  # One file's lines come one after the other.
                first = lines.row.min().over(ibis.window(group_by="filename"))
                lines = lines.mutate(row=lines.row - first + 1)
        lines = lines.rename(file="filename")
    elif connection.name == "pyspark" and not number_rows:
        # Spark gives the file as a URL in which `+` stands for itself.
        url = "replace(_metadata.file_path, '+', '%2B')"
        name = ibis.util.gen_name("lines")
        connection._session.read.text(list(paths)).selectExpr(
            "value AS line", f"regexp_replace(url_decode({url}), '^file:/+', '/') AS file"
        ).createOrReplaceTempView(name)
        lines = connection.table(name).filter(lambda lines: lines.line != "")
    else:
        rows = " that numbers rows" if number_rows else ""
        raise ValueError(
            f"Expected a connection to DuckDB or PySpark{rows and ', DuckDB for one' + rows}. "
            f"Received: {connection.name}"
        )
    columns = ["line", "file", "row"] if number_rows else ["line", "file"]
    return lines.select(columns)


def scan_parquet(path: str, connection: ibis.BaseBackend) -> ir.Table:
    """A Parquet file as a table of its columns and `file`; on DuckDB also `row`, from 0."""
    with engine_errors(path):  # Spark, for one, reads no times in nanoseconds.
        if connection.name == "duckdb":
            table = connection.read_parquet(glob.escape(path), file_row_number=True)
            table = table.rename(row="file_row_number")
        else:
            table = connection.read_parquet(path)
    return table.mutate(file=ibis.literal(path))


def scan_memory(table: pa.Table, connection: ibis.BaseBackend) -> ir.Table:
    """A table in memory as a table of the connection."""
    name = ibis.util.gen_name("memory")
    if connection.name == "duckdb":
        return connection.create_table(name, ibis.memtable(table), temp=True)
    connection._session.createDataFrame(table).createOrReplaceTempView(name)
    return connection.table(name)
