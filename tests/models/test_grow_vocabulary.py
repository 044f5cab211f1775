import functools

import keras
import numpy as np
import pytest
from keras import ops
from toy_sessions import NUM_ITEMS, toy_sessions

import keras_negrec
from keras_negrec.data import Sessions, Vocabulary
from keras_negrec.models import Caser, MatrixFactorization, Popularity, SessionRecommender

OLD = [f"track {i}" for i in range(NUM_ITEMS)]
NEW = ["new b", "new a", "new c"]
VOCABULARY = Vocabulary(OLD)
FEATURES = np.random.default_rng(0).normal(size=(NUM_ITEMS, 3)).astype("float32")
NEW_FEATURES = np.random.default_rng(1).normal(size=(3, 3)).astype("float32")
ALL = Vocabulary([*OLD, *NEW])

NAMES = ["sasrec", "bert4rec", "gru4rec", "caser", "matrix_factorization"]
OPTIONS = {
    "sasrec": {"negative_loss": True, "feedback_inputs": True},
    "bert4rec": {"event_dropout": 0.2},
    "gru4rec": {
        "num_sampled_negatives": 4,
        "sampling_distribution": "mixed",
        "skips_as_negatives": True,
    },
    "caser": {"num_sampled_negatives": 4, "sampling_distribution": "log_uniform"},
    "matrix_factorization": {},
}


def build(name, vocabulary=VOCABULARY, **options):
    small = {"vocabulary": vocabulary, "max_length": 6, "embedding_dim": 8, "learning_rate": 0.01}
    if name == "matrix_factorization":
        return MatrixFactorization(**small, num_sampled_negatives=4, **options)
    if name in ("sasrec", "bert4rec"):
        options = {"num_layers": 1, "intermediate_dim": 8, **options}
    return keras_negrec.build_model(name, **small, **options)


def fit(model, sessions):
    model.fit(model.training_dataset(sessions, batch_size=16), shuffle=False, verbose=0)
    return model


@functools.cache
def trained(name):
    """A model that is trained with its options above. Tests leave it as it is."""
    keras.utils.set_random_seed(0)
    return fit(build(name, **OPTIONS[name]), toy_sessions(32))


@functools.cache
def grown(name):
    return keras_negrec.grow_vocabulary(trained(name), NEW)


@functools.cache
def trained_with_features():
    keras.utils.set_random_seed(0)
    sessions = Sessions.from_lists([[1, 2, 3, 4, 5, 6, 7, 8], [3, 5, 2, 1, 4, 6, 8, 7]] * 8)
    return fit(build("caser", item_features=FEATURES), sessions)  # 9 and 10 do not occur


def numpy(variable):
    return ops.convert_to_numpy(variable)


HISTORIES = toy_sessions(9, length=7, seed=5)


@pytest.mark.parametrize("name", NAMES)
def test_scores_of_old_items_are_exactly_what_they_were(name):
    before, after = (model(name).score(HISTORIES) for model in (trained, grown))
    assert after.shape == (9, NUM_ITEMS + 3)
    np.testing.assert_array_equal(after[:, :NUM_ITEMS], before)
    assert np.ptp(before) > 0.005


@pytest.mark.parametrize("name", NAMES)
def test_every_old_weight_is_exactly_what_it_was(name):
    larger = []
    for old, new in zip(trained(name).weights, grown(name).weights, strict=True):
        assert (old.path, old.trainable) == (new.path, new.trainable)
        np.testing.assert_array_equal(numpy(new)[: old.shape[0]], numpy(old))
        if old.shape != new.shape:
            assert new.shape == (NUM_ITEMS + 3, *old.shape[1:])
            larger.append(old.path.split("/")[-1])
    expected = {"gru4rec": ["embeddings", "frequencies"]}
    expected["matrix_factorization"] = ["embeddings", "embeddings"]
    assert larger == expected.get(name, ["embeddings"])


