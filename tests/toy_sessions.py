"""Sessions with a rule that a model can learn."""

import numpy as np

from keras_negrec.data import Sessions

NUM_KEPT = 6
NUM_ITEMS = 10


def toy_sessions(num_rows=64, length=12, with_sessions=False, seed=0):
    """Kept items 1..6 follow each other in a circle; items 7..10 come in between, skipped.

    All rows have one length, so that few shapes are compiled.
    """
    random = np.random.default_rng(seed)
    kept = random.random((num_rows, length)) < 0.7
    kept[:, [0, -1]] = True
    turn = random.integers(NUM_KEPT, size=(num_rows, 1)) + np.cumsum(kept, axis=1)
    items = np.where(
        kept, turn % NUM_KEPT + 1, random.integers(NUM_KEPT + 1, NUM_ITEMS + 1, kept.shape)
    )
    return Sessions.from_lists(
        items.tolist(),
        np.where(kept, 1, -1).tolist(),
        [[i * 2 // length for i in range(length)]] * num_rows if with_sessions else None,
        timestamps=np.cumsum(random.integers(1, 400, kept.shape), axis=1).tolist(),
    )
