"""Requests that TF Serving answers for itself before it lets a model be asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_negrec.atomic_write import atomic_write


def write_warmup_requests(
    version_folder: str | Path, requests: Sequence[tuple[str, Mapping]]
) -> Path:
    """Writes the requests that TF Serving runs when it loads an exported model.

    Otherwise the first listeners after a new version would wait until TensorFlow has set itself
    up. A request that fails keeps the server from loading the model: what can be checked against
    the model's signatures is checked here, values are not.

    Args:
        version_folder: what `export` returned. The file there is replaced as a whole.
        requests: 1 to 1000 pairs `(signature name, {input name: array})`. Arrays have the
            shapes and types of the signature; integers of any width that fit are taken.
            Inputs with a default may be left out.

    Raises:
        ValueError: a folder without an exported model; no requests or more than 1000; a
            request that its signature does not take.

    Example:

    >>> vocabulary = keras_negrec.data.Vocabulary(["intro", "verse", "outro"])
    >>> model = keras_negrec.build_model("sasrec", vocabulary=vocabulary)
    >>> version = keras_negrec.export(model, "saved_models/example")
    >>> requests = [("serving_default", {"item_ids": [["intro", "verse"]], "feedback": [[1, -1]]})]
    >>> keras_negrec.serving.write_warmup_requests(version, requests).name
    'tf_serving_warmup_requests'

    Reference:
        [SavedModel warmup](https://www.tensorflow.org/tfx/serving/saved_model_warmup)
    """
    from tensorflow.core.protobuf import saved_model_pb2
    from tensorflow_serving.apis import prediction_log_pb2

    version_folder = Path(version_folder)
    saved_model = version_folder / "saved_model.pb"
    if not saved_model.is_file():
        raise ValueError(
            "`version_folder` must be the folder of an exported version. There is no "
            f"saved_model.pb in it. Received: {str(version_folder)!r}"
        )
    if not 1 <= len(requests) <= 1000:  # TF Serving refuses to load a model that has more
        raise ValueError(f"`requests` must hold 1 to 1000 requests. Received: {len(requests)}")
    saved = saved_model_pb2.SavedModel.FromString(saved_model.read_bytes())
    signatures = dict(saved.meta_graphs[0].signature_def)
    signatures.pop("__saved_model_init_op", None)  # sets tables up; nothing to ask
    records = []
    for i, (name, inputs) in enumerate(requests):
        if name not in signatures:
            raise ValueError(
                f"Request {i} is for a signature that the model does not have; it has "
                f"{', '.join(sorted(signatures))}. Received: {name!r}"
            )
        known, optional = set(signatures[name].inputs), set(signatures[name].defaults)
        if not known - optional <= set(inputs) <= known:
            raise ValueError(
                f"Request {i} must have the inputs of {name!r}: {', '.join(sorted(known))} (may be "
                f"left out: {', '.join(sorted(optional)) or 'none'}). Received: "
                f"{', '.join(sorted(inputs)) or 'none'}"
            )
        log = prediction_log_pb2.PredictionLog()
        request = log.predict_log.request
        request.model_spec.name = version_folder.absolute().parent.name
        request.model_spec.signature_name = name
        for key, value in inputs.items():
            tensor = _tensor(f"Input {key!r} of request {i}", value, signatures[name].inputs[key])
            request.inputs[key].CopyFrom(tensor)
        records.append(log.SerializeToString())

    path = version_folder / "assets.extra" / "tf_serving_warmup_requests"
    path.parent.mkdir(exist_ok=True)
    with atomic_write(path) as partial, tf.io.TFRecordWriter(str(partial)) as writer:
        for record in records:
            writer.write(record)
    return path


def _tensor(what: str, value, info):
    """The value as a tensor protocol buffer of the signature's type."""
    array, dtype = np.asarray(value), tf.as_dtype(info.dtype)
    shape = tf.TensorShape(info.tensor_shape)
    if not shape.is_compatible_with(array.shape):
        raise ValueError(f"{what} must have the shape {shape}. Received: {array.shape}")
    if dtype == tf.string:
        fits = array.dtype.kind in "US" or all(isinstance(v, (str, bytes)) for v in array.flat)
    elif dtype.is_integer:
        fits = array.dtype.kind in "iu" and np.array_equal(array, array.astype(dtype.name))
    else:
        fits = array.dtype.kind in "iuf"
    if not fits and array.size:
        raise ValueError(
            f"{what} must hold values of type {dtype.name}. Received: {array.dtype.name} "
            f"{np.array2string(array, threshold=10)}"
        )
    return tf.make_tensor_proto(array, dtype, array.shape)