@pytest.mark.parametrize("name", NAMES)
def test_it_is_the_model_that_would_be_built_with_all_items(name):
    direct = build(name, ALL, **OPTIONS[name])
    if name != "matrix_factorization":
        direct.name = "other"  # is copied with the configuration
    direct.set_weights(grown(name).get_weights())
    np.testing.assert_array_equal(grown(name).score(HISTORIES), direct.score(HISTORIES))
    assert grown(name).vocabulary == direct.vocabulary
    found, expected = grown(name).get_config(), direct.get_config()
    assert {**found, "name": 0} == {**expected, "name": 0}
    assert type(grown(name)) is type(direct)


def test_the_old_model_stays_as_it_is():
    model = build("bert4rec")
    weights = model.get_weights()
    keras_negrec.grow_vocabulary(model, NEW)
    assert model.vocabulary == VOCABULARY and model.num_items == NUM_ITEMS
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize("name", NAMES)
def test_a_new_item_has_the_mean_score_and_at_most_the_average_share(name):
    scores = grown(name).score(HISTORIES).astype("float64")
    old, new = scores[:, :NUM_ITEMS], scores[:, NUM_ITEMS:]
    mean = np.broadcast_to(old.mean(axis=1, keepdims=True), new.shape)
    np.testing.assert_allclose(new, mean, atol=1e-5)
    assert (np.exp(new) <= np.exp(old).mean(axis=1, keepdims=True) + 1e-6).all()
    assert (new.max(axis=1) < old.max(axis=1)).all()


def test_new_items_add_nothing_to_a_bag():
    model = grown("matrix_factorization")
    without, with_new = model.score(Sessions.from_lists([[1, 2], [1, 2, NUM_ITEMS + 1]]))
    scale = (3 / 2) ** 0.5  # the bag is one larger, and nothing else
    bias = model.score(HISTORIES.between([0] * 9, [0] * 9))[0]
    np.testing.assert_allclose((with_new - bias) * scale, without - bias, atol=1e-5)
    assert np.abs(without - bias).max() > 1e-3


@pytest.mark.parametrize("name", ["sasrec", "gru4rec", "matrix_factorization"])
def test_training_raises_a_new_item_that_occurs(name):
    model = keras_negrec.grow_vocabulary(trained(name), NEW)
    new_id = NUM_ITEMS + 2
    sessions = Sessions.from_lists([[4, 1, 2, new_id], [3, 1, 5, new_id]] * 32)
    asked = Sessions.from_lists([[3, 1, 5]])

    def rank():
        scores = model.score(asked)[0]
        return int((scores > scores[new_id - 1]).sum()) + 1

    assert rank() > 3
    dataset = model.training_dataset(sessions, batch_size=16)
    model.fit(dataset, epochs=20, shuffle=False, verbose=0)
    assert rank() <= 3
    scores = model.score(asked)[0]
    assert scores[NUM_ITEMS] < scores[new_id - 1]  # another new one, which does not occur


def test_growing_twice():
    twice = keras_negrec.grow_vocabulary(
        keras_negrec.grow_vocabulary(trained("sasrec"), NEW[:1]), NEW[1:]
    )
    assert twice.vocabulary.items.tolist() == [*OLD, *NEW]
    np.testing.assert_allclose(twice.score(HISTORIES), grown("sasrec").score(HISTORIES), atol=1e-6)


# Item features


def test_new_items_start_from_their_features():
    model = trained_with_features()
    larger = keras_negrec.grow_vocabulary(model, NEW, item_features=NEW_FEATURES)
    scores = larger.score(HISTORIES)
    # of other shapes, a product may be summed in another order
    np.testing.assert_allclose(scores[:, :NUM_ITEMS], model.score(HISTORIES), atol=1e-7)
    kernel = numpy(model.item_embedding.feature_kernel)
    table = numpy(larger.item_embedding.table())
    np.testing.assert_allclose(table[NUM_ITEMS:], NEW_FEATURES @ kernel, atol=1e-5)
    occurs = [1] * 8 + [0] * 5
    np.testing.assert_array_equal(numpy(larger.item_embedding.occurs), occurs)
    features = np.concatenate([FEATURES, NEW_FEATURES])
    np.testing.assert_array_equal(numpy(larger.item_embedding.features), features)


