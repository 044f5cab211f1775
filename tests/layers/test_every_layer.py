"""What every layer must do, whatever it computes."""

import json
import warnings

import keras
import numpy as np
import pytest
from keras import ops

from keras_negrec import layers
from keras_negrec.layers.in_fewer_passes import Dropout, LayerNormalization

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(2, 5, 8)).astype("float32")
IDS = np.array([[0, 0, 1, 2, 2], [6, 4, 4, 1, 3]], "int32")
SESSIONS = np.array([[0, 0, 0, 1, 2], [0] * 5], "int32")
MASK = np.array([[False, False, True, True, True], [True] * 5])
POSITIONS = np.array([[4, 1], [0, -1]], "int32")
SAMPLED = (X, X[::-1], IDS, X[0, :4], np.array([3, 5, 5, 1], "int32"))
TIMES = np.array([[0, 0, 30, 95, 7000], [5, 6, 7, 8, 9]], "int32")
BUCKETS = RANDOM.integers(0, 4, (2, 2, 5)).astype("int32")
GATED = {"num_heads": 2, "max_length": 6}
FUXI = {"num_time_buckets": 3, "separate_channels": True, "intermediate_dim": 4}
BLOCK = {"intermediate_dim": 16, "num_heads": 2}
EMBEDDING = {"num_items": 6, "embedding_dim": 8}
POSITION = {"max_length": 6}
SAMPLER = {"num_items": 9, "num_negatives": 7, "seed": 3}
# Class, arguments, inputs, shape of the output, numbers of trainable and of other weights.
CASES = [
    (layers.ConvolutionalSequenceEmbedding, {"window": 3}, [X], (2, 5, 80), 8, 0),
    (layers.EventDropout, {"rate": 0.4, "max_id": 7, "seed": 1}, [IDS], (2, 5), 0, 0),
    (layers.FeedbackEmbedding, {}, [X, SESSIONS], (2, 5, 8), 1, 0),
    (layers.FeedbackSimilarity, {}, [X, X[:, :3]], (2, 5, 3), 0, 0),
    (layers.FeedbackSimilarity, {"similarity": "dot"}, [X, X[:, :3]], (2, 5, 3), 0, 0),
    (layers.GatedAttention, GATED, [X, MASK], (2, 5, 8), 9, 0),
    (layers.GatedAttention, {**GATED, **FUXI}, [X, MASK, BUCKETS, POSITIONS], (2, 2, 8), 16, 0),
    (layers.ItemEmbedding, EMBEDDING, [IDS], (2, 5, 8), 1, 0),
    (layers.ItemEmbedding, {**EMBEDDING, "mask_token": True}, [IDS], (2, 5, 8), 2, 0),
    (layers.ItemEmbedding, {**EMBEDDING, "num_features": 3}, [IDS], (2, 5, 8), 2, 2),
    (layers.ItemEmbedding, {**EMBEDDING, "embeddings_initializer": "ones"}, [X], (2, 5, 6), 1, 0),
    (layers.KeepLogit, {"num_items": 6}, [X, IDS], (2, 5, 5), 3, 0),
    (layers.KeepLogit, {"num_items": 6, "context_dim": 3}, [X, IDS[:, :4]], (2, 5, 4), 4, 0),
    (layers.LiGRBlock, BLOCK, [X, MASK, POSITIONS], (2, 2, 8), 16, 0),
    (layers.NegativeSampler, SAMPLER, [IDS], (7,), 0, 0),
    (layers.NegativeSampler, {**SAMPLER, "distribution": "log_uniform"}, [IDS], (7,), 0, 0),
    (layers.NegativeSampler, {**SAMPLER, "distribution": "in_batch"}, [IDS], (7,), 0, 1),
    (layers.NegativeSampler, {**SAMPLER, "distribution": "mixed"}, [IDS], (7,), 0, 1),
    (layers.PeriodicTimeEmbedding, {}, [X, TIMES], (2, 5, 8), 1, 0),
    (layers.PeriodicTimeEmbedding, {"periods": [9]}, [X, TIMES, TIMES], (2, 5, 8), 1, 0),
    (layers.PredictionHead, {}, [X], (2, 5, 8), 4, 0),
    (layers.PredictionHead, {"transform": False}, [X], (2, 5, 8), 0, 0),
    (layers.ProjectionHead, {"dim": 3}, [X], (2, 5, 3), 4, 0),
    (layers.SampledLogits, {}, SAMPLED, (2, 5, 5), 0, 0),
    (layers.SessionPositionEmbedding, POSITION, [X], (2, 5, 8), 1, 0),
    (layers.SessionPositionEmbedding, {**POSITION, "max_sessions": 2}, [X, IDS], (2, 5, 8), 2, 0),
    (layers.SwiGLU, {"intermediate_dim": 3}, [X], (2, 5, 8), 4, 0),
    (layers.TakePositions, {}, [X, POSITIONS], (2, 2, 8), 0, 0),
    (layers.TimeBuckets, {}, [TIMES, TIMES, POSITIONS], (2, 2, 5), 0, 0),
    (layers.TransformerBlock, BLOCK, [X, MASK], (2, 5, 8), 12, 0),
    (layers.TransformerBlock, {**BLOCK, "rotary": True}, [X], (2, 5, 8), 12, 0),
    (layers.TransformerBlock, {**BLOCK, "causal": False}, [X, MASK, POSITIONS], (2, 2, 8), 12, 0),
    (Dropout, {"rate": 0.2}, [X], (2, 5, 8), 0, 0),
    (LayerNormalization, {"epsilon": 1e-5}, [X], (2, 5, 8), 2, 0),
]


