"""Where the expressions of `prepare` run: DuckDB, Spark, or a connection of the caller's."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import duckdb
import ibis
import pyarrow as pa
import pyarrow.parquet


@contextlib.contextmanager
def engine_errors(source: str) -> Iterator[None]:
    """Turns an error of DuckDB or Spark into a ValueError that names the file, or else `source`."""
    try:
        yield
    except Exception as error:
        if type(error).__module__.split(".")[0] not in ("_duckdb", "duckdb", "py4j", "pyspark"):
            raise
        file = re.search(r"^\s*file = (.+)$", str(error), flags=re.M)
        raise ValueError(
            f"{file[1] if file else source} cannot be read. Received: "
            f"{' '.join(str(error).split())[:400]}"
        ) from error


class Engine:
    """An Ibis connection that can keep a table for several looks at it and hand out batches.

    DuckDB works out of core, in this process; Spark's stored tables are Parquet files.

    Args:
        connection: an Ibis DuckDB or PySpark connection.
        folder: where large intermediate results go. Executors of a Spark cluster must see it.
        own: whether nobody else uses the connection, which `close` then ends.
    """

    def __init__(self, connection, folder: Path, *, own: bool):
        self.connection = connection
        self._folder = folder
        self._own = own
        self._stored: dict[ibis.expr.operations.Node, str] = {}
        self._is_duckdb = connection.name == "duckdb"
        if self._is_duckdb:  # Ibis writes lambdas as arrows, which DuckDB 2.0 refuses unless told.
            connection.raw_sql("SET lambda_syntax = 'ENABLE_SINGLE_ARROW'")

    def store(self, table: ibis.Table) -> ibis.Table:
        """The table, computed once."""
        connection = self.connection
        # A random name: no two engines on one connection may have tables of one name.
        name = ibis.util.gen_name("negrec")
        if self._is_duckdb:
            # Not `create_table`, which takes several times as long to write its statements.
            connection._run_pre_execute_hooks(table)
            kind = "TABLE" if self._own else "TEMP TABLE"
            connection.raw_sql(f'CREATE {kind} "{name}" AS {connection.compile(table)}')
            stored = connection.table(name)
            if stored.schema() != table.schema():
                stored = stored.cast(table.schema())
        else:
            connection.to_parquet(table, self._folder / name)
            stored = connection.read_parquet(self._folder / name, table_name=name)
        self._stored[stored.op()] = name
        return stored

    def drop(self, table: ibis.Table) -> None:
        """Frees the space of a stored table."""
        self._drop(self._stored.pop(table.op()))

    def batches(self, table: ibis.Table, num_rows: int) -> Iterator[pa.RecordBatch]:
        """The rows in their order, `num_rows` at a time, without ever holding them all."""
        # Not `to_pyarrow_batches`: it holds the whole result before it gives the first batch.
        if self._is_duckdb:
            relation = self.connection.con.sql(self.connection.compile(table))
            yield from relation.to_arrow_reader(num_rows)
            return
        folder = self._folder / ibis.util.gen_name("negrec")
        self.connection.to_parquet(table, folder)
        for file in sorted(folder.glob("part-*.parquet")):  # In the order of the sort.
            with pyarrow.parquet.ParquetFile(file) as parquet:
                yield from parquet.iter_batches(num_rows)

    def close(self) -> None:
        """Drops what was stored."""
        for name in self._stored.values():
            with contextlib.suppress(Exception):  # Leftovers in temporary places do no harm.
                self._drop(name)
        self._stored = {}
        if self._own:
            self.connection.disconnect()

    def _drop(self, name: str) -> None:
        # Not `drop_table`: with sqlglot from 30.18 on, Ibis 12.0 leaves the name out.
        kind = "TABLE" if self._is_duckdb else "VIEW"
        self.connection.raw_sql(f"DROP {kind} IF EXISTS {name}")


def open_engine(engine, folder: Path, memory_limit: str | None) -> Engine:
    """The engine of that name, or around an Ibis connection to DuckDB or PySpark.

    The folder is empty. The limit is for the DuckDB connection that is opened here.
    """
    if engine == "duckdb":
        (folder / "spill").mkdir()
        connection = ibis.duckdb.connect(folder / "work.duckdb", temp_directory=f"{folder}/spill")
        try:
            if memory_limit is not None:
                connection.con.execute("SET memory_limit = ?", [memory_limit])
        except duckdb.Error as error:
            raise ValueError(
                f'`memory_limit` must be a size such as "2GB". Received: {memory_limit=}'
            ) from error
        # Rows have an order of their own, so that they need not keep that of the files.
        connection.raw_sql("SET preserve_insertion_order = false")
        return Engine(connection, folder, own=True)
    if memory_limit is not None:
        raise ValueError(
            '`memory_limit` is for engine="duckdb"; set the memory of other engines where they '
            f"are started. Received: {memory_limit=}"
        )
    if engine == "spark":
        return _open_spark(folder)
    if isinstance(engine, ibis.BaseBackend) and engine.name in ("duckdb", "pyspark"):
        return Engine(engine, folder, own=False)
    raise ValueError(
        '`engine` must be "duckdb", "spark" or an Ibis connection to one of them. Received: '
        f"{engine=}"
    )


def _open_spark(folder: Path) -> Engine:
    try:
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise ImportError(
            'engine="spark" needs PySpark: pip install "keras-negrec[spark]", and Java 17.'
        ) from error
    running = SparkSession.getActiveSession()
    session = running or (
        SparkSession.builder.appName("keras_negrec")
        .config("spark.sql.session.timeZone", "UTC")
        .getOrCreate()
    )
    return Engine(ibis.pyspark.connect(session), folder, own=running is None)