def test_an_own_vector_is_learned_once_the_item_occurs():
    model = keras_negrec.grow_vocabulary(trained_with_features(), NEW, item_features=NEW_FEATURES)
    before = model.score(HISTORIES)
    sessions = Sessions.from_lists([[1, 2, NUM_ITEMS + 1, 3]] * 16)
    dataset = model.training_dataset(sessions)
    np.testing.assert_array_equal(model.score(HISTORIES), before)  # no leap when it is noticed
    assert numpy(model.item_embedding.occurs)[8:].tolist() == [0, 0, 1, 0, 0]
    model.fit(dataset, verbose=0, shuffle=False)
    own = np.abs(numpy(model.item_embedding.embeddings)[NUM_ITEMS:]).max(axis=1)
    assert own[0] > 1e-3
    np.testing.assert_array_equal(own[1:], 0)


# Sampled negatives


def test_new_items_are_drawn_and_count_as_the_rarest():
    [old, new] = (model("gru4rec").get_layer("negative_sampler") for model in (trained, grown))
    frequencies = numpy(new.frequencies)
    np.testing.assert_array_equal(frequencies[NUM_ITEMS:], numpy(old.frequencies).min())
    assert np.ptp(frequencies[:NUM_ITEMS]) > 0.01
    targets = np.ones((3, 4), "int32")
    drawn = np.concatenate([numpy(new(targets)[0]) for _ in range(60)])
    assert set(range(1, NUM_ITEMS + 4)) == set(drawn.tolist())


def test_the_sampling_rate_of_gbce_is_that_of_the_larger_catalogue():
    model = build("gru4rec", objective="gbce", num_sampled_negatives=4, negative_loss=True)
    larger = keras_negrec.grow_vocabulary(model, NEW)
    direct = build("gru4rec", ALL, objective="gbce", num_sampled_negatives=4, negative_loss=True)
    assert larger.loss["next_item"].get_config() == direct.loss["next_item"].get_config()
    assert larger.loss["next_item"].sampling_rate == 4 / 12
    own = keras_negrec.losses.GeneralizedBinaryCrossentropy(0.7)
    model.compile("adam", {"next_item": own})
    assert keras_negrec.grow_vocabulary(model, NEW).loss["next_item"].sampling_rate == 0.7


# How the model is compiled


@pytest.mark.parametrize("name", NAMES)
def test_it_is_compiled_alike(name):
    old, new = (model(name).get_compile_config() for model in (trained, grown))
    assert old == new
    samples = ("gru4rec", "caser", "matrix_factorization")
    expected = "LazyAdam" if name in samples else "Adam"
    assert new["optimizer"]["class_name"] == expected
    assert new["optimizer"]["config"]["learning_rate"] == pytest.approx(0.01)


def test_two_optimizers():
    model = build("caser", num_sampled_negatives=4)
    model.compile(keras_negrec.optimizers.LazyAdam(0.01, dense_optimizer="adamw"), model.loss)
    fit(model, toy_sessions(32))
    larger = keras_negrec.grow_vocabulary(model, NEW)
    for old, new in zip(model.optimizer.variables, larger.optimizer.variables, strict=True):
        old, new = map(ops.convert_to_numpy, (old, new))
        np.testing.assert_array_equal(new[: len(old)] if old.ndim else new, old)
    fit(larger, toy_sessions(32))


