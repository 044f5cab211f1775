import functools

import keras
import numpy as np
import pytest
from small_models import VOCABULARY, build, fit, numpy
from toy_sessions import NUM_ITEMS, toy_sessions

import keras_negrec
from keras_negrec.data import Sessions, Vocabulary
from keras_negrec.models import Caser, MatrixFactorization, Popularity, SessionRecommender

NEW = ["new b", "new a", "new c"]
ALL = Vocabulary([*VOCABULARY.items, *NEW])
FEATURES, NEW_FEATURES = np.split(
    np.random.default_rng(0).normal(size=(NUM_ITEMS + 3, 3)).astype("float32"), [NUM_ITEMS]
)
HISTORIES = toy_sessions(9, length=7, seed=5)
MODELS = {
    "sasrec": {"negative_loss": "contrastive", "feedback_inputs": True},
    "bert4rec": {"event_dropout": 0.2, "negative_loss": "keep"},
    "gru4rec": {
        "num_sampled_negatives": 4,
        "sampling_distribution": "mixed",
        "skips_as_negatives": True,
    },
    "caser": {"num_sampled_negatives": 4, "sampling_distribution": "log_uniform"},
    "matrix_factorization": {},
}
every_model = pytest.mark.parametrize("name", MODELS)


def make(name, vocabulary=VOCABULARY, **options):
    if name == "matrix_factorization":
        small = {"max_length": 8, "embedding_dim": 8, "num_sampled_negatives": 4}
        return MatrixFactorization(vocabulary=vocabulary, **small, **options)
    return build(name, vocabulary=vocabulary, **options)


@functools.cache
def trained(name):
    """A model that is trained with its options above. Tests leave it as it is."""
    keras.utils.set_random_seed(0)
    model = make(name, **MODELS[name])
    fit(model, toy_sessions(32))
    return model


@functools.cache
def grown(name):
    model = trained(name)
    weights = model.get_weights()
    larger = keras_negrec.grow_vocabulary(model, NEW)
    assert model.vocabulary == VOCABULARY and model.num_items == NUM_ITEMS
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(after, before)  # the old model stays as it is
    return larger


@functools.cache
def trained_with_features():
    keras.utils.set_random_seed(0)
    sessions = Sessions.from_lists([[1, 2, 3, 4, 5, 6, 7, 8], [3, 5, 2, 1, 4, 6, 8, 7]] * 8)
    model = make("caser", item_features=FEATURES)
    fit(model, sessions)  # 9 and 10 do not occur
    return model


@every_model
def test_scores(name):
    before, after = (model(name).score(HISTORIES).astype("float64") for model in (trained, grown))
    assert after.shape == (9, NUM_ITEMS + 3)
    old, new = after[:, :NUM_ITEMS], after[:, NUM_ITEMS:]
    np.testing.assert_array_equal(old, before)
    assert np.ptp(before) > 0.005
    # A new item has the mean score and at most the average share.
    mean = np.broadcast_to(old.mean(axis=1, keepdims=True), new.shape)
    np.testing.assert_allclose(new, mean, atol=1e-5)
    assert (np.exp(new) <= np.exp(old).mean(axis=1, keepdims=True) + 1e-6).all()
    assert (new.max(axis=1) < old.max(axis=1)).all()


@every_model
def test_it_is_built_with_all_items_and_has_every_old_weight(name):
    assert grown(name).vocabulary == ALL
    expected = make(name, ALL, **MODELS[name]).get_config()
    assert {**grown(name).get_config(), "name": expected["name"]} == expected
    larger = []
    for old, new in zip(trained(name).weights, grown(name).weights, strict=True):
        assert (old.path, old.trainable) == (new.path, new.trainable)
        np.testing.assert_array_equal(numpy(new)[: old.shape[0]], numpy(old))
        if old.shape != new.shape:
            assert new.shape == (NUM_ITEMS + 3, *old.shape[1:])
            larger.append(old.path.split("/")[-1])
    further = {"bert4rec": "item_bias", "gru4rec": "frequencies"}
    further["matrix_factorization"] = "embeddings"
    assert larger == ["embeddings", *([further[name]] if name in further else [])]


