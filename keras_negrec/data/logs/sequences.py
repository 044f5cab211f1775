"""Files with one user's items a line."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
import pandas as pd

from keras_negrec.data.logs.columns import add_problems, check_columns, infer_kinds
from keras_negrec.data.logs.feedback_rule import to_events
from keras_negrec.data.logs.files import Source, find_files
from keras_negrec.data.logs.read_log import read_scan
from keras_negrec.data.logs.scan_files import scan_lines


def read_sequences(path: Source, *, errors: str = "raise") -> pd.DataFrame:
    """Reads lines of `user item item ...`, each user's items in time order.

    It is the layout of the benchmark files of SASRec, S3-Rec and many papers after them. They hold
    no feedback: every event is +1.

    Args:
        path: the file, packed (`.gz`) or not, a list of files, or a folder of `*.txt` files. White
            space of any kind stands between ids.
        errors: `"raise"` or `"skip"`, as in `read_log`, which says what is raised.

    Returns:
        An events table with the columns `session` (the user), `item`, `feedback` and
        `position`, from 0 in each session. Users are integers if all of them are, else strings;
        so are items.

    Example:

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp(), "LastFM.txt")
    >>> _ = path.write_text("1 10 20\\n2 20\\n")
    >>> keras_negrec.data.read_sequences(path)
       session  item  feedback  position
    0        1    10         1         0
    1        1    20         1         1
    2        2    20         1         0

    Reference:
        [Zhou et al., 2020](https://arxiv.org/abs/2008.07873)
    """
    return read_scan(scan_sequences, **locals())


def scan_sequences(
    path: Source, connection: ibis.BaseBackend, *, number_rows: bool = False
) -> ir.Table:
    """The events of `read_sequences` as a lazy table.

    The file is read once beforehand to see whether all users and all items are integers.
    """
    files = find_files(path, "*.txt", "*.txt.gz")
    lines = scan_lines(files, connection, number_rows=number_rows)
    lines = lines.mutate(ids=lines.line.re_replace(r"\s+", " ").strip().split(" "))
    lines = lines.filter(lines.ids[0] != "")  # Blank ones.
    lacking = "expected a user and at least one item. Received: " + lines.line.substr(0, 200)
    lines = add_problems(lines, ibis.ifelse(lines.ids.length() > 1, ibis.null("string"), lacking))
    is_fine, nothing = lines.problem.isnull(), ibis.null("string")
    events = lines.mutate(
        session=ibis.ifelse(is_fine, lines.ids[0], nothing),
        item=ibis.ifelse(is_fine, lines.ids[1:], ibis.array([nothing])),
    ).unnest("item", offset="position")
    events = events.mutate(position=events.position.cast("int64"))
    kinds = infer_kinds(events, {"session": "id", "item": "id"}, files[0])
    events = check_columns(events, kinds, files[0])
    rules = {"positive": lambda events: ibis.literal(1)}
    return to_events(events, ["session", "item", "position"], "positive", rules)
