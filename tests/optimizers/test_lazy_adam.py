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
    block = {"num_layers": 1, "intermediate_dim": 8}
    small = {"sasrec": block, "bert4rec": block, "caser": {"window": 2}, "gru4rec": {}}[name]
    return keras_negrec.build_model(
        name,
        num_items=num_items,
        num_sampled_negatives=num_sampled_negatives,
        optimizer=optimizer,
        **{"max_length": 8, "embedding_dim": 8, "dropout": 0.0} | small | options,
    )


def train(model, epochs=3, sessions=None):
    sessions = toy_sessions(24) if sessions is None else sessions
    dataset = model.training_dataset(sessions, batch_size=8, shuffle=False)
    history = model.fit(dataset, epochs=epochs, shuffle=False, verbose=0)
    return history.history["loss"], [ops.convert_to_numpy(weight) for weight in model.weights]


def assert_trained_alike(lazy, adam):
    (found_losses, found), (losses, expected) = train(lazy), train(adam)
    np.testing.assert_allclose(found_losses, losses, rtol=1e-5)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=5e-5)
    assert not adam.item_embedding.row_gradients


RATE = keras.optimizers.schedules.ExponentialDecay(1e-2, 2, 0.5)
ALL_TOGETHER = {"global_clipnorm": 0.1, "use_ema": True}
BOTH = ["contrastive", "not_to_recommend"]


@pytest.mark.parametrize(
    ("name", "options", "settings", "dense_optimizer"),
    [
        ("sasrec", {"num_sampled_negatives": None}, {}, None),
        ("sasrec", {}, ALL_TOGETHER, ADAM(RATE)),
        ("sasrec", {"negative_loss": BOTH, "skips_as_negatives": True}, ALL_TOGETHER, None),
        ("bert4rec", {"objective": "gbce", "sampling_distribution": "mixed"}, {}, None),
        ("gru4rec", {"negative_loss": "keep", "feedback_inputs": True}, {}, None),
        (
            "caser",
            {"objective": "bpr", "negative_loss": "contrastive", "context": "item"},
            {},
            None,
        ),
    ],
)
def test_is_adam_where_all_rows_are_in_each_step(name, options, settings, dense_optimizer):
    """300 negatives of a few items hold each of them, and so does a softmax over all items."""
    optimizer = LazyAdam(RATE, dense_optimizer=dense_optimizer, **settings)
    lazy = build(name, optimizer=optimizer, **options)
    assert_trained_alike(lazy, build(name, optimizer=ADAM(RATE, **settings), **options))
    assert lazy.item_embedding.row_gradients == ("num_sampled_negatives" not in options)


def moved_rows(model, table, before=0.0):
    """The rows of a table that training has moved; no others have moments."""
    moments = [v for v in model.optimizer.variables if v.shape == table.shape]
    assert len(moments) == 2
    moved = set(np.nonzero(ops.convert_to_numpy(table) != before)[0])
    for moment in moments:
        assert set(np.nonzero(ops.convert_to_numpy(moment))[0]) == moved
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
    assert moved >= ROWS_OF_SHORT and 0 not in moved
    assert len(moved) <= 3 + 4
    for layer in model.layers:
        if isinstance(layer, KeepLogit):
            assert layer.row_gradients
            assert moved_rows(model, layer.item_bias) == ROWS_OF_SHORT


def test_matrix_factorization():
    """Equal to Adam where all rows are in each step; of both tables no other row is touched."""

    def built(num_items=NUM_ITEMS):
        keras.utils.set_random_seed(3)
        options = {"embedding_dim": 4, "dropout": 0.0, "num_sampled_negatives": 300}
        return MatrixFactorization(num_items, **options)

    lazy, adam, large = built(), built(), built(5000)
    adam.optimizer = ADAM(5e-3)
    assert_trained_alike(lazy, adam)
    assert lazy.item_embedding.row_gradients
    train(large, sessions=Sessions.from_lists([[7, 8, 9, 7], [8, 9]]))
    # The vectors of bags start at 0.
    assert moved_rows(large, large._bag_embedding.embeddings) == ROWS_OF_SHORT