def test_metrics_and_loss_weights():
    model = build("caser", negative_loss={"contrastive": 0.4})
    model.compile(
        keras.optimizers.SGD(0.1),
        model.loss,
        loss_weights={"next_item": 1.0, "contrastive": 0.3},
        weighted_metrics={"next_item": keras_negrec.metrics.HitRate(3, name="hits")},
    )
    larger = keras_negrec.grow_vocabulary(model, NEW)
    sessions = toy_sessions(16)
    values = larger.evaluate(larger.training_dataset(sessions), verbose=0, return_dict=True)
    assert {"next_item_hits", "contrastive_loss"} <= set(values)
    parts = values["next_item_loss"] + 0.3 * values["contrastive_loss"]
    assert values["loss"] == pytest.approx(parts, rel=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_the_optimizer_goes_on_where_it_was(name):
    old, new = (model(name).optimizer for model in (trained, grown))
    assert int(new.iterations) == int(old.iterations) > 1
    moments = 0
    for before, after in zip(old.variables, new.variables, strict=True):
        assert before.path == after.path
        values = numpy(after)
        if before.shape != after.shape:
            np.testing.assert_array_equal(values[NUM_ITEMS:], 0)
            values = values[:NUM_ITEMS]
            moments += np.abs(values).max() > 0
        np.testing.assert_array_equal(values, numpy(before))
    assert moments == (4 if name == "matrix_factorization" else 2)


def test_the_next_step_is_the_one_the_old_model_would_have_taken():
    model = build("caser", negative_loss=True, dropout=0.0)
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


def test_a_learning_rate_schedule_keeps_its_step():
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([2], [0.01, 0.001])
    model = build("matrix_factorization")
    model.compile(keras.optimizers.Adam(schedule), model.loss)
    fit(model, toy_sessions(64))
    larger = keras_negrec.grow_vocabulary(model, NEW)
    assert int(larger.optimizer.iterations) == int(model.optimizer.iterations) > 2
    assert float(larger.optimizer.learning_rate) == pytest.approx(0.001)


@pytest.mark.parametrize(
    ("optimizer", "start"),
    [
        (lambda: keras.optimizers.Adagrad(0.1, initial_accumulator_value=0.25), 0.25),
        (lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1, 0.9)), 0),
        (lambda: keras.optimizers.Adam(0.1, gradient_accumulation_steps=2), 0),
    ],
    ids=["accumulators", "loss scale", "gradient accumulation"],
)
def test_other_optimizers(optimizer, start):
    model = build("matrix_factorization")
    model.compile(optimizer(), model.loss)
    fit(model, toy_sessions(48))
    larger = keras_negrec.grow_vocabulary(model, NEW)
    grew = 0
    for old, new in zip(model.optimizer.variables, larger.optimizer.variables, strict=True):
        values = numpy(new)
        if old.shape != new.shape:
            np.testing.assert_array_equal(values[NUM_ITEMS:], start)
            values = values[:NUM_ITEMS]
            grew += 1
        np.testing.assert_array_equal(values, numpy(old))
    assert grew >= 2


def test_moving_averages_of_new_rows_start_at_these():
    model = build("matrix_factorization")
    model.compile(keras.optimizers.SGD(0.1, use_ema=True), model.loss)
    fit(model, toy_sessions(32))
    larger = keras_negrec.grow_vocabulary(model, NEW)
    [average] = [v for v in larger.optimizer.variables if v.shape == (NUM_ITEMS + 3, 9)]
    [before] = [v for v in model.optimizer.variables if v.shape == (NUM_ITEMS, 9)]
    np.testing.assert_array_equal(numpy(average)[:NUM_ITEMS], numpy(before))
    rows = numpy(larger.item_embedding.embeddings)[NUM_ITEMS:]
    np.testing.assert_array_equal(numpy(average)[NUM_ITEMS:], rows)
    assert np.abs(rows).max() > 0


@pytest.mark.parametrize("when", ["before", "after"])
def test_frozen_layers_stay_frozen(when):
    model = build("caser")
    model.get_layer("convolutions").trainable = when != "before"
    fit(model, toy_sessions(16))  # the optimizer is made for what can be trained now
    model.get_layer("convolutions").trainable = False
    larger = keras_negrec.grow_vocabulary(model, NEW)
    assert [layer.trainable for layer in larger.layers] == [
        layer.trainable for layer in model.layers
    ]
    paths = [variable.path for variable in larger.trainable_variables]
    assert paths == [variable.path for variable in model.trainable_variables]
    assert [path for path in paths if "convolutions" in path] == []
    if when == "before":  # freezing later leaves Keras on JAX unable to train, old model or new
        fit(larger, toy_sessions(16))


