"""Models that compute in float16 scale their loss and still change some rows alone."""

import keras
import numpy as np
import pytest
from keras import ops
from test_lazy_adam import NEEDS_FLOAT16, build, train

from keras_negrec.models import MatrixFactorization
from keras_negrec.optimizers import LazyAdam, LossScaleOptimizer


def small(optimizer=None, dtype="mixed_float16", **options):
    options = {"num_sampled_negatives": 20, **options}
    return build(num_items=50, optimizer=optimizer, dtype=dtype, **options)


@pytest.mark.parametrize("optimizer", [None, LazyAdam(1e-2)])
def test_float16_models_scale_their_loss(optimizer):
    model = small(optimizer)
    assert type(model.optimizer) is LossScaleOptimizer
    assert isinstance(model.optimizer.inner_optimizer, LazyAdam)
    assert optimizer is None or model.optimizer.inner_optimizer is optimizer


def test_others_need_none():
    assert type(small("sgd").optimizer) is keras.optimizers.LossScaleOptimizer
    for dtype in (None, "mixed_bfloat16"):
        assert type(small(dtype=dtype).optimizer) is LazyAdam


@pytest.mark.parametrize(
    "dtype", ["mixed_bfloat16", pytest.param("mixed_float16", marks=NEEDS_FLOAT16)]
)
def test_trains_as_in_float32(dtype):
    losses = {}
    for each in ("float32", dtype):
        optimizer = LazyAdam(1e-2)
        if dtype == "mixed_float16":
            optimizer = LossScaleOptimizer(optimizer, initial_scale=64.0)
        model = small(optimizer, each, negative_loss=True)
        losses[each], weights = train(model, epochs=4)
        assert all(np.isfinite(weight).all() for weight in weights)
        assert model.item_embedding.embeddings.dtype == "float32"
    assert losses[dtype][-1] < losses[dtype][0]
    np.testing.assert_allclose(losses[dtype], losses["float32"], rtol=0.03)


@NEEDS_FLOAT16
def test_a_step_with_infinite_gradients_is_left_out():
    model = small(LossScaleOptimizer(LazyAdam(1e-2), initial_scale=2.0**40))
    before = [ops.convert_to_numpy(weight).copy() for weight in model.trainable_weights]
    train(model, epochs=1)
    for old, weight in zip(before, model.trainable_weights, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(weight), old)
    assert float(model.optimizer.dynamic_scale) < 2.0**40
    assert int(model.optimizer.iterations) == 0


@NEEDS_FLOAT16
def test_saving(tmp_path):
    model = small()
    train(model, epochs=1)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer) is LossScaleOptimizer
    assert loaded.dtype_policy.name == "mixed_float16"
    for variable, again in zip(model.optimizer.variables, loaded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(*map(ops.convert_to_numpy, (variable, again)))
    train(loaded, epochs=1)
    assert loaded.item_embedding.row_gradients


@NEEDS_FLOAT16
def test_matrix_factorization():
    model = MatrixFactorization(30, embedding_dim=8, num_sampled_negatives=4, dtype="mixed_float16")
    assert type(model.optimizer) is LossScaleOptimizer
    losses, _ = train(model, epochs=2)
    assert model.item_embedding.row_gradients
    assert np.isfinite(losses).all()
