"""LazyAdam against Adam, against a loop-written reference, and in models of the package."""

import keras
import numpy as np
import pytest
from keras import ops
from toy_sessions import NUM_ITEMS, toy_sessions

import keras_negrec
from keras_negrec.data import Sessions
from keras_negrec.layers import ItemEmbedding, KeepLogit
from keras_negrec.models import MatrixFactorization
from keras_negrec.optimizers import LazyAdam, LossScaleOptimizer

ADAM = keras.optimizers.Adam
SHORT = Sessions.from_lists([[7, 8, 9, 7], [8, 9]], [[1, -1, 1, 1], [1, -1]])
ROWS_OF_SHORT = {7 - 1, 8 - 1, 9 - 1}
NEEDS_FLOAT16 = pytest.mark.skipif(
    keras.config.backend() == "jax", reason="JAX has no float16 products on processors"
)


def build(name="sasrec", num_items=NUM_ITEMS, num_sampled_negatives=300, optimizer=None, **options):
    keras.utils.set_random_seed(3)
    if name in ("sasrec", "bert4rec"):
        options = {"num_layers": 1, "intermediate_dim": 8, **options}
    return keras_negrec.build_model(
        name,
        num_items=num_items,
        num_sampled_negatives=num_sampled_negatives,
        optimizer=optimizer,
        **{"max_length": 8, "embedding_dim": 8, "dropout": 0.0} | options,
    )


def train(model, epochs=3, sessions=None):
    sessions = toy_sessions(24) if sessions is None else sessions
    dataset = model.training_dataset(sessions, batch_size=8, shuffle=False)
    history = model.fit(dataset, epochs=epochs, shuffle=False, verbose=0)
    return history.history["loss"], [ops.convert_to_numpy(weight) for weight in model.weights]


def assert_trained_alike(first, second, atol=5e-5):
    np.testing.assert_allclose(first[0], second[0], rtol=1e-5)
    for one, other in zip(first[1], second[1], strict=True):
        np.testing.assert_allclose(one, other, atol=atol)


@pytest.mark.parametrize(
    ("name", "options", "settings"),
    [
        ("sasrec", {}, {"global_clipnorm": 0.1, "use_ema": True}),
        (
            "sasrec",
            {"negative_loss": ["contrastive", "not_to_recommend"], "skips_as_negatives": True},
            {},
        ),
        ("bert4rec", {"objective": "gbce", "sampling_distribution": "mixed"}, {}),
        ("gru4rec", {"negative_loss": "keep", "feedback_inputs": True}, {}),
        ("caser", {"objective": "bpr", "negative_loss": True, "context": "item"}, {}),
    ],
)
def test_is_adam_where_all_rows_are_in_each_step(name, options, settings):
    """300 negatives of a few items hold each of them."""
    rate = keras.optimizers.schedules.ExponentialDecay(1e-2, 2, 0.5)
    lazy = build(name, optimizer=LazyAdam(rate, **settings), **options)
    adam = build(name, optimizer=keras.optimizers.Adam(rate, **settings), **options)
    assert_trained_alike(train(lazy), train(adam))
    assert lazy.item_embedding.row_gradients and not adam.item_embedding.row_gradients


def moved_rows(model, table, before=0.0):
    """The rows of a table that training has moved; no others have moments."""
    moments = [v for v in model.optimizer.variables if v.shape == table.shape]
    assert len(moments) == 2
    moved, *used = (
        set(np.nonzero(ops.convert_to_numpy(each) != start)[0])
        for each, start in ((table, before), *((moment, 0) for moment in moments))
    )
    assert used == [moved, moved]
    return moved


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("sasrec", {"negative_loss": "keep"}),
        ("bert4rec", {}),
        pytest.param("sasrec", {"dtype": "mixed_float16"}, marks=NEEDS_FLOAT16),
    ],
)
def test_other_rows_are_not_touched(name, options):
    """Padding touches none either, and the moments of other rows stay 0."""
    optimizer = LazyAdam(1e-3)
    if "dtype" in options:
        optimizer = LossScaleOptimizer(optimizer, initial_scale=1024.0)
    model = build(name, 5000, num_sampled_negatives=4, optimizer=optimizer, **options)
    before = ops.convert_to_numpy(model.item_embedding.embeddings).copy()
    train(model, epochs=1, sessions=SHORT)
    moved = moved_rows(model, model.item_embedding.embeddings, before)
    assert moved >= ROWS_OF_SHORT
    assert 0 not in moved
    assert len(moved) <= 3 + 4
    for layer in model.layers:
        if isinstance(layer, KeepLogit):
            assert layer.row_gradients
            assert moved_rows(model, layer.item_bias) == ROWS_OF_SHORT


