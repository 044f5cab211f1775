"""Any table whose columns are named by the caller."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
import pandas as pd
import pyarrow as pa

from keras_negrec.data.logs.checked_columns import check_columns
from keras_negrec.data.logs.feedback_rule import Rule, add_feedback
from keras_negrec.data.logs.files import Source, find_files, parquet_columns, require_columns
from keras_negrec.data.logs.infer_types import integer_columns
from keras_negrec.data.logs.scan_files import scan_memory, scan_parquet
from keras_negrec.data.logs.scan_table import scan_table

THE_DATAFRAME = "the DataFrame"


def scan_frame(
    frame: pd.DataFrame | Source,
    connection: ibis.BaseBackend,
    *,
    session: str,
    item: str,
    feedback: str | Rule | None = None,
    user: str | None = None,
    position: str | None = None,
    timestamp: str | None = None,
    number_rows: bool = False,
) -> ir.Table:
    """The events of any table, given the names of its columns.

    Args:
        frame: a DataFrame, the path of a `.csv`, `.csv.gz` or `.parquet` file, a list of paths, or
            a folder of such files. A CSV file has a header, and no line breaks inside of values.
        connection: an Ibis connection to DuckDB or PySpark.
        session: name of the column that tells sessions apart.
        item: name of the column of item ids, strings or integers.
        feedback: name of a column of whole numbers from -2 to 2, or a function of the raw table
            that returns an integer column. The default is the column `feedback`, and where there
            is none, +1 for every event. Columns of a CSV file are text in the raw table, but for
            those that are named here.
        user: name of the column of users, where they have more sessions than one.
        position: name of a column of numbers or times that orders the events of a session.
        timestamp: name of a column of numbers or times.
        number_rows: adds `row`, the line of each event in its CSV file. DuckDB only. A Parquet
            file's `row` is always there on DuckDB, a DataFrame's on Spark too; both count from 0.

    Returns:
        A table with the columns `session`, `item`, `feedback` (int8), those of `user`,
        `position` and `timestamp` that were given, `file` and `problem`. Times are seconds since
        1970 (float64). A CSV file is read once beforehand: sessions, items, users, positions and
        timestamps are int64 if all in the column are integers, else strings or float64.

    Raises:
        FileNotFoundError: no such file, none in the folder.
        ValueError: a column that is missing or of a type that it cannot have, headers that differ,
            an empty or unreadable file.
        TypeError: a rule that does not return an integer column.

    Example:

    >>> import ibis
    >>> plays = pd.DataFrame({
    ...     "listener": ["ann", "ann", "bob"], "track": [10, 11, 10], "played": [0.9, 0.1, 1.0]
    ... })
    >>> events = keras_negrec.data.logs.frame.scan_frame(
    ...     plays, ibis.duckdb.connect(), session="listener", item="track",
    ...     feedback=lambda plays: (plays.played < 0.5).ifelse(-1, 1),
    ... )
    >>> events.order_by("row").select("session", "item", "feedback").to_pandas()
      session  item  feedback
    0     ann    10         1
    1     ann    11        -1
    2     bob    10         1
    """
    ids = {"session": session, "item": item}
    if user is not None:
        ids["user"] = user
    orders = {
        role: name
        for role, name in (("position", position), ("timestamp", timestamp))
        if name is not None
    }
    names = ids | orders | ({"feedback": feedback} if isinstance(feedback, str) else {})
    table, source = _scan(frame, connection, list(names.values()), number_rows)
    if feedback is None and "feedback" in table.columns:
        feedback = names["feedback"] = "feedback"
        table, source = _scan(frame, connection, list(names.values()), number_rows)
    kinds = dict.fromkeys(ids.values(), "id") | dict.fromkeys(orders.values(), "number or time")
    if source.endswith((".csv", ".csv.gz")):
        kinds |= dict.fromkeys(integer_columns(table, list(kinds), source), "integer")
    else:
        for name in kinds:
            if table[name].type().is_integer():
                kinds[name] = "integer"
    if isinstance(feedback, str):
        kinds[feedback] = "feedback"
    table = check_columns(table, kinds, source)
    rules: dict[str, Rule] = {
        "every event is positive": lambda table: ibis.literal(1),
        **({feedback: lambda table: table[feedback]} if isinstance(feedback, str) else {}),
    }
    judged = add_feedback(table, feedback or "every event is positive", rules)
    kept = ["row"] * ("row" in table.columns)
    return judged.select(
        *(judged[name].name(role) for role, name in ids.items()),
        "feedback",
        *(judged[name].name(role) for role, name in orders.items()),
        "file",
        "problem",
        *kept,
    )


def _scan(
    frame: pd.DataFrame | Source,
    connection: ibis.BaseBackend,
    columns: list[str],
    number_rows: bool,
) -> tuple[ir.Table, str]:
    """The raw table, and what to call it."""
    if isinstance(frame, pd.DataFrame):
        return _scan_dataframe(frame, connection, columns), THE_DATAFRAME
    files = find_files(frame, "*.csv", "*.csv.gz", "*.parquet")
    if all(file.endswith((".csv", ".csv.gz")) for file in files):
        table = scan_table(files, connection, columns, quoted=True, number_rows=number_rows)
        return table, files[0]
    if not all(file.endswith(".parquet") for file in files):
        raise ValueError(f"Expected .csv, .csv.gz or .parquet files of one kind. Received: {files}")
    names = parquet_columns(files[0])
    require_columns(names, columns, files[0])
    for file in files:
        if sorted(parquet_columns(file)) != sorted(names):
            raise ValueError(
                f"In {file}: expected the columns of {files[0]}, {names}. "
                f"Received columns: {parquet_columns(file)}"
            )
    table = ibis.union(*(scan_parquet(file, connection) for file in files))
    return table.mutate(problem=ibis.null("string")), files[0]


def _scan_dataframe(
    frame: pd.DataFrame, connection: ibis.BaseBackend, columns: list[str]
) -> ir.Table:
    require_columns(list(frame.columns), columns, THE_DATAFRAME)
    try:
        table = pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowException, ValueError) as error:
        raise ValueError(
            f"In {THE_DATAFRAME}: expected values of one type in each column. Received: {error}"
        ) from error
    table = table.append_column("row", pa.array(range(len(frame)), pa.int64()))
    # Engines know no columns without a type, which is what one without any value has.
    types = [pa.string() if pa.types.is_null(field.type) else field.type for field in table.schema]
    table = table.cast(pa.schema(zip(table.column_names, types, strict=True)))
    return scan_memory(table, connection).mutate(
        file=ibis.literal(THE_DATAFRAME), problem=ibis.null("string")
    )
