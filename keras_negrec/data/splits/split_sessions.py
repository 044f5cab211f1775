"""The splits of sessions in memory."""

from __future__ import annotations

import numpy as np

from keras_negrec.data.examples import Examples
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

    Sessions with fewer than three positive events go whole into training.

    Raises:
        ValueError: no session has three positive events.

    Example:

    >>> sessions = keras_negrec.data.Sessions.from_lists([[1, 2, 3, 4, 5]], [[1, 1, -1, 1, 1]])
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


def split_at(
    sessions: Sessions, cuts: np.ndarray, *, validation_share: float = 0.1, seed: int = 0
) -> Split:
    """Trains on the events before each row's cut; what comes right after is to be predicted.

    A share of the rows, drawn at random, gives the validation examples and the others the test
    examples, so that choices made on the validation rows never saw a test target.

    Args:
        sessions: `Sessions`.
        cuts: int array of shape `(num_rows,)`, how many events of each row train. Rows with
            none have no history and take no part; rows with no positive event after the cut
            train only.
        validation_share: float between 0 and 1.
        seed: int. Draws the validation rows.

    Raises:
        ValueError: `cuts` of another length, negative, or beyond a row's end; a
            `validation_share` outside of 0 to 1.

    Example:

    >>> sessions = keras_negrec.data.Sessions.from_lists([[1, 2, 3], [3, 2, 1]])
    >>> split = keras_negrec.data.split_at(sessions, np.array([2, 2]), validation_share=0.5)
    >>> split.summary()
    'train: 2 sessions, 4 events; validation: 1 examples, 0 with a skip; test: 1 examples, ...'
    """
    cuts = np.asarray(cuts)
    if cuts.shape != (len(sessions),):
        raise ValueError(
            f"`cuts` must have shape ({len(sessions)},), one value a row. Received: {cuts.shape}"
        )
    for row in np.flatnonzero((cuts < 0) | (cuts > sessions.lengths))[:1]:
        raise ValueError(
            f"A cut must lie between 0 and the row's length, {sessions.lengths[row]} in row {row}. "
            f"Received: {cuts[row]}"
        )
    if not 0 <= validation_share <= 1:
        raise ValueError(
            f"`validation_share` must lie between 0 and 1. Received: {validation_share}"
        )
    examples = Examples.after(sessions, cuts)
    order = np.random.default_rng(seed).permutation(len(examples))
    num_validation = round(validation_share * len(examples))
    return Split(
        train=sessions.between(0, cuts).take(cuts > 0),
        validation=examples.take(np.sort(order[:num_validation])),
        test=examples.take(np.sort(order[num_validation:])),
    )