def test_new_items_add_nothing_to_a_bag():
    model = grown("matrix_factorization")
    without, with_new = model.score(Sessions.from_lists([[1, 2], [1, 2, NUM_ITEMS + 1]]))
    scale = (3 / 2) ** 0.5  # the bag is one larger, and nothing else
    bias = model.score(HISTORIES.between([0] * 9, [0] * 9))[0]
    np.testing.assert_allclose((with_new - bias) * scale, without - bias, atol=1e-5)
    assert np.abs(without - bias).max() > 1e-3


@pytest.mark.parametrize("name", ["gru4rec", "matrix_factorization"])
def test_training_raises_a_new_item_that_occurs(name):
    model = keras_negrec.grow_vocabulary(trained(name), NEW)
    new_id = NUM_ITEMS + 2
    asked = Sessions.from_lists([[3, 1, 5]])

    def rank():
        scores = model.score(asked)[0]
        return int((scores > scores[new_id - 1]).sum()) + 1

    assert rank() > 3
    fit(model, Sessions.from_lists([[4, 1, 2, new_id], [3, 1, 5, new_id]] * 32), epochs=20)
    assert rank() <= 3
    scores = model.score(asked)[0]
    assert scores[NUM_ITEMS] < scores[new_id - 1]  # another new one, which does not occur


def test_new_items_start_from_their_features_and_learn_once_they_occur():
    model = trained_with_features()
    larger = keras_negrec.grow_vocabulary(model, NEW, item_features=NEW_FEATURES)
    before = larger.score(HISTORIES)
    # of other shapes, a product may be summed in another order
    np.testing.assert_allclose(before[:, :NUM_ITEMS], model.score(HISTORIES), atol=1e-7)
    embedding = larger.item_embedding
    expected = NEW_FEATURES @ numpy(model.item_embedding.feature_kernel)
    np.testing.assert_allclose(numpy(embedding.table())[NUM_ITEMS:], expected, atol=1e-5)
    np.testing.assert_array_equal(numpy(embedding.occurs), [1] * 8 + [0] * 5)
    np.testing.assert_array_equal(numpy(embedding.features), [*FEATURES, *NEW_FEATURES])

    sessions = Sessions.from_lists([[1, 2, NUM_ITEMS + 1, 3]] * 16)
    larger.training_dataset(sessions)
    np.testing.assert_array_equal(larger.score(HISTORIES), before)  # no leap when it is noticed
    assert numpy(embedding.occurs)[8:].tolist() == [0, 0, 1, 0, 0]
    fit(larger, sessions)
    own = np.abs(numpy(embedding.embeddings)[NUM_ITEMS:]).max(axis=1)
    assert own[0] > 1e-3
    np.testing.assert_array_equal(own[1:], 0)


def test_new_items_are_drawn_and_count_as_the_rarest():
    [old, new] = (model("gru4rec").get_layer("negative_sampler") for model in (trained, grown))
    frequencies = numpy(new.frequencies)
    np.testing.assert_array_equal(frequencies[NUM_ITEMS:], numpy(old.frequencies).min())
    assert np.ptp(frequencies[:NUM_ITEMS]) > 0.01
    drawn = np.concatenate([numpy(new(np.ones((3, 4), "int32"))[0]) for _ in range(60)])
    assert set(range(1, NUM_ITEMS + 4)) == set(drawn.tolist())


def test_the_sampling_rate_of_gbce_is_that_of_the_larger_catalogue():
    model = make("gru4rec", objective="gbce", num_sampled_negatives=4, negative_loss="contrastive")
    larger = keras_negrec.grow_vocabulary(model, NEW)
    assert larger.loss["next_item"].sampling_rate == 4 / 12
    model.compile("adam", {"next_item": keras_negrec.losses.GeneralizedBinaryCrossentropy(0.7)})
    assert keras_negrec.grow_vocabulary(model, NEW).loss["next_item"].sampling_rate == 0.7


# How the model is compiled


def check_optimizer(old, new, start=0):
    """The optimizer goes on where it was; how many of its variables have rows for new items."""
    grew = 0
    for before, after in zip(old.variables, new.variables, strict=True):
        values = numpy(after)
        if before.shape != after.shape:
            np.testing.assert_array_equal(values[NUM_ITEMS:], start)
            values = values[:NUM_ITEMS]
            grew += np.abs(values).max() > 0
        np.testing.assert_array_equal(values, numpy(before))
    assert int(new.iterations) == int(old.iterations) > 1
    return grew