def test_a_model_that_is_not_compiled():
    model = SessionRecommender(Caser(), vocabulary=VOCABULARY, embedding_dim=8)
    assert not keras_negrec.grow_vocabulary(model, NEW).compiled


# What comes after


@pytest.mark.parametrize("name", ["sasrec", "gru4rec", "matrix_factorization"])
def test_saved_and_loaded(name, tmp_path):
    grown(name).save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.vocabulary == ALL
    np.testing.assert_allclose(loaded.score(HISTORIES), grown(name).score(HISTORIES), atol=1e-6)
    again = keras_negrec.grow_vocabulary(loaded, ["newest"])
    assert int(again.optimizer.iterations) == int(trained(name).optimizer.iterations)
    np.testing.assert_allclose(
        again.score(HISTORIES)[:, :-1], grown(name).score(HISTORIES), atol=1e-6
    )


def test_exported_with_features(tmp_path):
    import tensorflow as tf

    model = keras_negrec.grow_vocabulary(trained_with_features(), NEW, item_features=NEW_FEATURES)
    version = keras_negrec.export(model, tmp_path, k=NUM_ITEMS + 3)
    history = ["track 1", "new a", "track 4"]
    answer = tf.saved_model.load(str(version)).signatures["serving_default"](
        item_ids=tf.constant([history]), feedback=tf.ones([1, 3], tf.int32)
    )
    [expected] = keras_negrec.recommend(model, [history], k=NUM_ITEMS)
    found = [item.decode() for item in answer["item_ids"].numpy()[0]]
    assert found == [r.item for r in expected]
    assert {"new b", "new c"} <= set(found)


# Errors


@pytest.mark.parametrize(
    ("new_items", "error", "message"),
    [
        (["new", "track 3"], ValueError, r"`new_items` must not be .* Received: \['track 3'\]"),
        (["x", "y", "x"], ValueError, "`new_items` must be distinct. Received 'x' more than once"),
        ([], ValueError, "`new_items` must hold at least one item. Received: none"),
        ([5], TypeError, "The vocabulary holds strings. Received an item of type int: 5"),
        (["x", 5], TypeError, "Items must be all strings or all integers"),
        ("new", TypeError, "Expected a sequence of items. Received one str"),
        ([None], TypeError, "Items must be"),
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
        (np.zeros((2, 3)), r"\(3, 3\). Received: \(2, 3\)"),
        (np.zeros(3), r"\(3, 3\). Received: \(3,\)"),
        ([[0, 0, 0], [0, np.nan, 0], [0, 0, 0]], r"finite. Received in row 1: \[0.0, nan, 0.0\]"),
    ],
)
def test_bad_features(features, message):
    with pytest.raises(ValueError, match=message):
        keras_negrec.grow_vocabulary(trained_with_features(), NEW, item_features=features)


def test_features_for_a_model_that_has_none():
    with pytest.raises(ValueError, match=r"built with item features. Received: shape \(3, 3\)"):
        keras_negrec.grow_vocabulary(trained("sasrec"), NEW, item_features=NEW_FEATURES)


def test_models_that_cannot_grow():
    without = keras_negrec.build_model("caser", num_items=3, embedding_dim=8)
    with pytest.raises(ValueError, match=r"needs a model with a vocabulary. Received: None"):
        keras_negrec.grow_vocabulary(without, NEW)
    popularity = Popularity(toy_sessions(2), NUM_ITEMS)
    with pytest.raises(TypeError, match=r"trained with Keras. Received one of type Popularity"):
        keras_negrec.grow_vocabulary(popularity, NEW)
