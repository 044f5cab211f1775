from types import SimpleNamespace

import keras
import numpy as np
import pytest

import keras_negrec
from keras_negrec.data import Vocabulary
from keras_negrec.serving import Recommendation


class Fixed:
    """A model that gives every history the same scores, and remembers what it was asked."""

    def __init__(self, scores, vocabulary):
        self.scores, self.vocabulary = scores, vocabulary

    def score(self, sessions):
        self.asked = sessions
        return np.array([self.scores] * len(sessions), "float32")


@pytest.fixture
def model():
    return Fixed([0.1, 0.9, 0.5, 0.9], Vocabulary(["a", "b", "c", "d"]))


def items(recommendations):
    return [[recommendation.item for recommendation in row] for row in recommendations]


def test_best_first_and_of_equal_scores_the_more_frequent(model):
    found = keras_negrec.recommend(model, [["a"]], exclude_seen=False)
    assert items(found) == [["b", "d", "c", "a"]]
    assert [r.score for r in found[0]] == pytest.approx([0.9, 0.9, 0.5, 0.1])
    assert isinstance(found[0][0], Recommendation)
    assert type(found[0][0].item) is str
    assert type(found[0][0].score) is float
    for k in (1, 2, 3):
        assert items(keras_negrec.recommend(model, [["a"]], k=k)) == [["b", "d", "c"][:k]]
    assert keras_negrec.recommend(model, []) == []


def test_seen_items_are_excluded_skipped_ones_too(model):
    found = keras_negrec.recommend(model, [["b", "c"], ["d"]], feedback=[[1, -1], [-2]])
    assert items(found) == [["d", "a"], ["b", "c", "a"]]  # fewer than k where fewer are left
    assert items(keras_negrec.recommend(model, [["a", "b", "c", "d"]])) == [[]]


def test_events_reach_the_model_and_unknown_ids_are_passed_over(model):
    keras_negrec.recommend(model, [["b", "x", "c"], ["d"]], feedback=[[1, 2, -1], [0]])
    np.testing.assert_array_equal(model.asked.padded(2)["item_ids"], [[2, 3], [0, 4]])
    np.testing.assert_array_equal(model.asked.padded(2)["feedback"], [[1, -1], [0, 0]])
    keras_negrec.recommend(model, [["b", "c"]])
    np.testing.assert_array_equal(model.asked.feedback, [1, 1])  # kept, when not told


@pytest.mark.parametrize("history", [[], ["x", "y"], np.array([], str)])
def test_a_history_without_a_known_item_is_no_history(model, history):
    found = keras_negrec.recommend(model, [["b"], history], feedback=[[-1], [1] * len(history)])
    assert items(found) == [["d", "c", "a"], ["b", "d", "c", "a"]]
    assert model.asked.lengths.tolist() == [1, 0]


def test_further_columns(model):
    keras_negrec.recommend(model, [["b", "x", "c"], ["d"]], session_ids=[[0, 1, 2], [5]])
    assert model.asked.session_ids.tolist() == [0, 2, 5]
    model.serving_model = SimpleNamespace(input={"item_ids": None, "session_ids": None})
    keras_negrec.recommend(model, [["b", "x", "c"], ["d"]])
    assert model.asked.session_ids.tolist() == [0, 0, 0]


def test_integer_ids():
    model = Fixed([0.1, 0.9, 0.5], Vocabulary([700, -5, 2**40]))
    found = keras_negrec.recommend(model, [[700, 123], [2**40]])
    assert items(found) == [[-5, 2**40], [-5, 700]]
    assert type(found[0][0].item) is int
    assert items(keras_negrec.recommend(model, [np.array([700])], k=1)) == [[-5]]


@pytest.mark.parametrize(
    ("histories", "options", "error", "message"),
    [
        ([["a"]], {"feedback": [[3]]}, ValueError, "must be -2, -1, 0, 1 or 2. Received 3 in"),
        ([["a"]], {"feedback": [[257]]}, ValueError, "`feedback` of history 0 must hold 1 int8"),
        ([["a"]], {"feedback": [[1, 1]]}, ValueError, "`feedback` of history 0 must hold 1 int8"),
        ([["a"]], {"feedback": [[0.5]]}, ValueError, "`feedback` of history 0 must hold 1 int8"),
        ([["a"]], {"feedback": [[True]]}, ValueError, "`feedback` of history 0 must hold 1 int8"),
        ([["a"]], {"feedback": [[1], [1]]}, ValueError, "each of the 1 histories. Received: 2"),
        ([["a"]], {"session_ids": [[1.5]]}, ValueError, "`session_ids` of history 0 must hold 1"),
        ([["a"]], {"moods": [[1]]}, TypeError, "Event columns are .*timestamps; .*: moods"),
        ([[7]], {}, TypeError, "The vocabulary holds strings. Received an item of type int"),
        ([["7"]], {"vocabulary": Vocabulary([7, 8, 9, 10])}, TypeError, "holds integers. .* str"),
        (["abc"], {}, TypeError, "must be a list of lists of item ids"),
        ("abc", {}, TypeError, "must be a list of lists of item ids"),
        ([["a"]], {"k": 1.5}, ValueError, "`k` must be a positive integer"),
    ],
)
def test_bad_arguments(model, histories, options, error, message):
    with pytest.raises(error, match=message):
        keras_negrec.recommend(model, histories, **options)
    model.vocabulary = None
    with pytest.raises(ValueError, match="The model has no vocabulary"):
        keras_negrec.recommend(model, [["a"]])


@pytest.mark.parametrize("name", ["sasrec", "bert4rec"])
def test_whole_models(name):
    model = keras_negrec.build_model(
        name,
        vocabulary=Vocabulary([f"track {i}" for i in range(9)]),
        max_length=4,
        embedding_dim=8,
        num_layers=1,
        feedback_inputs=True,
    )
    histories = [["track 3", "track 8", "track 1"], ["nobody knows"], ["track 2"] * 30]
    found = keras_negrec.recommend(model, histories, k=20)
    assert [len(row) for row in found] == [6, 9, 8]
    for history, row in zip(histories, found, strict=True):
        assert not set(history) & {r.item for r in row}
        assert (np.diff([r.score for r in row]) <= 0).all()  # and none is NaN
    assert items(keras_negrec.recommend(model, histories[:1], k=20)) == items(found[:1])
    keras.utils.set_random_seed(1)  # dropout plays no part
    assert keras_negrec.recommend(model, histories, k=20) == found