def reference(table, steps, rate):
    """Row by row, from the definition; each step is an array of rows and one of gradients."""
    table = table.astype("float64").copy()
    momentum, velocity = np.zeros_like(table), np.zeros_like(table)
    for number, (rows, gradients) in enumerate(steps, 1):
        for row in set(rows):
            gradient = gradients[rows == row].sum(axis=0)
            momentum[row] = 0.9 * momentum[row] + 0.1 * gradient
            velocity[row] = 0.999 * velocity[row] + 0.001 * gradient**2
            unbiased = momentum[row] / (1 - 0.9**number)
            correction = np.sqrt(1 - 0.999**number)
            table[row] -= rate * unbiased / ((np.sqrt(velocity[row]) + 1e-7) / correction)
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
    for row_ids in ([1, 1, 3], [3, 5, 5], [1, 2, 1], [3, 3, 3]):
        row_ids, weights = np.array(row_ids), random.normal(size=(1, 3, 2)).astype("float32")
        model.train_on_batch(row_ids[None], weights)
        steps.append((row_ids - 1, weights[0]))
    found = ops.convert_to_numpy(layer.embeddings)
    np.testing.assert_allclose(found, reference(start, steps, 0.1), atol=1e-5)
    assert (found[[3, 5]] == start[[3, 5]]).all()


@pytest.mark.parametrize("dtype", ["float32", pytest.param("mixed_float16", marks=NEEDS_FLOAT16)])
def test_training_goes_on_after_saving(dtype, tmp_path):
    optimizer = LazyAdam(0.01, beta_1=0.8, clipnorm=1.0, dense_optimizer="adamw")
    whole_optimizer = optimizer if dtype == "float32" else LossScaleOptimizer(optimizer)
    whole = build(num_sampled_negatives=5, optimizer=whole_optimizer, dtype=dtype)
    train(whole, epochs=1)
    whole.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer) is type(whole_optimizer)
    inner = getattr(loaded.optimizer, "inner_optimizer", loaded.optimizer)
    config = inner.get_config()
    assert LazyAdam.from_config(config).get_config() == config == optimizer.get_config()
    assert isinstance(inner.dense_optimizer, keras.optimizers.AdamW)
    assert config["dense_optimizer"]["module"] == "keras.optimizers"  # on PyTorch too
    for variable, again in zip(whole.optimizer.variables, loaded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(*map(ops.convert_to_numpy, (variable, again)))
    train(loaded, epochs=1)
    assert loaded.item_embedding.row_gradients


def split_weights(model):
    """The item table as an array, and the other trainable weights."""
    table = model.item_embedding.embeddings
    others = [ops.convert_to_numpy(w) for w in model.trainable_weights if w is not table]
    return ops.convert_to_numpy(table), others


def test_dense_optimizer_updates_all_but_the_table():
    """With a rate of 0 of either, the other one's variables alone move."""
    for of_table, of_rest in ((0.0, 1e-2), (1e-2, 0.0)):
        model = build(optimizer=LazyAdam(of_table, dense_optimizer=keras.optimizers.SGD(of_rest)))
        table, others = split_weights(model)
        train(model, epochs=1)
        moved_table, moved_others = split_weights(model)
        assert (moved_table != table).any() == (of_table > 0)
        for new, old in zip(moved_others, others, strict=True):
            assert (new != old).any() == (of_rest > 0)


@pytest.mark.parametrize("name", ["AdamW", "Muon"])
def test_dense_optimizers(name):
    """One step of the rest is that of the optimizer alone, whatever else it does at a step."""
    options = {"weight_decay": 0.1} if name == "AdamW" else {}
    alone, of_rest = (getattr(keras.optimizers, name)(RATE, **options) for _ in range(2))
    whole = build(optimizer=alone)
    split = build(optimizer=LazyAdam(1e-2, dense_optimizer=of_rest))
    assert split.optimizer.dense_optimizer.iterations == 0
    for model in (whole, split):
        train(model, epochs=1, sessions=toy_sessions(4))
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
