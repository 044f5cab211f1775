import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import keras_negrec
from keras_negrec.data import Sessions, Vocabulary
from keras_negrec.models import ItemCooccurrence, Popularity

NUM_ITEMS = 6
PLAIN = {"window": None, "directed": False, "shrinkage": 0, "decay": 1.0, "num_neighbors": None}


def reference_similarities(rows, feedback, window, directed, shrinkage, num_neighbors=None):
    """The definition, session by session and pair by pair. Items from 1."""
    kept_rows = [
        [item for item, f in zip(row, fs, strict=True) if f > 0]
        for row, fs in zip(rows, feedback, strict=True)
    ]
    similarities = np.zeros((NUM_ITEMS + 1, NUM_ITEMS + 1))
    sizes = [sum(i in row for row in kept_rows) for i in range(NUM_ITEMS + 1)]
    for i in range(1, NUM_ITEMS + 1):
        for j in range(1, NUM_ITEMS + 1):
            together = 0
            for row in kept_rows:
                together += any(
                    row[a] == i
                    and row[b] == j
                    and (b > a or not directed)
                    and (window is None or abs(b - a) <= window)
                    for a in range(len(row))
                    for b in range(len(row))
                )
            if i != j and together:
                similarities[i, j] = together / (math.sqrt(sizes[i] * sizes[j]) + shrinkage)
    if num_neighbors is not None:
        for row in similarities:
            row[np.argsort(-row, kind="stable")[num_neighbors:]] = 0
    return similarities[1:, 1:]


def reference_scores(similarities, row, feedback, decay, skip_weight):
    scores = np.zeros(NUM_ITEMS)
    for position, (item, f) in enumerate(zip(row, feedback, strict=True)):
        age = sum(later > 0 for later in feedback[position + 1 :])
        weight = 1 if f > 0 else skip_weight if f < 0 else 0
        scores += weight * decay**age * similarities[item - 1]
    return scores


@st.composite
def sessions(draw):
    """Rows of items and of feedback, items repeated and rows without a kept event included."""
    event = st.tuples(st.integers(1, NUM_ITEMS), st.sampled_from([1, 1, 1, 2, 0, -1, -2]))
    rows = draw(st.lists(st.lists(event, min_size=1, max_size=7), min_size=1, max_size=6))
    return [[item for item, _ in row] for row in rows], [[f for _, f in row] for row in rows]


@given(
    sessions(),
    sessions(),
    st.sampled_from([None, 1, 2, 4]),
    st.booleans(),
    st.sampled_from([0, 3.5]),
    st.sampled_from([1.0, 0.5]),
    st.sampled_from([0.0, -0.4]),
    st.sampled_from([None, 1, 2]),
)
def test_against_the_definition(
    train, histories, window, directed, shrinkage, decay, skip_weight, num_neighbors
):
    counted = {"window": window, "directed": directed, "shrinkage": shrinkage}
    counted["num_neighbors"] = num_neighbors
    rows = Sessions.from_lists(*train)
    model = ItemCooccurrence(rows, NUM_ITEMS, decay=decay, skip_weight=skip_weight, **counted)
    similarities = reference_similarities(*train, **counted)
    np.testing.assert_allclose(model.similarities.toarray(), similarities, rtol=1e-6)
    scores = model.score(Sessions.from_lists(*histories))
    expected = [
        reference_scores(similarities, row, feedback, decay, skip_weight)
        for row, feedback in zip(*histories, strict=True)
    ]
    assert scores.dtype == "float32"
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-6)


def test_hand_worked():
    train = Sessions.from_lists([[1, 2, 3], [2, 1], [1, 4]], [[1, 1, -1], [1, 2], [1, 1]])
    scores = ItemCooccurrence(train, 4, **PLAIN).score(Sessions.from_lists([[1], [2, 4]]))
    with_2, with_4 = 2 / math.sqrt(3 * 2), 1 / math.sqrt(3 * 1)
    np.testing.assert_allclose(
        scores, [[0, with_2, 0, with_4], [with_2 + with_4, 0, 0, 0]], rtol=1e-6
    )


def test_empty_and_unknown_histories_score_0():
    train = Sessions.from_lists([[1, 2, 3]] * 3)
    model = ItemCooccurrence(train, 5)
    histories = Sessions.from_lists([[1], [2], [5], [1]], [[1], [-1], [1], [0]])
    scores = model.score(histories.between([0, 0, 0, 0], [0, 1, 1, 1]))  # the first one empty
    np.testing.assert_array_equal(scores, np.zeros((4, 5)))
    assert model.score(histories.take([])).shape == (0, 5)


def test_nothing_kept_in_training():
    asked = Sessions.from_lists([[1, 2]])
    for train in (Sessions.from_lists([[1, 2]], [[-1, 0]]), asked.take([])):
        np.testing.assert_array_equal(ItemCooccurrence(train, 3).score(asked), np.zeros((1, 3)))


def test_large_catalogue_stays_sparse():
    num_items = 100_000
    random = np.random.default_rng(0)
    train = Sessions.from_lists(random.integers(1, num_items + 1, (1000, 30)).tolist())
    model = ItemCooccurrence(train, num_items)
    assert model.similarities.shape == (num_items, num_items)
    assert model.similarities.nnz <= 1000 * 30 * 20
    assert model.score(train.take([3, 4])).shape == (2, num_items)


def test_recommends():
    vocabulary = Vocabulary(["a", "b", "c", "d"])
    train = Sessions.from_lists([[1, 2, 3]] * 5 + [[4, 1], [1, 2]])
    for own, other in ((vocabulary, None), (None, vocabulary)):
        model = ItemCooccurrence(train, 4, vocabulary=own)
        [best] = keras_negrec.recommend(model, [["a", "zzz"]], k=2, vocabulary=other)
        assert [r.item for r in best] == ["b", "c"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_items": None}, "`num_items` must be a positive integer"),
        ({"window": 0}, "`window` must be a positive integer. Received: window=0"),
        ({"shrinkage": -1}, "`shrinkage` must be at least 0. Received: shrinkage=-1"),
        ({"decay": 0}, "`decay` must be above 0 and at most 1. Received: decay=0"),
        ({"decay": 1.1}, "`decay` must be above 0 and at most 1. Received: decay=1.1"),
        ({"skip_weight": math.nan}, "`skip_weight` must be finite. Received: skip_weight=nan"),
        ({"num_neighbors": 0}, "`num_neighbors` must be a positive integer"),
        ({"num_items": 2}, r"Item ids must lie in 1..2. Received: 3"),
        ({"vocabulary": Vocabulary([7, 8])}, "must be the size of the vocabulary, 2. Received"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        ItemCooccurrence(Sessions.from_lists([[1, 2, 3]]), **{"num_items": 5, **arguments})


# Popularity


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


def test_popularity_recommends():
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
