import keras
import numpy as np
import pytest
from small_models import VOCABULARY, build, numpy, with_random_weights
from toy_sessions import NUM_ITEMS, toy_sessions

import keras_negrec
from keras_negrec.data import Sessions, Vocabulary
from keras_negrec.models import (
    Ensemble,
    ItemCooccurrence,
    MatrixFactorization,
    Popularity,
    WeightedHybrid,
)

HISTORIES = Sessions.from_lists(
    [[1, 2, 3, 4, 5, 6], [7], [9, 8, 2]], [[1, -1, 1, 1, -1, 1], [1], [1, 2, -2]]
)


def member(name, seed=0, **options):
    return with_random_weights(build(name, vocabulary=VOCABULARY, **options), seed=seed)


@pytest.fixture(scope="module")
def models():
    """Of several inputs, lengths, widths, and with columns beside the table's."""
    factors = MatrixFactorization(vocabulary=VOCABULARY, embedding_dim=4, max_length=5)
    return [
        member("sasrec", feedback_inputs=True, max_length=4),
        member("bert4rec", 1, negative_loss="keep", keep_weight=2.0, max_length=6),
        member("gru4rec", 2, max_length=5, num_sampled_negatives=4),
        with_random_weights(factors),
    ]


def mean_score(models):
    return np.mean([model.score(HISTORIES) for model in models], axis=0)


def test_scores_are_the_mean(models, tmp_path):
    ensemble = Ensemble(models, name="four")
    np.testing.assert_allclose(ensemble.score(HISTORIES), mean_score(models), atol=1e-5)
    assert ensemble.max_length == 6
    some = np.array([0, 4], "int32")
    table = numpy(ensemble.item_vectors())
    np.testing.assert_array_equal(numpy(ensemble.item_vectors(some)), table[some])
    for (embedding, start), model in zip(ensemble.item_columns, models, strict=True):
        own = numpy(model.item_embedding.table())
        np.testing.assert_array_equal(table[:, start : start + embedding.embedding_dim], own)

    ensemble.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert (loaded.name, loaded.vocabulary) == ("four", VOCABULARY)
    np.testing.assert_array_equal(loaded.score(HISTORIES), ensemble.score(HISTORIES))


def test_holds_copies_and_is_answered_and_grown_like_single_models():
    models = [member("caser", seed) for seed in range(2)]
    ensemble, expected = Ensemble(models), mean_score(models)
    for model in models:
        model.item_embedding.embeddings.assign(np.zeros((NUM_ITEMS, 8)))
    np.testing.assert_allclose(ensemble.score(HISTORIES), expected, atol=1e-5)
    [answer] = keras_negrec.recommend(ensemble, [["track 6"]], k=1, exclude_seen=False)
    assert answer[0].item == VOCABULARY.items[np.argmax(expected[1])]
    grown = Ensemble([keras_negrec.grow_vocabulary(model, ["new"]) for model in ensemble.models])
    np.testing.assert_allclose(grown.score(HISTORIES)[:, :NUM_ITEMS], expected, atol=1e-5)


def test_bad_members():
    with pytest.raises(ValueError, match="at least one model"):
        Ensemble([])
    with pytest.raises(TypeError, match=r"trained with Keras. Received one of type Popul"):
        Ensemble([Popularity(HISTORIES, NUM_ITEMS)])
    with pytest.raises(ValueError, match=r"one catalogue. Received models of 10 items .* of 11"):
        Ensemble([build("caser"), build("caser", num_items=NUM_ITEMS + 1)])


# Weighted hybrids


class Fixed:
    """A model that gives the same scores whatever it is asked."""

    def __init__(self, scores, vocabulary=None):
        self.scores = np.asarray(scores, "float32")
        self.num_items, self.vocabulary = self.scores.shape[1], vocabulary

    def score(self, histories):
        return self.scores[: len(histories)]


FIRST = Fixed([[1, 2]], Vocabulary(["a", "b"]))