def test_matrix_factorization():
    """Equal to Adam where all rows are in each step; of both tables no other row is touched."""

    def built(num_items=NUM_ITEMS, optimizer=None):
        keras.utils.set_random_seed(3)
        model = MatrixFactorization(
            num_items, embedding_dim=4, dropout=0.0, num_sampled_negatives=300
        )
        if optimizer is not None:
            model.optimizer = optimizer
        return model

    lazy, adam = built(), built(optimizer=keras.optimizers.Adam(5e-3))
    assert_trained_alike(train(lazy), train(adam))
    assert lazy.item_embedding.row_gradients and not adam.item_embedding.row_gradients
    large = built(num_items=5000)
    train(large, sessions=Sessions.from_lists([[7, 8, 9, 7], [8, 9]]))
    # The vectors of bags start at 0.
    assert moved_rows(large, large._bag_embedding.embeddings) == ROWS_OF_SHORT


def reference(table, steps, rate, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    """Row by row, from the definition; each step is a list of (row, gradient)."""
    table = table.astype("float64").copy()
    momentum, velocity = np.zeros_like(table), np.zeros_like(table)
    for number, step in enumerate(steps, 1):
        total = {}
        for row, gradient in step:
            total[row] = total.get(row, 0) + gradient
        for row, gradient in total.items():
            momentum[row] = beta_1 * momentum[row] + (1 - beta_1) * gradient
            velocity[row] = beta_2 * velocity[row] + (1 - beta_2) * gradient**2
            unbiased = momentum[row] / (1 - beta_1**number)
            scale = np.sqrt(velocity[row] / (1 - beta_2**number))
            table[row] -= rate * unbiased / (scale + epsilon / np.sqrt(1 - beta_2**number))
    return table


@pytest.mark.skipif(
    keras.config.backend() == "jax", reason="look-ups of single layers have dense gradients on JAX"
)
def test_against_reference():
    layer = ItemEmbedding(6, 2)
    layer.row_gradients = True
    ids = keras.Input((3,), dtype="int32")
    model = keras.Model(ids, layer(ids))
    model.compile(LazyAdam(0.1), loss=lambda y_true, y_pred: ops.sum(y_true * y_pred))
    start = ops.convert_to_numpy(layer.embeddings).copy()
    random = np.random.default_rng(0)
    steps = []
    for batch in [[[1, 1, 3]], [[3, 5, 5]], [[1, 2, 1]], [[3, 3, 3]]]:
        weights = random.normal(size=(1, 3, 2)).astype("float32")
        model.train_on_batch(np.array(batch, "int32"), weights)
        steps.append([(i - 1, w) for i, w in zip(batch[0], weights[0], strict=True)])
    expected = reference(start, steps, 0.1)
    np.testing.assert_allclose(ops.convert_to_numpy(layer.embeddings), expected, atol=1e-5)
    assert (ops.convert_to_numpy(layer.embeddings)[[3, 5]] == start[[3, 5]]).all()


def test_training_goes_on_after_saving(tmp_path):
    optimizer = LazyAdam(0.01, beta_1=0.8, clipnorm=1.0, dense_optimizer="adamw")
    whole = build(num_items=40, num_sampled_negatives=5, optimizer=optimizer)
    train(whole, epochs=2)
    whole.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer) is LazyAdam
    config = loaded.optimizer.get_config()
    assert LazyAdam.from_config(config).get_config() == config == optimizer.get_config()
    assert isinstance(loaded.optimizer.dense_optimizer, keras.optimizers.AdamW)
    assert config["dense_optimizer"]["module"] == "keras.optimizers"  # on PyTorch too
    variables = zip(whole.optimizer.variables, loaded.optimizer.variables, strict=True)
    for variable, again in variables:
        np.testing.assert_array_equal(*map(ops.convert_to_numpy, (variable, again)))
    train(loaded, epochs=1)
    assert loaded.item_embedding.row_gradients