def test_no_layer_is_left_out():
    assert {case[0].__name__ for case in CASES} >= set(layers.__all__)


@pytest.mark.parametrize(("layer_class", "options", "inputs", "shape", "trainable", "fixed"), CASES)
def test_layer(layer_class, options, inputs, shape, trainable, fixed, tmp_path):
    call = {"reverse": True} if options.get("embeddings_initializer") else {}
    layer = layer_class(**options)
    for dtype in (None, keras.DTypePolicy("mixed_bfloat16")):
        _check_config(layer_class(**options, dtype=dtype))
    symbolic = [keras.Input(batch_shape=x.shape, dtype=x.dtype.name) for x in inputs]
    model = keras.Model(symbolic, layer(*symbolic, **call))
    fresh = layer_class(**options)
    output = _first(fresh(*inputs, **call))
    of_ids = layer_class in (layers.EventDropout, layers.NegativeSampler, layers.TimeBuckets)
    for each, found in ((layer, model.outputs[0]), (fresh, output)):
        assert tuple(found.shape) == shape
        assert keras.backend.standardize_dtype(found.dtype) == ("int32" if of_ids else "float32")
        assert len(each.trainable_weights) == trainable
        assert len(each.non_trainable_weights) == fixed
    _check_saving(model, inputs, tmp_path, layer_class is layers.NegativeSampler)
    if not of_ids:
        _check_training_step(model, inputs)
        for policy in ("mixed_float16", "mixed_bfloat16"):
            _check_mixed_precision(layer_class(**options, dtype=policy), inputs, call)


def _first(output):
    return output[0] if isinstance(output, (tuple, list)) else output


def _check_config(layer):
    config = layer.get_config()
    again = type(layer).from_config(json.loads(json.dumps(config)))
    assert again.get_config() == config
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(again) is type(layer)
    assert again.get_config() == config


def _check_saving(model, inputs, folder, is_random):
    model.save(folder / "model.keras")
    loaded = keras.saving.load_model(folder / "model.keras")
    for weight, saved in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(*map(ops.convert_to_numpy, (weight, saved)), weight.path)
    output, again = (ops.convert_to_numpy(_first(each(list(inputs)))) for each in (model, loaded))
    if not is_random:
        np.testing.assert_allclose(output, again, atol=1e-6)
    assert output.shape == again.shape


def _check_training_step(model, inputs):
    model.compile("sgd", "mse")
    before = [ops.convert_to_numpy(weight).copy() for weight in model.trainable_weights]
    targets = np.ones(model.outputs[0].shape, "float32")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have any trainable weights.*")
        # `fit` would split the inputs into batches, and not all of them have a batch axis.
        assert np.isfinite(model.train_on_batch(list(inputs), targets))
    after = [ops.convert_to_numpy(weight) for weight in model.trainable_weights]
    assert all(np.isfinite(weight).all() for weight in after)
    changed = [(old != new).any() for old, new in zip(before, after, strict=True)]
    assert any(changed) or not changed


def _check_mixed_precision(layer, inputs, call):
    output = layer(*inputs, **call)
    assert keras.backend.standardize_dtype(output.dtype) == layer.compute_dtype != "float32"
    assert np.isfinite(ops.convert_to_numpy(ops.cast(output, "float32"))).all()
    assert all(weight.dtype == "float32" for weight in layer.weights)


@pytest.mark.parametrize(
    ("layer_class", "options", "message"),
    [
        (layers.ConvolutionalSequenceEmbedding, {"window": 0}, "`window` must be a positive int"),
        (layers.ConvolutionalSequenceEmbedding, {"vertical_filters": 0}, "`vertical_filters` must"),
        (layers.EventDropout, {"rate": 1.0}, "`rate` must be at least 0 and below 1"),
        (layers.FeedbackSimilarity, {"similarity": "l2"}, "must be one of 'cosine', 'dot'"),
        (layers.ItemEmbedding, {**EMBEDDING, "num_features": 0}, "`num_features` must be a pos"),
        (layers.KeepLogit, {"num_items": 0}, "`num_items` must be a positive integer"),
        (layers.NegativeSampler, {**SAMPLER, "distribution": "zipf"}, "must be one of 'uniform', "),
        (layers.SessionPositionEmbedding, {"max_length": 0}, "`max_length` must be a positive"),
        (layers.SessionPositionEmbedding, {**POSITION, "max_sessions": 0}, "`max_sessions` must"),
    ],
)
def test_bad_arguments(layer_class, options, message):
    with pytest.raises(ValueError, match=message):
        layer_class(**options)