@every_model
def test_it_is_compiled_alike(name):
    old, new = trained(name), grown(name)
    assert old.get_compile_config() == new.get_compile_config()
    samples = ("gru4rec", "caser", "matrix_factorization")
    expected = "LazyAdam" if name in samples else "Adam"
    assert type(new.optimizer).__name__ == expected
    paths = [[v.path for v in model.optimizer.variables] for model in (old, new)]
    assert paths[0] == paths[1]
    grew = check_optimizer(old.optimizer, new.optimizer)
    assert grew == (4 if name in ("matrix_factorization", "bert4rec") else 2)


SCHEDULE = keras.optimizers.schedules.PiecewiseConstantDecay([2], [0.01, 0.001])


@pytest.mark.parametrize(
    ("optimizer", "start"),
    [
        (lambda: keras.optimizers.Adagrad(0.1, initial_accumulator_value=0.25), 0.25),
        (lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1, 0.9)), 0),
        (lambda: keras.optimizers.Adam(SCHEDULE, gradient_accumulation_steps=2), 0),
        (lambda: keras_negrec.optimizers.LazyAdam(0.01, dense_optimizer="adamw"), 0),
    ],
    ids=["accumulators", "loss scale", "schedule and accumulation", "two optimizers"],
)
def test_other_optimizers(optimizer, start, request):
    model = make("matrix_factorization")
    if "two optimizers" in request.node.name:  # one of them for dense weights
        model = make("caser", num_sampled_negatives=4)
    model.compile(optimizer(), model.loss)
    fit(model, toy_sessions(96))
    larger = keras_negrec.grow_vocabulary(model, NEW)
    assert check_optimizer(model.optimizer, larger.optimizer, start) >= 2
    rates = [float(each.optimizer.learning_rate) for each in (model, larger)]
    assert rates[0] == rates[1]
    fit(larger, toy_sessions(16))


def test_moving_averages_of_new_rows_start_at_these():
    model = make("matrix_factorization")
    model.compile(keras.optimizers.SGD(0.1, use_ema=True), model.loss)
    fit(model, toy_sessions(32))
    larger = keras_negrec.grow_vocabulary(model, NEW)
    [average] = [v for v in larger.optimizer.variables if v.shape == (NUM_ITEMS + 3, 9)]
    [before] = [v for v in model.optimizer.variables if v.shape == (NUM_ITEMS, 9)]
    rows = numpy(larger.item_embedding.embeddings)[NUM_ITEMS:]
    np.testing.assert_array_equal(numpy(average), [*numpy(before), *rows])
    assert np.abs(rows).max() > 0


def test_metrics_and_loss_weights():
    model = make("caser", negative_loss={"contrastive": 0.4})
    hits = keras_negrec.metrics.HitRate(3, name="hits")
    weights = {"next_item": 1.0, "contrastive": 0.3}
    model.compile("sgd", model.loss, weights, weighted_metrics={"next_item": hits})
    larger = keras_negrec.grow_vocabulary(model, NEW)
    dataset = larger.training_dataset(toy_sessions(16))
    values = larger.evaluate(dataset, verbose=0, return_dict=True)
    assert {"next_item_hits", "contrastive_loss"} <= set(values)
    parts = values["next_item_loss"] + 0.3 * values["contrastive_loss"]
    assert values["loss"] == pytest.approx(parts, rel=1e-4)


def test_the_next_step_is_the_one_the_old_model_would_have_taken():
    model = make("caser", negative_loss="contrastive")
    items = np.random.default_rng(3).integers(1, 7, (4, 6)).astype("int32")
    x = {"item_ids": items, "candidate_ids": items, "target_positions": np.full((4, 1), 5)}
    labels = np.full((4, 1, 6), -1)
    labels[:, :, 0], labels[:, :, 1] = 1, 0
    y = {"next_item": np.zeros((4, 1), "int32"), "contrastive": labels}
    # Of the two losses the one that does not see the new items.
    weight = {"next_item": np.zeros((4, 1)), "contrastive": np.ones((4, 1))}
    for _ in range(3):
        model.train_on_batch(x, y, weight)
    before = numpy(model.item_embedding.embeddings).copy()
    larger = keras_negrec.grow_vocabulary(model, NEW)
    for each in (model, larger):
        each.train_on_batch(x, y, weight)
    after, found = (numpy(each.item_embedding.embeddings) for each in (model, larger))
    assert np.abs(after - before).max() > 1e-3
    np.testing.assert_allclose(found[:NUM_ITEMS], after, atol=1e-6)


