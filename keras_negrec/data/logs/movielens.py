"""MovieLens ratings in all layouts in which they are published."""

from __future__ import annotations

from pathlib import Path

import ibis
import ibis.expr.types as ir

from keras_negrec.data.logs.checked_columns import check_columns
from keras_negrec.data.logs.feedback_rule import Rule, add_feedback
from keras_negrec.data.logs.files import Source, find_files, first_line
from keras_negrec.data.logs.infer_types import integer_columns
from keras_negrec.data.logs.movielens_layouts import RATINGS_CSV, RECBOLE, layout_of
from keras_negrec.data.logs.scan_files import scan_lines
from keras_negrec.data.logs.scan_table import scan_table
from keras_negrec.data.logs.split_lines import split_lines


def scan_movielens(
    path: Source,
    connection: ibis.BaseBackend,
    *,
    feedback: str | Rule = "rating",
    positive_from: float = 4,
    number_rows: bool = False,
) -> ir.Table:
    """The events of MovieLens ratings, in any layout in which they are published.

    These are `ratings.dat` (1M, 10M), `ratings.csv` (20M and later), `u.data` (100K) and RecBole's
    `*.inter`. The first line tells which one it is, or else the file's ending; each may be packed
    (`.gz`). Of an `.inter` file, whose ids may be any text, the ids are read once beforehand to see
    whether all are integers.

    Args:
        path: the file of ratings.
        connection: an Ibis connection to DuckDB or PySpark.
        feedback: `"rating"`: ratings of at least `positive_from` are +1, those below -1;
            `"all_positive"`: every rating is +1. Or a function of the raw table that returns an
            integer column. Its columns are `user`, `item`, `rating` and `timestamp`.
        positive_from: the first rating that is positive.
        number_rows: adds `row`, the line of each event in its file. DuckDB only.

    Returns:
        A table with the columns `session` (the user), `item` (int64, or strings in an `.inter`
        file where not all are integers), `feedback` (int8), `timestamp` (seconds; float64 in an
        `.inter` file), `file` and `problem`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: none of the layouts, a column that is missing, several files, an empty file, a
            file that cannot be unpacked, an unknown rule.
        TypeError: a rule that does not return an integer column.

    Example:

    >>> import ibis, pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "ratings.dat")
    >>> _ = path.write_text("1::1193::5::978300760\\n1::661::three::978302109\\n")
    >>> events = keras_negrec.data.logs.movielens.scan_movielens(path, ibis.duckdb.connect())
    >>> print(events.filter(events.problem.notnull()).problem.to_pandas()[0])
    column `Rating`: expected a number. Received: 'three'

    Reference:
        [Harper & Konstan, 2015](https://doi.org/10.1145/2827872)
    """
    files = find_files(path, "ratings.dat", "ratings.csv", "u.data", "*.inter")
    if len(files) > 1:
        raise ValueError(f"Expected one file of ratings. Received: {files}")
    (file,) = files
    header = first_line(file)
    layout = layout_of(Path(file), header)
    columns = list(layout.columns)
    if layout.has_header:
        table = scan_table(
            files,
            connection,
            columns,
            delimiter=layout.delimiter,
            quoted=layout is RATINGS_CSV,
            name_of=lambda field: field.split(":")[0],  # `user_id:token` in RecBole's files
            number_rows=number_rows,
        )
    else:
        lines = scan_lines(files, connection, number_rows=number_rows)
        table = split_lines(lines, columns, layout.delimiter)
    kept = ["file"] + ["row"] * number_rows
    table = table.select(*columns, *kept, "problem")
    ids = dict.fromkeys(columns[:2], "integer")
    if layout is RECBOLE:
        integers = integer_columns(table, columns[:2], file)
        ids = {name: "integer" if name in integers else "id" for name in columns[:2]}
    kinds = {columns[2]: "number", columns[3]: "number" if layout is RECBOLE else "integer"}
    table = check_columns(table, ids | kinds, file)
    user, item, rating, timestamp = columns
    ratings = table.rename(user=user, item=item, rating=rating, timestamp=timestamp)
    rules = {
        "rating": lambda ratings: ibis.ifelse(ratings.rating >= positive_from, 1, -1),
        "all_positive": lambda ratings: ibis.literal(1),
    }
    ratings = add_feedback(ratings.mutate(session=ratings.user), feedback, rules)
    return ratings.select("session", "item", "feedback", "timestamp", *kept, "problem")
