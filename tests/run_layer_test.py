"""What every layer must do, whatever it computes."""

import json
import tempfile
import warnings
from pathlib import Path

import keras
import numpy as np
from keras import ops


def run_layer_test(
    layer_class,
    init_kwargs,
    inputs,
    *,
    expected_output_shape,
    expected_num_trainable_weights,
    expected_num_non_trainable_weights=0,
    expected_output_dtype="float32",
    call_kwargs=None,
    is_random=False,
):
    """Runs the checks on a layer.

    Args:
        layer_class: the class.
        init_kwargs: dict for its constructor.
        inputs: tuple of NumPy arrays, the positional call arguments.
        expected_output_shape: tuple. Of a layer with several outputs, the first.
        expected_num_trainable_weights, expected_num_non_trainable_weights: ints.
        expected_output_dtype: str. Where it is a float dtype, mixed precision is tried too.
        call_kwargs: dict of call arguments that are no tensors.
        is_random: bool. Two calls may give different values.
    """
    call_kwargs = call_kwargs or {}
    layer = layer_class(**init_kwargs)
    _check_config(layer)
    model = _functional(layer, inputs, call_kwargs)
    assert tuple(model.outputs[0].shape) == expected_output_shape
    assert model.outputs[0].dtype == expected_output_dtype
    assert len(layer.trainable_weights) == expected_num_trainable_weights
    assert len(layer.non_trainable_weights) == expected_num_non_trainable_weights

    fresh = layer_class(**init_kwargs)
    output = _first(fresh(*inputs, **call_kwargs))
    assert tuple(output.shape) == expected_output_shape
    assert keras.backend.standardize_dtype(output.dtype) == expected_output_dtype
    assert len(fresh.trainable_weights) == expected_num_trainable_weights

    _check_saving(model, inputs, is_random)
    if "float" in expected_output_dtype:
        _check_training_step(model, inputs)
        for policy in ("mixed_float16", "mixed_bfloat16"):
            _check_mixed_precision(layer_class, init_kwargs, inputs, call_kwargs, policy)


def _first(output):
    return output[0] if isinstance(output, (tuple, list)) else output


def _functional(layer, inputs, call_kwargs):
    symbolic = [keras.Input(batch_shape=x.shape, dtype=x.dtype.name) for x in inputs]
    return keras.Model(symbolic, layer(*symbolic, **call_kwargs))


def _check_config(layer):
    config = layer.get_config()
    again = type(layer).from_config(json.loads(json.dumps(config)))
    assert again.get_config() == config
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(again) is type(layer)
    assert again.get_config() == config


def _check_saving(model, inputs, is_random):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        loaded = keras.saving.load_model(path)
    assert len(loaded.weights) == len(model.weights)
    for weight, saved in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(
            ops.convert_to_numpy(weight), ops.convert_to_numpy(saved), err_msg=weight.path
        )
    output, again = _first(model(list(inputs))), _first(loaded(list(inputs)))
    if is_random:
        assert output.shape == again.shape
    else:
        np.testing.assert_allclose(
            ops.convert_to_numpy(output), ops.convert_to_numpy(again), atol=1e-6
        )


def _check_training_step(model, inputs):
    model.compile("sgd", "mse")
    before = [ops.convert_to_numpy(weight).copy() for weight in model.trainable_weights]
    targets = np.ones(model.outputs[0].shape, "float32")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have any trainable weights.*")
        # `fit` would split the inputs into batches, and not all of them have a batch axis.
        loss = model.train_on_batch(list(inputs), targets)
    assert np.isfinite(loss)
    after = [ops.convert_to_numpy(weight) for weight in model.trainable_weights]
    assert all(np.isfinite(weight).all() for weight in after)
    changed = [(old != new).any() for old, new in zip(before, after, strict=True)]
    assert any(changed) or not changed


def _check_mixed_precision(layer_class, init_kwargs, inputs, call_kwargs, policy):
    layer = layer_class(**init_kwargs, dtype=policy)
    output = layer(*inputs, **call_kwargs)
    expected = keras.DTypePolicy(policy).compute_dtype
    assert keras.backend.standardize_dtype(output.dtype) == expected
    assert np.isfinite(ops.convert_to_numpy(ops.cast(output, "float32"))).all()
    for weight in layer.weights:
        assert weight.dtype == "float32", weight.path
