"""Sessions with a rule that a model can learn."""

import numpy as np

from keras_negrec.data import Sessions

NUM_KEPT = 6
NUM_ITEMS = 10


def toy_sessions(num_rows=64, num_kept=9, with_sessions=False, seed=0):
    """Kept items 1..6 follow each other in a circle; items 7..10 come in between, skipped."""
    random = np.random.default_rng(seed)
    items, feedback, session_ids = [], [], []
    for _ in range(num_rows):
        item, row = int(random.integers(NUM_KEPT)), []
        for _ in range(num_kept):
            row.append((item + 1, 1))
            item = (item + 1) % NUM_KEPT
            if random.random() < 0.4:
                row.append((int(random.integers(NUM_KEPT + 1, NUM_ITEMS + 1)), -1))
        items.append([item for item, _ in row])
        feedback.append([value for _, value in row])
        session_ids.append([i * 2 // len(row) for i in range(len(row))])
    return Sessions.from_lists(items, feedback, session_ids if with_sessions else None)
