"""The split at a given event of each row."""

from __future__ import annotations

import numpy as np

from keras_negrec.data.examples import Examples
from keras_negrec.data.sessions import Sessions
from keras_negrec.data.splits.split import Split


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

    Returns:
        A `Split`.

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
    if (cuts < 0).any() or (cuts > sessions.lengths).any():
        row = int(np.argmax((cuts < 0) | (cuts > sessions.lengths)))
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
        train=sessions.between(0, cuts).take(np.flatnonzero(cuts > 0)),
        validation=examples.take(np.sort(order[:num_validation])),
        test=examples.take(np.sort(order[num_validation:])),
    )
