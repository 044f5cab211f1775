import keras
import numpy as np
import pytest
from small_models import fit, numpy, with_random_weights

import keras_negrec
from keras_negrec.data import Examples, Sessions, Vocabulary
from keras_negrec.losses import BayesianPersonalizedRanking
from keras_negrec.models import MatrixFactorization

NUM_ITEMS = 12
SMALL = {"num_items": NUM_ITEMS, "embedding_dim": 4, "max_length": 6, "num_sampled_negatives": 5}


def with_weights(**arguments):
    """A model whose weights are far from their start."""
    return with_random_weights(MatrixFactorization(**{**SMALL, "dropout": 0.0, **arguments}), 1.0)


def tables(model):
    """Input vectors, output vectors and biases."""
    weights = map(numpy, model.trainable_weights)
    bag, item = sorted(weights, key=lambda weight: weight.shape[1])
    return bag.astype("float64"), item[:, :-1].astype("float64"), item[:, -1].astype("float64")


def reference(model, bag, normalization=0.5):
    """y of a bag of distinct items, for all items."""
    p, q, bias = tables(model)
    total = sum((p[i - 1] for i in bag), np.zeros(p.shape[1]))
    return bias + q @ total / max(len(bag), 1) ** normalization


@pytest.mark.parametrize("normalization", [0.0, 0.5, 1.0])
def test_scores_against_the_definition(normalization):
    model = with_weights(normalization=normalization)
    histories = Sessions.from_lists(
        [[1, 2, 3], [4], [5, 5, 6, 5], [7, 8, 9], [1, 2]],
        [[1, 1, 2], [1], [1, 1, 1, 2], [1, -1, 0], [-1, -2]],
    )
    bags = [[1, 2, 3], [4], [5, 6], [7], []]  # distinct and kept
    expected = [reference(model, bag, normalization) for bag in bags]
    scores = model.score(histories)
    assert scores.dtype == "float32"
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)
    long = Sessions.from_lists([[1, 2, 3, 4, 5, 6, 7, 8]])  # the newest events count
    expected = [reference(model, [3, 4, 5, 6, 7, 8], normalization)]
    np.testing.assert_allclose(model.score(long), expected, rtol=1e-4, atol=1e-5)
    empty = histories.between(0, [0, 1, 0, 0, 0])
    np.testing.assert_allclose(model.score(empty)[0], tables(model)[2], rtol=1e-5)


def test_training_graph_against_the_definition():
    model = with_weights(num_sampled_negatives=40)
    item_ids = np.array([[0, 0, 3, 1, 2], [0, 0, 0, 4, 5]], "int32")
    logits = numpy(model({"item_ids": item_ids}))
    assert logits.shape == (2, 5, 41)
    for row, position in np.argwhere(item_ids):
        target, bag = item_ids[row, position], item_ids[row][item_ids[row] > 0]
        all_items = reference(model, bag[bag != target])
        found = logits[row, position]
        assert found[0] == pytest.approx(all_items[target - 1], rel=1e-4, abs=1e-5)
        outside = np.delete(all_items, bag - 1)
        counted = found[1:][found[1:] > -1e3]
        distance = np.abs(counted[:, None] - outside).min(axis=1)
        assert distance.max() < 1e-4  # every negative is an item that the bag has not
        assert 0 < len(counted) < 40  # of 40 draws from 12 items some are in the bag


def test_training_dataset_makes_bags():
    model = MatrixFactorization(**{**SMALL, "max_length": 3})
    sessions = Sessions.from_lists(
        [[1, 2, 1, 3], [4, 5], [6, 7, 8, 9, 10], [11, 11]],
        [[1, -1, 2, 1], [1, -1], [1, 2, 1, 1, 1], [1, 1]],
    )
    bags = []
    for x, y, weight in model.training_dataset(sessions, batch_size=2):
        ids = x["item_ids"].numpy()
        assert set(x) == {"item_ids"}
        np.testing.assert_array_equal(weight.numpy(), ids > 0)
        np.testing.assert_array_equal(y.numpy(), np.zeros(ids.shape))
        bags += [sorted(int(i) for i in row if i) for row in ids]
    assert sorted(bags) == [[1, 3], [6, 7], [8, 9, 10]]


