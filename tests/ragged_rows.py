"""Rows of events as lists, drawn and read."""

import numpy as np
from hypothesis import strategies as st


@st.composite
def rows_and_feedback(draw):
    """Rows of distinct item ids, so that each event is known by its id, and their feedback."""
    marks = st.lists(st.integers(-2, 2), min_size=1, max_size=12)
    feedback = draw(st.lists(marks, min_size=1, max_size=6))
    return [[100 * i + j + 1 for j in range(len(row))] for i, row in enumerate(feedback)], feedback


def rows_of(sessions, name="item_ids"):
    values = sessions.columns[name]
    return [row.tolist() for row in np.split(values, sessions.row_splits[1:-1])]


def found(examples):
    """(key, history, target, skip target) of each example."""
    parts = (examples.histories.keys, examples.targets, examples.skip_targets)
    keys, targets, skips = (part.tolist() for part in parts)
    return list(zip(keys, rows_of(examples.histories), targets, skips, strict=False))
