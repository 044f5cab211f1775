"""Where the expressions of `prepare` run: DuckDB, Spark, or a connection of the caller's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import duckdb
import ibis
import pyarrow as pa
import pyarrow.parquet


class Engine:
    """An Ibis connection that can keep a table for several looks at it and hand out batches.

    Args:
        connection: an Ibis DuckDB or PySpark connection.
        folder: where large intermediate results go. Executors of a Spark cluster must see it.
        own: whether nobody else uses the connection, which `close` then ends.
    """

    def __init__(self, connection: ibis.BaseBackend, folder: Path, *, own: bool):
        self.connection = connection
        self._folder = folder
        self._own = own
        self._stored: dict[ibis.expr.operations.Node, str] = {}

    def store(self, table: ibis.Table) -> ibis.Table:
        """The table, computed once."""
        name = self._new_name()
        stored = self._store(table, name)
        self._stored[stored.op()] = name
        return stored

    def drop(self, table: ibis.Table) -> None:
        """Frees the space of a stored table."""
        self._drop(self._stored.pop(table.op()))

    def batches(self, table: ibis.Table, num_rows: int) -> Iterator[pa.RecordBatch]:
        """The rows in their order, `num_rows` at a time, without ever holding them all."""
        raise NotImplementedError

    def close(self) -> None:
        """Drops what was stored."""
        for name in self._stored.values():
            with contextlib.suppress(Exception):  # Leftovers in temporary places do no harm.
                self._drop(name)
        self._stored = {}
        if self._own:
            self._disconnect()

    def _new_name(self) -> str:
        # A random one: no two engines on one connection may have tables of one name.
        return ibis.util.gen_name("negrec")

    def _store(self, table: ibis.Table, name: str) -> ibis.Table:
        raise NotImplementedError

    def _drop(self, name: str) -> None:
        raise NotImplementedError

    def _disconnect(self) -> None:
        raise NotImplementedError


class DuckDBEngine(Engine):
    """DuckDB: out of core, in this process."""

    def __init__(self, connection, folder: Path, *, own: bool):
        super().__init__(connection, folder, own=own)
        # Ibis writes lambdas as arrows, which DuckDB 2.0 refuses unless told otherwise.
        connection.raw_sql("SET lambda_syntax = 'ENABLE_SINGLE_ARROW'")

    def batches(self, table: ibis.Table, num_rows: int) -> Iterator[pa.RecordBatch]:
        # Not `to_pyarrow_batches`: it holds the whole result before it gives the first batch.
        relation = self.connection.con.sql(self.connection.compile(table))
        yield from relation.to_arrow_reader(num_rows)

    def _store(self, table: ibis.Table, name: str) -> ibis.Table:
        return self.connection.create_table(name, table, temp=not self._own)

    def _drop(self, name: str) -> None:
        # Not `drop_table`: with sqlglot from 30.18 on, Ibis 12.0 leaves the name out.
        self.connection.raw_sql(f'DROP TABLE IF EXISTS "{name}"')

    def _disconnect(self) -> None:
        self.connection.disconnect()


class SparkEngine(Engine):
    """Spark: on this machine or on a cluster that sees the folder. Tables are Parquet files."""

    def batches(self, table: ibis.Table, num_rows: int) -> Iterator[pa.RecordBatch]:
        # Not `to_pyarrow_batches`: it collects the whole result in the driver.
        folder = self._folder / self._new_name()
        self.connection.to_parquet(table, folder)
        for file in sorted(folder.glob("part-*.parquet")):  # In the order of the sort.
            with pyarrow.parquet.ParquetFile(file) as parquet:
                yield from parquet.iter_batches(num_rows)

    def _store(self, table: ibis.Table, name: str) -> ibis.Table:
        folder = self._folder / name
        self.connection.to_parquet(table, folder)
        return self.connection.read_parquet(folder, table_name=name)

    def _drop(self, name: str) -> None:
        self.connection.raw_sql(f"DROP VIEW IF EXISTS `{name}`")

    def _disconnect(self) -> None:
        self.connection._session.stop()


def open_engine(engine, folder: Path, memory_limit: str | None) -> Engine:
    """The engine of that name, or around an Ibis connection to DuckDB or PySpark.

    The folder is empty. The limit is for the DuckDB connection that is opened here.
    """
    if engine == "duckdb":
        spill = folder / "spill"
        spill.mkdir()
        connection = ibis.duckdb.connect(folder / "work.duckdb", temp_directory=str(spill))
        if memory_limit is not None:
            try:
                connection.con.execute("SET memory_limit = ?", [memory_limit])
            except duckdb.Error as error:
                raise ValueError(
                    '`memory_limit` must be a size such as "2GB". Received: '
                    f"memory_limit={memory_limit!r}"
                ) from error
        # Rows have an order of their own, so that they need not keep that of the files.
        connection.raw_sql("SET preserve_insertion_order = false")
        return DuckDBEngine(connection, folder, own=True)
    if memory_limit is not None:
        raise ValueError(
            '`memory_limit` is for engine="duckdb"; set the memory of other engines where they '
            f"are started. Received: memory_limit={memory_limit!r}"
        )
    if engine == "spark":
        return _open_spark(folder)
    engines: dict[str, type[Engine]] = {"duckdb": DuckDBEngine, "pyspark": SparkEngine}
    if isinstance(engine, ibis.BaseBackend) and engine.name in engines:
        return engines[engine.name](engine, folder, own=False)
    raise ValueError(
        '`engine` must be "duckdb", "spark" or an Ibis connection to one of them. Received: '
        f"engine={engine!r}"
    )


def _open_spark(folder: Path) -> SparkEngine:
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
    return SparkEngine(ibis.pyspark.connect(session), folder, own=running is None)
