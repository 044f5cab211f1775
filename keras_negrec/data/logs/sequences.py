"""Files with one user's items a line."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from keras_negrec.data.logs.checked_columns import check_columns
from keras_negrec.data.logs.files import Source, find_files, first_line
from keras_negrec.data.logs.infer_types import integer_columns
from keras_negrec.data.logs.scan_files import scan_lines


def scan_sequences(
    path: Source, connection: ibis.BaseBackend, *, number_rows: bool = False
) -> ir.Table:
    """The events of lines `user item item ...`, each user's items in time order.

    They hold no feedback: every event is +1. The file is read once beforehand to see whether all
    users and all items are integers. A user on two lines has two events at each position:
    `session_problems` finds them.

    Args:
        path: the file, packed (`.gz`) or not, a list of files, or a folder of `*.txt` files. White
            space of any kind stands between ids.
        connection: an Ibis connection to DuckDB or PySpark.
        number_rows: adds `row`, the line of each event in its file. DuckDB only.

    Returns:
        A table with the columns `session` (the user) and `item` (int64 where all are integers,
        else strings), `feedback` (int8), `position` (from 0), `file` and `problem`.

    Raises:
        FileNotFoundError: no such file, none in the folder.
        ValueError: an empty file, a file that cannot be unpacked.

    Example:

    >>> import ibis, pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "LastFM.txt")
    >>> _ = path.write_text("1 10 20\\n2 20\\n")
    >>> events = keras_negrec.data.logs.sequences.scan_sequences(path, ibis.duckdb.connect())
    >>> events.order_by("session", "position").drop("file", "problem").to_pandas()
       session  item  feedback  position
    0        1    10         1         0
    1        1    20         1         1
    2        2    20         1         0

    Reference:
        [Zhou et al., 2020](https://arxiv.org/abs/2008.07873)
    """
    files = find_files(path, "*.txt", "*.txt.gz")
    for file in files:
        first_line(file)  # Raises where there is none.
    lines = scan_lines(files, connection, number_rows=number_rows)
    lines = lines.mutate(ids=lines.line.re_replace(r"\s+", " ").strip().split(" "))
    kept = ["file"] + ["row"] * number_rows
    with_items = lines.filter(lines.ids.length() > 1)
    events = with_items.select(*kept, session=with_items.ids[0], item=with_items.ids[1:])
    events = events.unnest("item", offset="position")
    without = lines.filter(lines.ids.length() <= 1)
    events = ibis.union(
        events.mutate(position=events.position.cast("int64"), problem=ibis.null("string")),
        without.select(
            *kept,
            session=without.ids[0],
            item=ibis.null("string"),
            position=ibis.null("int64"),
            problem="expected a user and at least one item. Received: "
            + without.line.substr(0, 200),
        ).select(*kept, "session", "item", "position", "problem"),
    )
    integers = integer_columns(events, ["session", "item"], files[0])
    kinds = {name: "integer" if name in integers else "id" for name in ("session", "item")}
    events = check_columns(events, kinds, files[0])
    return events.mutate(feedback=ibis.literal(1, "int8")).select(
        "session", "item", "feedback", "position", *kept, "problem"
    )
