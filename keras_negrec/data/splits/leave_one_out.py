"""The leave-one-out split."""

from __future__ import annotations

import numpy as np

from keras_negrec.data.sessions import Sessions
from keras_negrec.data.splits.cuts import leave_one_out_cuts
from keras_negrec.data.splits.split import Split


def leave_one_out(sessions: Sessions) -> Split:
    """Holds out the last positive event of each session for test, the one before for validation.

    With the positive events of a session numbered 1 to n, the test history ends with positive
    n-1 and its target is positive n; the validation history ends with positive n-2 and its
    target is positive n-1; training sees the events up to positive n-2. Skips between two
    positives are after the history's end, so that the next skip is a thing to predict like the
    next positive. Where all events are positive this is the usual leave-one-out.

    Sessions with fewer than three positive events cannot give all three parts and go whole
    into training.

    Args:
        sessions: `Sessions`.

    Returns:
        A `Split`. No event at or after a session's validation cut is in its training row.

    Raises:
        ValueError: no session has three positive events.

    Example:

    >>> sessions = keras_negrec.data.Sessions.from_lists(
    ...     [[1, 2, 3, 4, 5]], [[1, 1, -1, 1, 1]]
    ... )
    >>> split = keras_negrec.data.leave_one_out(sessions)
    >>> split.train.item_ids, split.validation.targets, split.test.targets
    (array([1, 2], dtype=int32), array([4], dtype=int32), array([5], dtype=int32))
    """
    cuts = leave_one_out_cuts(sessions)
    if (cuts.test_at < 0).all():
        num_positive = np.bincount(sessions.rows()[sessions.feedback > 0])
        raise ValueError(
            "Leave-one-out needs sessions with at least 3 positive events. Received: "
            f"{len(sessions)} sessions with at most {num_positive.max(initial=0)}."
        )
    return Split(
        train=sessions.between(0, cuts.train_end),
        validation=cuts.examples("validation", sessions),
        test=cuts.examples("test", sessions),
    )
