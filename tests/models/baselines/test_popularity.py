import numpy as np
import pytest

import keras_negrec
from keras_negrec.data import Sessions, Vocabulary
from keras_negrec.models import Popularity


def test_counts_kept_events_alone():
    sessions = Sessions.from_lists([[1, 2, 2, 3], [2, 4]], [[1, 2, 1, -1], [0, 1]])
    model = Popularity(sessions, num_items=5)
    scores = model.score(Sessions.from_lists([[5], [1, 2]]))
    np.testing.assert_array_equal(scores, [[1, 2, 0, 1, 0]] * 2)
    assert scores.dtype == "float32"


def test_bad_catalogues():
    with pytest.raises(ValueError, match="`num_items` must be a positive integer"):
        Popularity(Sessions.from_lists([[1]]), num_items=0)
    with pytest.raises(ValueError, match=r"Item ids must lie in 1..2. Received: 3"):
        Popularity(Sessions.from_lists([[1, 3]]), num_items=2)


def test_recommend():
    vocabulary = Vocabulary(["a", "b", "c"])
    sessions = Sessions.from_lists([[1, 3], [3, 2], [3, 2]])
    for model in (Popularity(sessions, vocabulary=vocabulary), Popularity(sessions, 3)):
        [best] = keras_negrec.recommend(model, [["b"]], vocabulary=vocabulary)
        assert best == [("c", 3.0), ("a", 1.0)]
    [best] = keras_negrec.recommend(Popularity(sessions, vocabulary=vocabulary), [["zzz"]], k=1)
    assert best == [("c", 3.0)]
    with pytest.raises(ValueError, match="The model has no vocabulary"):
        keras_negrec.recommend(Popularity(sessions, 3), [["b"]])
    with pytest.raises(ValueError, match=r"must be the size of the vocabulary, 3. Received"):
        Popularity(sessions, 4, vocabulary=vocabulary)
