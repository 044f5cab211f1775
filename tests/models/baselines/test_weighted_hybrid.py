import numpy as np
import pytest
from toy_sessions import NUM_ITEMS, toy_sessions

import keras_negrec
from keras_negrec.data import Sessions, Vocabulary
from keras_negrec.models import ItemCooccurrence, Popularity, WeightedHybrid


class Fixed:
    """A model that gives the same scores whatever it is asked."""

    def __init__(self, scores, vocabulary=None):
        self.scores = np.asarray(scores, "float32")
        self.num_items, self.vocabulary = self.scores.shape[1], vocabulary

    def score(self, histories):
        return self.scores[: len(histories)]


HISTORIES = Sessions.from_lists([[1], [2]])


def test_against_the_definition():
    random = np.random.default_rng(0)
    first, second = random.normal(size=(2, 2, 7)) * [[[1]], [[1000]]] + 50
    found = WeightedHybrid([Fixed(first), Fixed(second)], [1, 0.3]).score(HISTORIES)
    for row in range(2):
        for item in range(7):
            expected = sum(
                weight * (scores[row, item] - np.mean(scores[row])) / np.std(scores[row])
                for scores, weight in ((first, 1), (second, 0.3))
            )
            assert found[row, item] == pytest.approx(expected, abs=1e-4)
    assert found.dtype == "float32"


def test_scale_and_offset_of_a_model_do_not_matter():
    scores = np.random.default_rng(0).normal(size=(2, 5))
    other = Fixed(np.random.default_rng(1).normal(size=(2, 5)))
    plain = WeightedHybrid([Fixed(scores), other], [1, 1]).score(HISTORIES)
    scaled = WeightedHybrid([Fixed(100 * scores - 7), other], [1, 1]).score(HISTORIES)
    np.testing.assert_allclose(scaled, plain, atol=1e-4)


def test_a_model_that_knows_nothing_of_a_history_plays_no_part():
    known = Fixed([[1, 2, 3], [3, 1, 2]])
    unknown = Fixed([[0.1, 0.1, 0.1], [0, 5, 0]])
    found = WeightedHybrid([known, unknown], [1, 2]).score(HISTORIES)
    np.testing.assert_allclose(found[0], [-np.sqrt(1.5), 0, np.sqrt(1.5)], atol=1e-6)
    assert found[1].argmax() == 1


def test_is_evaluated_and_recommends():
    vocabulary = Vocabulary([f"track {i}" for i in range(NUM_ITEMS)])
    split = keras_negrec.data.leave_one_out(toy_sessions(40))
    popularity = Popularity(split.train, NUM_ITEMS)
    cooccurrence = ItemCooccurrence(split.train, vocabulary=vocabulary)
    hybrid = WeightedHybrid([popularity, cooccurrence], [0.1, 1.0])
    found = keras_negrec.evaluate(hybrid, split.test, exclude_seen=False, k=(1,))
    assert (
        found["hr@1"]
        > keras_negrec.evaluate(popularity, split.test, exclude_seen=False, k=(1,))["hr@1"]
    )
    [best] = keras_negrec.recommend(hybrid, [["track 0"]], k=1)
    assert best[0].item == "track 1"  # the toy's rule


@pytest.mark.parametrize(
    ("models", "weights", "message"),
    [
        ([], [], "at least one model"),
        ([Fixed([[1, 2]])], [1, 2], r"each of the 1 models\. Received: weights=\[1, 2\]"),
        ([Fixed([[1, 2]])], [float("nan")], r"a finite number for each"),
        ([Fixed([[1, 2]]), Fixed([[1, 2, 3]])], [1, 1], "of 2 items .* and of 3"),
        (
            [Fixed([[1, 2]], Vocabulary(["a", "b"])), Fixed([[1, 2]], Vocabulary(["a", "c"]))],
            [1, 1],
            "of one catalogue",
        ),
    ],
)
def test_bad_arguments(models, weights, message):
    with pytest.raises(ValueError, match=message):
        WeightedHybrid(models, weights)
