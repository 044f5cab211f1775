"""Any table whose columns are named by the caller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import ibis
import ibis.expr.types as ir
import pandas as pd
import pyarrow as pa

from keras_negrec.data.logs.columns import check_columns, infer_kinds, registered, typed
from keras_negrec.data.logs.feedback_rule import Rule, to_events
from keras_negrec.data.logs.files import Source, find_files, parquet_columns, require_columns
from keras_negrec.data.logs.read_log import read_scan
from keras_negrec.data.logs.scan_files import scan_parquet, scan_table

THE_DATAFRAME = "the DataFrame"


def read_frame(
    frame: pd.DataFrame | Source,
    *,
    session: str,
    item: str,
    feedback: str | Rule | None = None,
    user: str | None = None,
    position: str | None = None,
    timestamp: str | None = None,
    columns: Mapping[str, str] | None = None,
    errors: str = "raise",
) -> pd.DataFrame:
    """Makes an events table of any table, given the names of its columns.

    Args:
        frame: a DataFrame, the path of a `.csv`, `.csv.gz` or `.parquet` file, a list of paths, or
            a folder of such files. A CSV file is UTF-8, with a header, and without line breaks
            inside of values.
        session: the column that tells sessions apart.
        item: the column of item ids, strings or integers.
        feedback: how an event was received. A column of whole numbers from -2 to 2; a column and
            what each of its values means, `{"column": "skipped", "values": {True: -1, False: 1}}`
            (`None` is a value too); or a function of the log as an Ibis table that returns an
            integer column. The default is the column `feedback`, and where there is none, +1.
        user: the column of users, where they have more sessions than one.
        position: a column of numbers or times that orders the events of a session.
        timestamp: a column of numbers or times. Text is a time where it is ISO 8601. Times without
            a zone are UTC.
        columns: dict from columns that `register_event_column` has made known to those of the log,
            where their names differ.
        errors: `"raise"` or `"skip"`, as in `read_log`, which says what is raised.

    Returns:
        An events table with the columns `session`, `item`, `feedback`, and those of `user`,
        `position` and `timestamp` that were given, in the order of the input. Times are seconds
        since 1970. Ids of a CSV file are integers if all in the column are, else strings.

    Example:

    >>> plays = pd.DataFrame({
    ...     "listener": ["ann", "ann", "bob"], "track": [10, 11, 10], "played": [0.9, 0.1, 1.0],
    ...     "skipped": [False, True, False],
    ... })
    >>> keras_negrec.data.read_frame(
    ...     plays, session="listener", item="track",
    ...     feedback={"column": "skipped", "values": {True: -1, False: 1}},
    ... )
      session  item  feedback
    0     ann    10         1
    1     ann    11        -1
    2     bob    10         1
    >>> columns = {"session": "listener", "item": "track"}
    >>> rule = lambda log: (log.played < 0.5).ifelse(-1, 1)
    >>> keras_negrec.data.read_frame(plays, feedback=rule, **columns)["feedback"].tolist()
    [1, -1, 1]
    """
    given = dict(locals())
    return read_scan(scan_frame, given.pop("frame"), **given)


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
    columns: Mapping[str, str] | None = None,
) -> ir.Table:
    """The events of `read_frame` as a lazy table.

    A CSV file is read once beforehand to see what its columns hold. A function that gives
    feedback sees them as what all their values are: integers, numbers, booleans, times or text.
    `row` is the line of a CSV file; in a Parquet file and a DataFrame it counts from 0. It orders
    events at one position or time. Spark does not know it of files.
    """
    ids = {"session": session, "item": item} | ({} if user is None else {"user": user})
    orders = {} if position is None else {"position": position}
    orders |= {} if timestamp is None else {"timestamp": timestamp}
    columns, is_function = columns or {}, callable(feedback)
    needed = [*ids.values(), *orders.values(), *columns.values()]
    if isinstance(feedback, Mapping) and "column" in feedback:
        needed.append(feedback["column"])
    elif isinstance(feedback, str):
        needed.append(feedback)
    if isinstance(frame, pd.DataFrame):
        source, is_text = THE_DATAFRAME, False
        require_columns(list(frame.columns), needed, source)
        looked_at = {*(frame.columns if is_function else needed), "feedback", *registered()}
        seen = frame.loc[:, [name in looked_at for name in frame.columns]]
        table = _scan_dataframe(seen, connection, [*ids.values()])
    else:
        files = find_files(frame, "*.csv", "*.csv.gz", "*.parquet")
        source, is_text = files[0], files[0].endswith((".csv", ".csv.gz"))
        table = _scan_files(files, connection, needed)
    if feedback is None and "feedback" in table.columns:
        feedback = "feedback"
    names = {name: name for name in registered() if name in table.columns} | dict(columns)
    if unknown := [name for name in names if name not in registered()]:
        raise ValueError(
            f"`columns` must be of registered columns, which are {list(registered())}. "
            f"keras_negrec.data.register_event_column({unknown[0]!r}) registers another. "
            f"Received: columns={dict(columns)}"
        )
    further = {column: registered()[name] for name, column in names.items()}
    kinds = dict.fromkeys(orders.values(), "order")
    rules = {}
    if isinstance(feedback, str):
        kinds[feedback] = "feedback"
        rules[feedback] = lambda table: table[feedback]
    if is_text:
        kinds |= dict.fromkeys(ids.values(), "id")
    known = {*kinds, *further, "file", "problem", "row"}
    others = [name for name in table.columns if is_text and is_function and name not in known]
    found = infer_kinds(table, kinds | dict.fromkeys(others, "any"), source)
    table = typed(table, {name: found.pop(name) for name in others})
    if not is_text:  # Text in memory is text by intention.
        for name in ids.values():
            found[name] = "integer" if table[name].type().is_integer() else "id"
    table = check_columns(table, {**found, **further}, source)
    roles = {str(column.log_column): name for name, column in further.items()} | ids | orders
    return to_events(table, roles, feedback or (lambda table: ibis.literal(1)), rules, source)


def _scan_files(
    files: Sequence[str], connection: ibis.BaseBackend, needed: Sequence[str]
) -> ir.Table:
    number_rows = connection.name == "duckdb"
    if all(file.endswith((".csv", ".csv.gz")) for file in files):
        return scan_table(files, connection, needed, quoted=True, number_rows=number_rows)
    if not all(file.endswith(".parquet") for file in files):
        raise ValueError(f"Expected .csv, .csv.gz or .parquet files of one kind. Received: {files}")
    names = parquet_columns(files[0])
    require_columns(names, needed, files[0])
    for file in files:
        if sorted(received := parquet_columns(file)) != sorted(names):
            raise ValueError(
                f"In {file}: expected the columns of {files[0]}, {names}. "
                f"Received columns: {received}"
            )
    return ibis.union(*(scan_parquet(file, connection, number_rows=number_rows) for file in files))


def _scan_dataframe(
    frame: pd.DataFrame, connection: ibis.BaseBackend, ids: Sequence[str]
) -> ir.Table:
    columns = {str(name): _arrow_column(frame[name], name in ids) for name in frame.columns}
    columns["row"] = pa.array(range(len(frame)), pa.int64())
    table, name = pa.table(columns), ibis.util.gen_name("memory")
    if connection.name == "duckdb":
        scanned = connection.create_table(name, table, temp=True)
    else:
        connection._session.createDataFrame(table).createOrReplaceTempView(name)
        scanned = connection.table(name)
    return scanned.mutate(file=ibis.literal(THE_DATAFRAME), problem=ibis.null("string"))


def _arrow_column(values: pd.Series, is_id: bool) -> pa.Array:
    try:
        # Arrow takes numbers among times, booleans among numbers, and so on, for what they are not.
        kind = pd.api.types.infer_dtype(values) if values.dtype == object else ""
        if kind in ("mixed", "mixed-integer", "mixed-integer-float"):
            raise TypeError(kind)
        column = pa.array(values, from_pandas=True)
    except (pa.ArrowException, ValueError, TypeError) as error:
        if is_id:
            kinds = sorted({type(value).__name__ for value in values.dropna()})
            raise ValueError(
                f"In {THE_DATAFRAME}: column {values.name!r}: expected ids that are all strings or "
                f"all integers. Received: {' and '.join(kinds)}"
            ) from error
        # The text of a CSV file, of which each value is looked at.
        text = values.astype(object).map(str, na_action="ignore")
        column = pa.array(text, pa.string(), from_pandas=True)
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    # Engines know no columns without a type, which is what one without any value has.
    return column.cast(pa.string()) if pa.types.is_null(column.type) else column