def test_hybrid_against_the_definition():
    first, second = np.random.default_rng(0).normal(size=(2, 2, 7)) * [[[1]], [[1000]]] + 50
    found = WeightedHybrid([Fixed(first), Fixed(second)], [1, 0.3]).score(HISTORIES.take([0, 1]))
    for row, item in np.ndindex(2, 7):
        expected = sum(
            weight * (scores[row, item] - np.mean(scores[row])) / np.std(scores[row])
            for scores, weight in ((first, 1), (second, 0.3))
        )
        assert found[row, item] == pytest.approx(expected, abs=1e-4)
    assert found.dtype == "float32"


def test_a_model_that_knows_nothing_of_a_history_plays_no_part():
    known = Fixed([[1, 2, 3], [3, 1, 2]])
    unknown = Fixed([[0.1, 0.1, 0.1], [0, 5, 0]])
    found = WeightedHybrid([known, unknown], [1, 2]).score(HISTORIES.take([0, 1]))
    np.testing.assert_allclose(found[0], [-np.sqrt(1.5), 0, np.sqrt(1.5)], atol=1e-6)
    assert found[1].argmax() == 1


def test_hybrid_is_evaluated_and_recommends():
    split = keras_negrec.data.leave_one_out(toy_sessions(40))
    popularity = Popularity(split.train, NUM_ITEMS)
    cooccurrence = ItemCooccurrence(split.train, vocabulary=VOCABULARY)
    hybrid = WeightedHybrid([popularity, cooccurrence], [0.1, 1.0])
    found, alone = (
        keras_negrec.evaluate(model, split.test, exclude_seen=False, k=(1,))["hr@1"]
        for model in (hybrid, popularity)
    )
    assert found > alone
    [best] = keras_negrec.recommend(hybrid, [["track 0"]], k=1)
    assert best[0].item == "track 1"  # the toy's rule


@pytest.mark.parametrize(
    ("models", "weights", "message"),
    [
        ([], [], "at least one model"),
        ([FIRST], [1, 2], r"each of the 1 models\. Received: weights=\[1, 2\]"),
        ([FIRST], [float("nan")], r"a finite number for each"),
        ([FIRST, Fixed([[1, 2, 3]])], [1, 1], "of 2 items .* and of 3"),
        ([FIRST, Fixed([[1, 2]], Vocabulary(["a", "c"]))], [1, 1], "of one catalogue"),
    ],
)
def test_bad_hybrids(models, weights, message):
    with pytest.raises(ValueError, match=message):
        WeightedHybrid(models, weights)


def test_chosen_weights_are_the_best_of_the_grid():
    split = keras_negrec.data.leave_one_out(toy_sessions(40)).replace(exclude_seen=False)
    random, asked = np.random.default_rng(0), []
    shape = (len(split.validation), NUM_ITEMS)
    noise, bad = random.normal(size=(2, *shape))
    good = random.normal(size=shape)
    good[np.arange(len(good)), split.validation.targets - 1] += 2
    keys = split.validation.histories.keys.tolist()

    class ByKey(Fixed):
        def score(self, histories):
            asked.append(len(histories))
            return self.scores[[keys.index(key) for key in histories.keys.tolist()]]

    models, grid = [ByKey(each) for each in (noise, good, bad)], (0.0, 0.5, 4.0, 50.0)

    def mrr(*weights):
        found = WeightedHybrid(models, [1, *weights])
        return keras_negrec.evaluate(found, split.validation)["mrr"]

    hybrid = WeightedHybrid.chosen(models, split.validation, weights=grid, monitor="mrr")
    second = max(grid, key=lambda weight: mrr(weight, 0))
    assert second > 0
    assert hybrid.weights == [1, second, max(grid, key=lambda weight: mrr(second, weight))]
    asked.clear()
    WeightedHybrid.chosen(models, split.validation, max_examples=5)
    assert max(asked) == 5
    with pytest.raises(ValueError, match="a number to choose from"):
        WeightedHybrid.chosen(models, split.validation, weights=())
