import numpy as np
import pytest

from keras_negrec.data import Sessions
from keras_negrec.models import Popularity


def test_counts_kept_events_alone():
    sessions = Sessions.from_lists([[1, 2, 2, 3], [2, 4]], [[1, 2, 1, -1], [0, 1]])
    model = Popularity(sessions, num_items=5)
    scores = model.score(Sessions.from_lists([[5], [1, 2]]))
    np.testing.assert_array_equal(scores, [[1, 2, 0, 1, 0]] * 2)
    assert scores.dtype == "float32"


def test_nothing_kept():
    model = Popularity(Sessions.from_lists([[1, 2]], [[-1, -1]]), num_items=3)
    np.testing.assert_array_equal(model.score(Sessions.from_lists([[1]])), [[0, 0, 0]])


def test_num_items_must_be_positive():
    with pytest.raises(ValueError, match="`num_items` must be a positive integer"):
        Popularity(Sessions.from_lists([[1]]), num_items=0)
