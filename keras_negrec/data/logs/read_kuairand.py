"""The reader of KuaiRand's short-video log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from keras_negrec.data.logs.check_events import check_events
from keras_negrec.data.logs.table_columns import (
    pick_column,
    refuse,
    text_to_integers,
    to_feedback,
)
from keras_negrec.data.logs.table_files import (
    existing_file,
    read_delimited,
    read_parquet,
    read_text,
)

_INTEGERS = ("user_id", "video_id", "time_ms")  # Columns of a log that can be nothing else.


def read_kuairand(
    path: str | Path, *, feedback: Callable[[pd.DataFrame], Any] | None = None
) -> pd.DataFrame:
    """Reads KuaiRand, the log of a short-video app: a published log or a labelled Parquet.

    A log is a file `log_*.csv` with the columns `user_id`, `video_id`, `time_ms`, the labels
    `long_view`, `is_like` and `is_hate`, 1 where it happened, and more.

    A labelled Parquet has the columns `user_id`, `item_id`, `position`, `split` (`history`,
    `validation` or `test`) and the same labels. Likes and hates are unknown (missing) in the
    history part.

    Args:
        path: the Parquet file, or the log: `.csv` or `.csv.gz`.
        feedback: the rule that turns labels into feedback: a function of the whole log, as a
            DataFrame with the file's columns in which missing labels are NaN, that returns one
            whole number from -2 to 2 a row.
            By default a hated video is -2 even if it was liked, a liked one +2, any other one
            +1 where it was watched (`long_view` 1) and -1 where it was not.

    Returns:
        An events table with the columns `session` (the user), `item` and `feedback`; of a log
        `timestamp` (seconds since 1970); of a Parquet `position` and `split`, and no `timestamp`,
        because the history part has no times.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that is neither; a column or a value that is missing; a label other than
            0 and 1; a rule that returns something else than feedback.

    Example:

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp(), "kuairand.parquet")
    >>> pd.DataFrame({
    ...     "user_id": [7, 7], "item_id": [30, 31], "position": [0, 1],
    ...     "split": ["history", "test"], "long_view": [0, 1],
    ...     "is_like": [None, 1], "is_hate": [None, 0],
    ... }).to_parquet(path)
    >>> keras_negrec.data.read_kuairand(path)["feedback"].tolist()
    [-1, 2]
    >>> watched = keras_negrec.data.read_kuairand(path, feedback=lambda log: log["long_view"])
    >>> watched["feedback"].tolist()
    [0, 1]

    Reference:
        [Gao et al., 2022](https://arxiv.org/abs/2208.08696)
    """
    path = existing_file(path)
    if path.name.endswith((".csv", ".csv.gz")):
        log = read_delimited(read_text(path), path, delimiter=",", text_columns=_INTEGERS)
        integers = {
            name: text_to_integers(pick_column(log, name, path), path) for name in _INTEGERS
        }
        log = log.assign(**integers)
        item, order = log["video_id"], {"timestamp": log["time_ms"] / 1000}
    else:
        log = read_parquet(path)
        pick_column(log, "user_id", path)
        item = pick_column(log, "item_id", path)
        order = {name: pick_column(log, name, path) for name in ("position", "split")}
        order["split"] = order["split"].astype(str)
    values = _default_feedback(log, path) if feedback is None else feedback(log)
    columns = {
        "session": log["user_id"],
        "item": item,
        "feedback": to_feedback(values, log.index, path),
        **order,
    }
    events = pd.DataFrame({name: column.array for name, column in columns.items()})
    check_events(events, source=str(path))
    return events


def _default_feedback(log: pd.DataFrame, path: Path) -> np.ndarray:
    watched = pick_column(log, "long_view", path)
    refuse(watched, ~watched.isin([0, 1]), "expected 0 or 1", path)
    return np.select(
        [_happened(log, "is_hate", path), _happened(log, "is_like", path), watched == 1],
        [-2, 2, 1],
        default=-1,
    )


def _happened(log: pd.DataFrame, name: str, path: Path) -> np.ndarray:
    if name not in log:
        pick_column(log, name, path)  # Raises, naming what is there.
    label = log[name]
    refuse(label, ~(label.isna() | label.isin([0, 1])), "expected 0, 1 or missing", path)
    return label.eq(1).to_numpy()
