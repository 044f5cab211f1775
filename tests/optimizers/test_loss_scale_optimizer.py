"""Models that compute in float16 scale their loss and still change some rows alone."""

import keras
import numpy as np
import pytest
from keras import ops
from toy_sessions import toy_sessions

import keras_negrec
from keras_negrec.models import MatrixFactorization
from keras_negrec.optimizers import LazyAdam, LossScaleOptimizer

NO_PRODUCTS = pytest.mark.skipif(
    keras.config.backend() == "jax", reason="JAX has no float16 products on processors"
)


def build(optimizer=None, dtype="mixed_float16", num_items=50, **options):
    keras.utils.set_random_seed(3)
    return keras_negrec.build_model(
        "sasrec",
        num_items=num_items,
        optimizer=optimizer,
        dtype=dtype,
        **{"num_sampled_negatives": 20, "embedding_dim": 8, "max_length": 8, "dropout": 0.0}
        | options,
    )


def train(model, epochs=1, sessions=None):
    sessions = toy_sessions(24) if sessions is None else sessions
    dataset = model.training_dataset(sessions, batch_size=8, shuffle=False)
    return model.fit(dataset, epochs=epochs, shuffle=False, verbose=0).history["loss"]


def table_of(model):
    return ops.convert_to_numpy(model.item_embedding.embeddings).copy()


@pytest.mark.parametrize("optimizer", [None, LazyAdam(1e-2)])
def test_float16_models_scale_their_loss(optimizer):
    model = build(optimizer)
    assert type(model.optimizer) is LossScaleOptimizer
    assert isinstance(model.optimizer.inner_optimizer, LazyAdam)
    assert optimizer is None or model.optimizer.inner_optimizer is optimizer


def test_others_need_none():
    assert type(build("sgd").optimizer) is keras.optimizers.LossScaleOptimizer
    for dtype in (None, "mixed_bfloat16"):
        assert type(build(dtype=dtype).optimizer) is LazyAdam


@NO_PRODUCTS
def test_other_rows_are_not_touched():
    optimizer = LossScaleOptimizer(LazyAdam(1e-3), initial_scale=1024.0)
    model = build(optimizer, num_items=5000, num_sampled_negatives=4)
    sessions = keras_negrec.data.Sessions.from_lists([[7, 8, 9, 7], [8, 9]])
    before = table_of(model)
    train(model, sessions=sessions)
    assert model.item_embedding.row_gradients
    moved = np.flatnonzero((table_of(model) != before).any(axis=1))
    assert {7 - 1, 8 - 1, 9 - 1} <= set(moved)
    assert len(moved) <= 3 + 4


@NO_PRODUCTS
def test_trains_as_in_float32():
    losses = {}
    for dtype in ("float32", "mixed_float16"):
        optimizer = LossScaleOptimizer(LazyAdam(1e-2), initial_scale=64.0)
        model = build(optimizer, dtype=dtype, negative_loss=True)
        losses[dtype] = train(model, epochs=6)
    assert losses["mixed_float16"][-1] < losses["mixed_float16"][0]
    np.testing.assert_allclose(losses["mixed_float16"], losses["float32"], rtol=0.03)


@NO_PRODUCTS
def test_a_step_with_infinite_gradients_is_left_out():
    model = build(LossScaleOptimizer(LazyAdam(1e-2), initial_scale=2.0**40))
    before = table_of(model)
    train(model)
    np.testing.assert_array_equal(table_of(model), before)
    assert float(model.optimizer.dynamic_scale) < 2.0**40
    assert int(model.optimizer.iterations) == 0


@NO_PRODUCTS
def test_saving(tmp_path):
    model = build()
    train(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer) is LossScaleOptimizer
    assert loaded.dtype_policy.name == "mixed_float16"
    for variable, again in zip(model.optimizer.variables, loaded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(*map(ops.convert_to_numpy, (variable, again)))
    train(loaded)
    assert loaded.item_embedding.row_gradients


@NO_PRODUCTS
def test_matrix_factorization():
    model = MatrixFactorization(30, embedding_dim=8, num_sampled_negatives=4, dtype="mixed_float16")
    assert type(model.optimizer) is LossScaleOptimizer
    losses = train(model, epochs=4)
    assert model.item_embedding.row_gradients
    assert np.isfinite(losses).all()
