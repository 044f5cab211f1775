"""A scan as an events table in memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import ibis
import ibis.expr.types as ir
import pandas as pd
import pyarrow as pa
import pyarrow.compute

from keras_negrec.data.logs.check_events import check_events
from keras_negrec.data.logs.engine_errors import engine_errors
from keras_negrec.data.logs.session_problems import session_problems

_NO_PART_OF_EVENTS = ("session_length", "file", "problem", "row")


def read_scan(
    scan: Callable[[ibis.BaseBackend], ir.Table],
    source: object,
    *,
    order_by: Sequence[str],
    errors: str,
) -> pd.DataFrame:
    """Runs a scan on DuckDB.

    Args:
        scan: a function of a connection that returns a scan with the column `row`.
        source: the file or files, for messages.
        order_by: columns of the scan, the order of the events.
        errors: `"raise"`, or `"skip"` to leave out what has a problem, with a warning about it.

    Returns:
        An events table.

    Raises:
        ValueError: a problem, with `errors="raise"`; no events; a file that cannot be read.
    """
    if errors not in ("raise", "skip"):
        raise ValueError(f'`errors` must be "raise" or "skip". Received: errors={errors!r}')
    connection = ibis.duckdb.connect()
    with engine_errors(str(source)):
        table = scan(connection).to_pyarrow()
        sessions = connection.to_pandas(session_problems(ibis.memtable(table)))
    rows = table.filter(pa.compute.is_valid(table["problem"]))
    rows = rows.select(["file", "row", "problem"]).to_pandas().sort_values(["file", "row"])
    if errors == "raise":
        _raise_first(rows, sessions)
    in_bad_session = pa.compute.is_in(table["session"], pa.array(sessions["session"]))
    kept = pa.compute.and_not(pa.compute.is_null(table["problem"]), in_bad_session)
    num_events = table.num_rows
    table = table.filter(kept).sort_by([(name, "ascending") for name in order_by])
    if table.num_rows < num_events:
        kinds = pd.concat([rows["problem"], sessions["problem"]]).str.split(" Received:").str[0]
        counts = ", ".join(f"{kind} ({count})" for kind, count in kinds.value_counts().items())
        warnings.warn(
            f"In {source}: {num_events - table.num_rows} of {num_events} events are left out. "
            f"{counts}",
            stacklevel=3,
        )
    events = table.drop([c for c in _NO_PART_OF_EVENTS if c in table.column_names]).to_pandas()
    check_events(events, source=str(source))
    return events


def _raise_first(rows: pd.DataFrame, sessions: pd.DataFrame) -> None:
    if len(rows):
        file, row, problem = rows.iloc[0]
        kind = "row" if Path(file).suffix == ".parquet" else "line"
        raise ValueError(f"In {file}, {kind} {row}, {problem}")
    if len(sessions):
        session, file, problem = sessions.sort_values("session").iloc[0]
        raise ValueError(f"In {file}, session {session!r}: {problem}")
