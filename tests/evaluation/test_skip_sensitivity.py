import math

import numpy as np
import pytest
from keras import ops

import keras_negrec
from keras_negrec.data import Examples, Sessions
from keras_negrec.evaluation import skip_sensitivity
from keras_negrec.models import Popularity


class Listener:
    """Scores by key, less `falls[item]` after histories whose newest event, item, was skipped."""

    def __init__(self, scores, falls):
        self.scores, self.falls = np.asarray(scores, "float32"), np.asarray(falls, "float32")
        self.num_items = self.scores.shape[1]

    def score(self, histories):
        newest = histories.row_splits[1:] - 1
        skipped = histories.feedback[newest] < 0
        falls = self.falls[histories.item_ids[newest] - 1] * skipped[:, np.newaxis]
        return self.scores[histories.keys] - falls


# Items 1 and 2 point one way, 3 and 4 another, 5 to 8 a third.
VECTORS = np.array([[1, 0, 0]] * 2 + [[0, 2, 0]] * 2 + [[0, 0, 0.5]] * 4) + 0.01
SCORES = np.array([[3.0, 1, 3, 1, 3, 1, 3, 1]])  # standard deviation 1


def examples_of(histories, feedback):
    """Their targets do not count."""
    targets = np.ones(len(histories), int)
    return Examples(Sessions.from_lists(histories, feedback), targets, targets)


def sensitivity(scores, falls, examples, **options):
    options = {"num_neighbors": 1, "item_vectors": VECTORS, **options}
    return skip_sensitivity(Listener(scores, falls), examples, **options)


@pytest.mark.parametrize(
    ("scores", "falls_after_1", "item_fall", "neighbor_fall"),
    [
        # The others fall by 0.125 on average.
        (SCORES, [2.0, 1.5, 0.25, 0, 0.25, 0, 0.25, 0], 2 - 0.125, 1.5 - 0.125),
        (SCORES * 10, [20.0, 10.0, 0, 0, 0, 0, 0, 0], 2, 1),  # in standard deviations
        (SCORES, [4.0] * 8, 0, 0),  # a shift of all scores is no answer
        (SCORES, [-1.0, 0, 0, 0, 0, 0, 0, 0], -1, 0),  # rising is negative
    ],
)
def test_known_answers(scores, falls_after_1, item_fall, neighbor_fall):
    falls = np.zeros((8, 8))
    falls[0] = falls_after_1
    metrics = sensitivity(scores, falls, examples_of([[5, 1]], [[1, 2]]))
    expected = {"item_fall": item_fall, "neighbor_fall": neighbor_fall, "num_examples": 1}
    assert metrics == pytest.approx(expected)


@pytest.mark.parametrize("batch_size", [4, 1000])
def test_against_a_loop(batch_size):
    random = np.random.default_rng(0)
    num_rows, num_items, num_neighbors = 40, 20, 3
    scores, falls = random.normal(size=(num_rows, num_items)), random.normal(size=(20, 20))
    vectors = random.normal(size=(num_items, 4))
    histories = random.integers(1, num_items + 1, (num_rows, 3))
    feedback = random.integers(-2, 3, (num_rows, 3))
    item_falls, neighbor_falls = [], []
    for row in range(num_rows):
        if feedback[row, -1] <= 0:
            continue
        item = histories[row, -1] - 1
        cosines = {
            j: vectors[j] @ vectors[item] / np.linalg.norm(vectors[j]) for j in range(num_items)
        }
        del cosines[item]
        neighbors = sorted(cosines, key=cosines.get)[-num_neighbors:]
        others = [j for j in cosines if j not in neighbors]
        fall = falls[item] / np.std(scores[row])
        item_falls.append(fall[item] - np.mean(fall[others]))
        neighbor_falls.append(np.mean(fall[neighbors]) - np.mean(fall[others]))
    assert 5 < len(item_falls) < num_rows
    options = {"num_neighbors": num_neighbors, "item_vectors": vectors, "batch_size": batch_size}
    examples = examples_of(histories.tolist(), feedback.tolist())
    metrics = sensitivity(scores, falls, examples, **options)
    expected = {"item_fall": np.mean(item_falls), "neighbor_fall": np.mean(neighbor_falls)}
    assert metrics == pytest.approx(expected | {"num_examples": len(item_falls)}, abs=1e-5)


def test_who_does_not_listen():
    sessions = Sessions.from_lists([[1, 2, 3], [4, 5]])
    examples = Examples(sessions, np.array([1, 2]), np.array([0, 0]))
    expected = {"item_fall": 0, "neighbor_fall": 0, "num_examples": 2}
    nothing = sessions.between(0, 0)  # equal scores throughout
    deaf = keras_negrec.build_model("gru4rec", num_items=8, embedding_dim=4)
    for model in (Popularity(sessions, 8), Popularity(nothing, 8), deaf):
        assert skip_sensitivity(model, examples, num_neighbors=2, item_vectors=VECTORS) == expected


def test_item_vectors_are_those_that_score():
    examples = examples_of([[1, 2, 3], [4, 5, 6]], [[1, -1, 1], [1, 1, 2]])
    before = examples.histories.feedback.copy()
    features = np.random.default_rng(0).normal(size=(8, 3))
    model = keras_negrec.build_model(
        "sasrec", num_items=8, item_features=features, embedding_dim=4, feedback_inputs=True
    )
    kernel = ops.convert_to_numpy(model.item_embedding.feature_kernel)
    own = ops.convert_to_numpy(model.item_embedding.embeddings)
    vectors = own + features.astype("float32") @ kernel
    found = skip_sensitivity(model, examples, num_neighbors=2)
    expected = skip_sensitivity(model, examples, num_neighbors=2, item_vectors=vectors)
    assert found == pytest.approx(expected, rel=1e-5)
    other = skip_sensitivity(model, examples, num_neighbors=2, item_vectors=own)
    assert found["neighbor_fall"] != pytest.approx(other["neighbor_fall"], rel=1e-3)
    assert found["item_fall"] != 0
    np.testing.assert_array_equal(examples.histories.feedback, before)


def test_nothing_kept_gives_nan():
    metrics = sensitivity(SCORES, np.eye(8), examples_of([[1, 2], [3]], [[1, -1], [0]]))
    assert metrics["num_examples"] == 0
    assert math.isnan(metrics["item_fall"]) and math.isnan(metrics["neighbor_fall"])
    histories = Sessions.from_lists([[1], [2]]).between([1, 0], [1, 1])  # the first is empty
    scores = np.repeat(SCORES, 2, axis=0)
    metrics = sensitivity(scores, np.eye(8), Examples(histories, np.array([1, 1])))
    assert (metrics["num_examples"], metrics["item_fall"]) == (1, pytest.approx(1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"item_vectors": None}, "`item_vectors` must be given .* Received: item_vectors=None"),
        ({"item_vectors": np.ones((7, 2))}, r"one row for each of the 8 .* shape: \(7, 2\)"),
        ({"num_neighbors": 7}, "`num_neighbors` must be below 7.*=7"),
        ({"num_neighbors": 0}, "`num_neighbors` must be a positive"),
        ({"scores": np.where(np.arange(8) == 3, -np.inf, SCORES)}, "Scores must be finite"),
    ],
)
def test_bad_arguments(arguments, message):
    examples = examples_of([[1]], [[1]])
    with pytest.raises(ValueError, match=message):
        sensitivity(**{"scores": SCORES} | arguments, falls=np.eye(8), examples=examples)
