"""Models that compute in float16 scale their loss and still change some rows alone."""

import keras
import numpy as np
import pytest
from keras import ops
from test_lazy_adam import NEEDS_FLOAT16, build, train

from keras_negrec.models import MatrixFactorization
from keras_negrec.optimizers import LazyAdam, LossScaleOptimizer


def small(optimizer=None, dtype="mixed_float16", **options):
    return build("sasrec", 50, 20, optimizer, dtype=dtype, **options)


def test_float16_models_scale_their_loss_and_others_need_not():
    for given in (None, LazyAdam(1e-2)):
        optimizer = small(given).optimizer
        assert type(optimizer) is LossScaleOptimizer
        assert isinstance(optimizer.inner_optimizer, LazyAdam)
        assert given in (None, optimizer.inner_optimizer)
    assert type(MatrixFactorization(9, dtype="mixed_float16").optimizer) is LossScaleOptimizer
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
        model = small(optimizer, each, negative_loss="contrastive")
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