def test_full_softmax_has_dense_gradients():
    model = build(num_sampled_negatives=None, optimizer=LazyAdam(1e-2))
    found = train(model)
    assert not model.item_embedding.row_gradients
    adam = build(num_sampled_negatives=None, optimizer=keras.optimizers.Adam(1e-2))
    assert_trained_alike(found, train(adam))


def with_dense(dense_optimizer, **options):
    return LazyAdam(1e-2, dense_optimizer=dense_optimizer, **options)


def split_weights(model):
    """The item table as an array, and the other trainable weights."""
    table = model.item_embedding.embeddings
    others = [w for w in model.trainable_weights if w is not table]
    return ops.convert_to_numpy(table), [ops.convert_to_numpy(weight) for weight in others]


def test_dense_optimizer_of_the_same_kind():
    """Adam for the rest is what is done without it; clipping is of all variables together."""
    options = {"global_clipnorm": 0.1, "use_ema": True}
    found = train(build(optimizer=with_dense(keras.optimizers.Adam(1e-2), **options)))
    assert_trained_alike(found, train(build(optimizer=LazyAdam(1e-2, **options))), atol=1e-6)


def test_dense_optimizer_updates_all_but_the_table():
    """With a rate of 0 of either, the other one's variables alone move."""
    for of_table, of_rest in ((0.0, 1e-2), (1e-2, 0.0)):
        model = build(optimizer=LazyAdam(of_table, dense_optimizer=keras.optimizers.SGD(of_rest)))
        table, others = split_weights(model)
        train(model)
        moved_table, moved_others = split_weights(model)
        assert (moved_table != table).any() == (of_table > 0)
        moved = [(new != old).any() for new, old in zip(moved_others, others, strict=True)]
        assert all(moved) if of_rest else not any(moved)


@pytest.mark.parametrize("name", ["AdamW", "Muon"])
def test_dense_optimizers(name):
    """One step of the rest is that of the optimizer alone, whatever else it does at a step."""
    rate = keras.optimizers.schedules.ExponentialDecay(1e-2, 1, 0.5)
    options = {"weight_decay": 0.1} if name == "AdamW" else {}
    kind = getattr(keras.optimizers, name)
    whole = build(optimizer=kind(rate, **options))
    split = build(optimizer=with_dense(kind(rate, **options)))
    assert split.optimizer.dense_optimizer.iterations == 0
    sessions = toy_sessions(4)
    for model in (whole, split):
        train(model, epochs=1, sessions=sessions)
    assert int(split.optimizer.dense_optimizer.iterations) == 1
    for found, expected in zip(split_weights(split)[1], split_weights(whole)[1], strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"amsgrad": 2}, "LazyAdam has no `amsgrad`.*Received: amsgrad=2"),
        ({"weight_decay": 2}, "LazyAdam has no `weight_decay`"),
        ({"gradient_accumulation_steps": 2}, "has no `gradient_accumulation_steps`"),
        ({"dense_optimizer": ADAM(clipnorm=2)}, "`clipnorm` must be set on LazyAdam.*clipnorm=2"),
        (
            {"dense_optimizer": ADAM(gradient_accumulation_steps=2)},
            "`gradient_accumulation_steps` must be set on LazyAdam",
        ),
        (
            {"dense_optimizer": keras.optimizers.LossScaleOptimizer(ADAM(1e-2))},
            "scaled by `LossScaleOptimizer` around LazyAdam",
        ),
    ],
)
def test_refuses_what_concerns_all_variables(options, message):
    with pytest.raises(ValueError, match=message):
        LazyAdam(**options)
