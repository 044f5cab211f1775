"""An ONNX model, for onnxruntime and whatever else runs ONNX."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_negrec.atomic_write import atomic_write
from keras_negrec.data import Vocabulary
from keras_negrec.data.event_columns import EVENT_COLUMNS
from keras_negrec.models.ensemble import Ensemble
from keras_negrec.serving.in_tensorflow import exported_vocabulary, in_tensorflow, needs_process

_MAX_BYTES = 2**31 - 1  # of a protocol buffer


def export_onnx(model, path: str | Path, *, vocabulary: Vocabulary | None = None) -> Path:
    """Writes an ONNX model, histories in, scores of all items out, and returns its path.

    The file is written whole or not at all. Its inputs are `(batch, n)`, any batch size and any
    n, oldest event first. Their values are not checked:

    - `item_ids`: int32, places in the vocabulary counted from 1. 0 pads on the left. The newest
      `max_length` events count.
    - `feedback`, int32, -2 to 2, and further columns that the encoder sees, 0 for padding.

    Its float32 outputs are `scores` `(batch, num_items)`, column `j` for the item `j` of the
    vocabulary, id `j + 1`, and items of the history like all others; and `vectors`
    `(batch, dim)`, whose products with the item vectors are the scores. Its metadata has
    `vocabulary`, the external ids as a JSON list, and `max_length`.

    All encoders, `MatrixFactorization` and an `Ensemble` of these can be exported, models in half
    precision in float32. The conversion is that of tf2onnx, from TensorFlow on the CPU: a model
    trained on JAX, on PyTorch or on a GPU is exported by a second process.

    Args:
        model: a model of this package that is trained with Keras.
        path: the file to write. Its folder is made if it is missing.
        vocabulary: `Vocabulary`. Default: the model's own.

    Raises:
        ImportError: tf2onnx is not installed (`pip install 'keras-negrec[onnx]'`).
        TypeError, ValueError: as `export` does; a model larger than an ONNX file's 2 GiB.
        FileExistsError: the file is there already.
        RuntimeError: tf2onnx does not know an operation; the TensorFlow process failed.

    Example:

    >>> vocabulary = keras_negrec.data.Vocabulary(["intro", "verse", "outro"])
    >>> model = keras_negrec.build_model("caser", vocabulary=vocabulary)
    >>> path = keras_negrec.serving.export_onnx(model, "model.onnx")

    From external ids to external ids, where nothing but onnxruntime is needed:

    >>> import json, onnxruntime
    >>> session = onnxruntime.InferenceSession("model.onnx")
    >>> items = json.loads(session.get_modelmeta().custom_metadata_map["vocabulary"])
    >>> history = [items.index(item) + 1 for item in ["verse", "intro"]]
    >>> [scores] = session.run(["scores"], {"item_ids": np.array([history], "int32")})
    >>> scores[0, np.array(history) - 1] = -np.inf  # what was seen
    >>> items[np.argmax(scores)]
    'outro'
    """
    vocabulary = exported_vocabulary("export_onnx", model, vocabulary)
    if importlib.util.find_spec("tf2onnx") is None:
        raise ImportError("`export_onnx` needs tf2onnx: pip install 'keras-negrec[onnx]'")
    # Checked here, since the conversion fails only after minutes. The table is there twice.
    tables = [embedding.embeddings for embedding, _ in model.item_columns]
    num_bytes = sum(4 * math.prod(weight.shape) for weight in [*model.weights, *tables])
    if num_bytes > _MAX_BYTES:
        raise ValueError(
            f"One ONNX file holds at most {_MAX_BYTES:,} bytes. Received a model that needs "
            f"{num_bytes:,}: num_items={model.num_items}"
        )
    path = Path(path)
    if path.exists():
        raise FileExistsError(f"`export_onnx` does not overwrite a file. Received: path={path}")
    path.parent.mkdir(parents=True, exist_ok=True)
    if needs_process():
        in_tensorflow("export_onnx", model, path, vocabulary)
    else:
        content = _onnx_model(model, vocabulary).SerializeToString()
        with atomic_write(path) as partial:
            partial.write_bytes(content)
    return path


def _in_float32(model):
    """onnxruntime has no bfloat16 on most processors, and weights are float32 anyway."""
    if isinstance(model, Ensemble):
        return Ensemble([_in_float32(part) for part in model.models])
    if model.item_embedding.compute_dtype == "float32":
        return model
    full = type(model).from_config({**model.get_config(), "dtype": "float32"})
    full.set_weights(model.get_weights())
    return full


def _onnx_model(model, vocabulary: Vocabulary):
    import onnx
    import tf2onnx

    model = _in_float32(model)
    serving_model, max_length = model.serving_model, model.max_length
    table = keras.ops.convert_to_numpy(model.item_vectors())  # a tensor would be an input
    column_weights = model.column_weights()
    dtypes = {name: EVENT_COLUMNS[name].input_dtype for name in serving_model.input}
    retired = np.isin(np.arange(len(vocabulary)), vocabulary.retired_ids - 1)

    @tf.function(
        input_signature=[tf.TensorSpec([None, None], dtypes[name], name) for name in dtypes],
        autograph=False,
    )
    def predict(*inputs):
        # Always `max_length` columns, as in `score`: a cloze model puts its mask token in place
        # of the first, which must not be an event.
        batch, padded = tf.shape(inputs[0])[0], {}
        for name, values in zip(dtypes, inputs, strict=True):
            padding = tf.zeros([batch, max_length], values.dtype)
            newest = tf.concat([padding, values], axis=1)[:, -max_length:]
            padded[name] = tf.ensure_shape(newest, [None, max_length])
        vectors = serving_model(padded) * column_weights
        scores = tf.matmul(vectors, table, transpose_b=True)
        if retired.any():
            scores = tf.where(retired, -float("inf"), scores)
        return {"scores": scores, "vectors": vectors}

    proto, _ = tf2onnx.convert.from_function(
        predict, predict.input_signature, custom_op_handlers={"Erfc": (_erfc, [])}
    )
    try:  # tf2onnx only logs what it could not convert
        onnx.checker.check_model(proto)
    except onnx.checker.ValidationError as error:
        raise RuntimeError(
            f"A model of type {type(model).__name__} cannot be exported to ONNX: {error}"
        ) from error
    for value in (*proto.graph.input, *proto.graph.output):
        for dimension, name in zip(value.type.tensor_type.shape.dim, ("batch", "n"), strict=True):
            if not dimension.HasField("dim_value"):
                dimension.dim_param = name
    items = json.dumps(vocabulary.items.tolist(), ensure_ascii=False)
    onnx.helper.set_model_props(proto, {"vocabulary": items, "max_length": str(max_length)})
    return proto


def _erfc(graph, node, name, args):
    """Erfc, which the exact GELU uses and ONNX lacks, as 1 - Erf."""
    import tf2onnx

    [x], [y] = node.input, node.output
    like = {"shapes": [graph.get_shape(y)], "dtypes": [graph.get_dtype(y)]}
    one = graph.make_const(tf2onnx.utils.make_name("one"), np.array(1, "float32")).output[0]
    graph.remove_node(node.name)
    erf = graph.make_node("Erf", [x], **like).output[0]
    return graph.make_node("Sub", [one, erf], outputs=[y], name=name, **like)