def two_tastes(num_rows=60, seed=0):
    """Rows that keep items of 1..5, or of 6..10, and skip those of the other half."""
    random = np.random.default_rng(seed)
    rows, feedback = [], []
    for row in range(num_rows):
        own = random.permutation(5)[:4] + 1 + 5 * (row % 2)
        other = random.permutation(5)[:2] + 6 - 5 * (row % 2)
        rows.append([*own[:2].tolist(), *other.tolist(), *own[2:].tolist()])
        feedback.append([1, 1, -1, -1, 1, 1])
    return Sessions.from_lists(rows, feedback)


@pytest.fixture(scope="module")
def trained():
    keras.utils.set_random_seed(0)
    options = {**SMALL, "num_sampled_negatives": 20, "learning_rate": 0.02}
    vocabulary = Vocabulary([f"track {i}" for i in range(1, NUM_ITEMS + 1)])
    model = MatrixFactorization(**options, vocabulary=vocabulary)
    return model, fit(model, two_tastes(), epochs=30)


def test_learns_which_items_go_together(trained):
    model, history = trained
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    held_out = two_tastes(20, seed=1)
    examples = Examples.after(held_out, np.full(20, 3))
    metrics = keras_negrec.evaluate(model, examples, k=(3,))
    assert metrics["hr@3"] == 1  # three of the taste's five items are left
    assert metrics["feedback_auc"] == 1


def test_items_that_training_never_kept(trained):
    model, _ = trained
    scores = model.score(Sessions.from_lists([[1, 2], [1, 2, 11], [11], [12]]))
    assert np.isfinite(scores).all()
    assert scores[2:, 10:].max() < scores[2:, :10].min()  # never kept, so at the bottom
    assert (scores[0].argsort()[-5:] < 5).all()
    biases = [tables(model)[2]] * 2  # cold items say nothing
    np.testing.assert_allclose(scores[2:], biases, rtol=1e-5)


def test_saving(tmp_path, trained):
    model, _ = trained
    sessions = two_tastes(6)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(loaded, MatrixFactorization)
    assert loaded.get_config() == model.get_config()
    assert loaded.vocabulary == model.vocabulary
    assert isinstance(loaded.loss, BayesianPersonalizedRanking)
    np.testing.assert_allclose(loaded.score(sessions), model.score(sessions), rtol=1e-5)
    assert float(loaded.optimizer.learning_rate) == pytest.approx(0.02)
    assert int(loaded.optimizer.iterations) == int(model.optimizer.iterations) > 0
    fit(loaded, sessions)


def test_recommends_and_exports(tmp_path, trained):
    model, _ = trained
    [best] = keras_negrec.recommend(model, [["track 1", "nobody knows", "track 2"]], k=3)
    assert {r.item for r in best} == {"track 3", "track 4", "track 5"}
    if keras.config.backend() != "tensorflow":
        return
    import tensorflow as tf

    items, feedback = [["track 2", "track 6", "track 2", "track 8"]], [[1, -1, 1, 2]]
    version = keras_negrec.export(model, tmp_path, k=4)
    answer = tf.saved_model.load(str(version)).signatures["serving_default"](
        item_ids=tf.constant(items), feedback=tf.constant(feedback, tf.int32)
    )
    [expected] = keras_negrec.recommend(model, items, k=4, feedback=feedback)
    found = [item.decode() for item in answer["item_ids"][0].numpy()]
    assert found == [r.item for r in expected]
    np.testing.assert_allclose(answer["scores"][0], [r.score for r in expected], rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"embedding_dim": 0}, "`embedding_dim` must be a positive integer"),
        ({"max_length": 0}, "`max_length` must be a positive integer"),
        ({"normalization": 1.5}, "`normalization` must be from 0 to 1. Received: norm.*=1.5"),
        ({"dropout": 1}, "`dropout` must be at least 0 and below 1"),
        ({"num_sampled_negatives": 0}, "`num_sampled_negatives` must be a positive integer"),
        ({"learning_rate": 0}, "`learning_rate` must be above 0"),
        ({"weight_decay": -1}, "`weight_decay` must be at least 0. Received: weight_decay=-1"),
        ({"vocabulary": Vocabulary([7, 8])}, "must be the size of the vocabulary, 2. Received"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        MatrixFactorization(**{**SMALL, **arguments})
