import keras
import numpy as np
import pytest
from keras import ops

import keras_negrec
from keras_negrec.data import Sessions, Vocabulary
from keras_negrec.models import Ensemble, MatrixFactorization, Popularity

NUM_ITEMS = 9
VOCABULARY = Vocabulary([f"track {i}" for i in range(NUM_ITEMS)])
HISTORIES = Sessions.from_lists(
    [[1, 2, 3, 4, 5, 6], [7], [9, 8, 2]], [[1, -1, 1, 1, -1, 1], [1], [1, 2, -2]]
)


def build(name, seed=0, **options):
    keras.utils.set_random_seed(seed)
    if name in ("sasrec", "bert4rec"):
        options = {"num_layers": 1, "intermediate_dim": 8, **options}
    model = keras_negrec.build_model(name, vocabulary=VOCABULARY, embedding_dim=8, **options)
    random = np.random.default_rng(seed)
    for weight in model.trainable_weights:
        weight.assign(random.normal(scale=0.5, size=weight.shape))
    return model


def mixed():
    """Of several inputs, lengths, widths, and with columns beside the table's."""
    return [
        build("sasrec", feedback_inputs=True, max_length=4),
        build("bert4rec", 1, negative_loss="keep", keep_weight=2.0, max_length=6),
        build("gru4rec", 2, max_length=5, num_sampled_negatives=4),
        MatrixFactorization(vocabulary=VOCABULARY, embedding_dim=4, max_length=5),
    ]


def mean_score(models):
    return np.mean([model.score(HISTORIES) for model in models], axis=0)


def test_scores_are_the_mean():
    models = mixed()
    ensemble = Ensemble(models)
    np.testing.assert_allclose(ensemble.score(HISTORIES), mean_score(models), atol=1e-5)
    assert ensemble.max_length == 6
    some = np.array([0, 4], "int32")
    table = ops.convert_to_numpy(ensemble.item_vectors())
    np.testing.assert_array_equal(ops.convert_to_numpy(ensemble.item_vectors(some)), table[some])
    for (embedding, start), model in zip(ensemble.item_columns, models, strict=True):
        own = ops.convert_to_numpy(model.item_embedding.table())
        np.testing.assert_array_equal(table[:, start : start + embedding.embedding_dim], own)


def test_saves(tmp_path):
    ensemble = Ensemble(mixed(), name="four")
    ensemble.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert (loaded.name, loaded.vocabulary) == ("four", VOCABULARY)
    np.testing.assert_array_equal(loaded.score(HISTORIES), ensemble.score(HISTORIES))


def test_is_answered_like_one_model():
    models = [build("sasrec", seed) for seed in range(2)]
    ensemble = Ensemble(models)
    best = np.argmax(mean_score(models)[1])
    [answer] = keras_negrec.recommend(ensemble, [["track 6"]], k=1, exclude_seen=False)
    assert answer[0].item == VOCABULARY.items[best]


def test_holds_copies():
    model = build("sasrec")
    ensemble = Ensemble([model])
    before = ensemble.score(HISTORIES)
    model.item_embedding.embeddings.assign(np.zeros((NUM_ITEMS, 8)))
    np.testing.assert_array_equal(ensemble.score(HISTORIES), before)


@pytest.mark.parametrize(
    ("models", "error", "message"),
    [
        ([], ValueError, "at least one model"),
        (
            [Popularity(HISTORIES, NUM_ITEMS)],
            TypeError,
            "trained with Keras. Received one of type Popularity",
        ),
    ],
)
def test_bad_models(models, error, message):
    with pytest.raises(error, match=message):
        Ensemble(models)


def test_one_catalogue():
    other = keras_negrec.build_model("gru4rec", num_items=NUM_ITEMS + 1, embedding_dim=8)
    with pytest.raises(ValueError, match=r"one catalogue. Received models of 9 items .* and of 10"):
        Ensemble([build("gru4rec"), other])


def test_grows_one_by_one():
    ensemble = Ensemble([build("gru4rec", seed) for seed in range(2)])
    with pytest.raises(TypeError, match="Grow each of an ensemble's `models`"):
        keras_negrec.grow_vocabulary(ensemble, ["new"])
    grown = Ensemble([keras_negrec.grow_vocabulary(model, ["new"]) for model in ensemble.models])
    np.testing.assert_allclose(
        grown.score(HISTORIES)[:, :NUM_ITEMS], ensemble.score(HISTORIES), atol=1e-5
    )
