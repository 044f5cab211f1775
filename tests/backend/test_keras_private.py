"""Fails with the name that Keras changed."""

import keras
import numpy as np
import pytest

from keras_negrec.backend import keras_private

BACKEND = keras.config.backend()


@pytest.fixture(scope="module")
def model():
    model = keras.Sequential([keras.Input((2,)), keras.Sequential([keras.layers.Dense(1)])])
    model.compile(keras.optimizers.Adam(use_ema=True), "mse")
    model.fit(np.ones((2, 2)), np.ones((2, 1)), verbose=0)
    return model


def test_flatten_layers(model):
    inner = model.layers[0]
    assert [type(layer) for layer in keras_private.flatten_layers(model)].count(type(inner)) == 2
    assert inner.layers[0] in keras_private.flatten_layers(model)


def test_compile_loss(model):
    assert keras_private.compile_loss(model).built
    assert keras_private.compile_loss(keras.Sequential()) is None


@pytest.mark.skipif(BACKEND != "jax", reason="of Keras on JAX alone")
def test_update_metrics_variables(model):
    model.reset_metrics()
    x, y = np.ones((2, 2), "float32"), np.ones((2, 1), "float32")
    before = [variable.value for variable in model.metrics_variables]
    logs, after = keras_private.update_metrics_variables(model, before, 3.0, x, y, y, None)
    assert float(logs["loss"]) == 3
    assert len(after) == len(before)


def test_variables_of_an_optimizer(model):
    variables = model.trainable_variables
    found = keras_private.trainable_variables_of(model.optimizer)
    assert [id(v) for v in found] == [id(v) for v in variables]
    averages = keras_private.moving_averages(model.optimizer)
    assert [v.shape for v in averages] == [v.shape for v in variables]
    kernel = variables[0]
    for moment in keras_private.moments_of(model.optimizer, kernel):
        assert moment.shape == kernel.shape
        assert np.abs(keras.ops.convert_to_numpy(moment)).max() > 0


@pytest.mark.parametrize("step", ["clip_gradients", "update_variables", "decay_weights"])
def test_optimizer_takes_the_step(step):
    taken = []

    class Optimizer(keras_private.OptimizerSteps, keras.optimizers.SGD):
        pass

    def note(self, *arguments):
        taken.append(step)
        return getattr(super(Optimizer, self), step)(*arguments)

    setattr(Optimizer, step, note)
    variable = keras.Variable([1.0])
    optimizer = Optimizer(0.25, weight_decay=0.5, clipvalue=2.0)
    optimizer.apply([keras.ops.convert_to_tensor([4.0])], [variable])
    assert taken == [step]
    # decayed by 0.25 * 0.5, then moved by 0.25 * min(4, 2)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), [0.375])


def test_steps_of_another_optimizer():
    variable, optimizer = keras.Variable([1.0]), keras.optimizers.SGD(0.25, weight_decay=0.5)
    optimizer.build([variable])
    keras_private.decay_weights_with(optimizer, [variable])
    keras_private.update_variables_with(optimizer, [keras.ops.convert_to_tensor([2.0])], [variable])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), [0.375])