@pytest.mark.parametrize("when", ["before", "after"])
def test_frozen_layers_stay_frozen(when):
    model = make("caser")
    model.get_layer("convolutions").trainable = when != "before"
    fit(model, toy_sessions(16))  # the optimizer is made for what can be trained now
    model.get_layer("convolutions").trainable = False
    larger = keras_negrec.grow_vocabulary(model, NEW)
    assert [each.trainable for each in larger.layers] == [each.trainable for each in model.layers]
    paths = [variable.path for variable in larger.trainable_variables]
    assert paths == [variable.path for variable in model.trainable_variables]
    assert not any("convolutions" in path for path in paths)
    if when == "before":  # freezing later leaves Keras on JAX unable to train, old model or new
        fit(larger, toy_sessions(16))


def test_a_model_that_is_not_compiled():
    model = SessionRecommender(Caser(), vocabulary=VOCABULARY, embedding_dim=8)
    assert not keras_negrec.grow_vocabulary(model, NEW).compiled


@pytest.mark.parametrize("name", ["gru4rec", "matrix_factorization"])
def test_saved_and_loaded_and_grown_again(name, tmp_path):
    grown(name).save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.vocabulary == ALL
    expected = grown(name).score(HISTORIES)
    np.testing.assert_allclose(loaded.score(HISTORIES), expected, atol=1e-6)
    again = keras_negrec.grow_vocabulary(loaded, ["newest"])
    assert int(again.optimizer.iterations) == int(trained(name).optimizer.iterations)
    np.testing.assert_allclose(again.score(HISTORIES)[:, :-1], expected, atol=1e-6)


# Errors


@pytest.mark.parametrize(
    ("new_items", "error", "message"),
    [
        (["new", "track 3"], ValueError, r"`new_items` must not be .* Received: \['track 3'\]"),
        (["x", "y", "x"], ValueError, "must be distinct. Received 'x' more than once"),
        ([], ValueError, "`new_items` must hold at least one item. Received: none"),
        ([5], TypeError, "The vocabulary holds strings. Received an item of type int: 5"),
        ("new", TypeError, "Expected a sequence of items. Received one str"),
    ],
)
def test_bad_items(new_items, error, message):
    with pytest.raises(error, match=message):
        keras_negrec.grow_vocabulary(trained("sasrec"), new_items)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (None, r"must have shape \(len\(new_items\), num_features\), \(3, 3\). Received: None"),
        (np.zeros((3, 2)), r"\(3, 3\). Received: \(3, 2\)"),
        (np.zeros(3), r"\(3, 3\). Received: \(3,\)"),
        (
            [[0, 0, 0], [0, np.nan, 0], [0, 0, 0]],
            r"finite. Received for item 12: \[0.0, nan, 0.0\]",
        ),
    ],
)
def test_bad_features(features, message):
    with pytest.raises(ValueError, match=message):
        keras_negrec.grow_vocabulary(trained_with_features(), NEW, item_features=features)


def test_models_that_cannot_grow():
    with pytest.raises(ValueError, match=r"built with item features. Received: shape \(3, 3\)"):
        keras_negrec.grow_vocabulary(trained("sasrec"), NEW, item_features=NEW_FEATURES)
    with pytest.raises(ValueError, match=r"needs a model with a vocabulary. Received: None"):
        keras_negrec.grow_vocabulary(build("caser"), NEW)
    ensemble = keras_negrec.models.Ensemble([trained("gru4rec")])
    for other in (Popularity(toy_sessions(2), NUM_ITEMS), ensemble):
        with pytest.raises(TypeError, match=f"trained with Keras.* type {type(other).__name__}"):
            keras_negrec.grow_vocabulary(other, NEW)
