"""Requests that TF Serving answers for itself before it lets a model be asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from keras_negrec.atomic_write import atomic_write

MAX_REQUESTS = 1000  # TF Serving refuses to load a model that has more


def write_warmup_requests(
    version_folder: str | Path,
    requests: Sequence[tuple[str, Mapping]],
    *,
    model_name: str | None = None,
) -> Path:
    """Writes the requests that TF Serving runs when it loads an exported model.

    TensorFlow sets much of itself up at the first call of a signature with a shape it has not
    seen, so that the first listeners after a new version would wait. TF Serving runs the
    requests in `assets.extra/tf_serving_warmup_requests` while the version before still
    answers. A request that fails keeps the server from loading the model: what can be checked
    against the model's signatures is checked here, values are not.

    Args:
        version_folder: folder of an exported version, such as what `export` returns. The file
            there is replaced as a whole.
        requests: 1 to 1000 pairs `(signature name, {input name: array})`. Arrays have the
            shapes and types of the signature; integers of any width that fit are taken.
            Inputs with a default may be left out.
        model_name: name of the model in the requests. Default: the name of the folder that
            the version lies in, which is what `write_server_config` calls the model.

    Returns:
        Path of the file.

    Raises:
        ValueError: a folder without an exported model; no requests or more than 1000; a
            request that its signature does not take.

    Example:

    >>> vocabulary = keras_negrec.data.Vocabulary(["intro", "verse", "outro"])
    >>> model = keras_negrec.build_model("sasrec", vocabulary=vocabulary)
    >>> version = keras_negrec.export(model, "saved_models/example")
    >>> request = {"item_ids": np.array([["intro", "verse"]]), "feedback": np.array([[1, -1]])}
    >>> file = keras_negrec.serving.write_warmup_requests(
    ...     version, [("serving_default", request)]
    ... )
    >>> file.name
    'tf_serving_warmup_requests'

    Reference:
        [SavedModel warmup](https://www.tensorflow.org/tfx/serving/saved_model_warmup)
    """
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    version_folder = Path(version_folder)
    signatures = _signatures(version_folder)
    if not 1 <= len(requests) <= MAX_REQUESTS:
        raise ValueError(
            f"`requests` must hold 1 to {MAX_REQUESTS} requests. Received: {len(requests)}"
        )
    model_name = model_name or version_folder.absolute().parent.name
    records = []
    for i, (signature_name, inputs) in enumerate(requests):
        log = prediction_log_pb2.PredictionLog()
        request = log.predict_log.request
        request.model_spec.name = model_name
        request.model_spec.signature_name = signature_name
        for name, tensor in _tensors(i, signature_name, inputs, signatures).items():
            request.inputs[name].CopyFrom(tensor)
        records.append(log.SerializeToString())

    path = version_folder / "assets.extra" / "tf_serving_warmup_requests"
    path.parent.mkdir(exist_ok=True)
    with atomic_write(path) as partial, tf.io.TFRecordWriter(str(partial)) as writer:
        for record in records:
            writer.write(record)
    return path


def _signatures(version_folder: Path) -> Mapping:
    from tensorflow.core.protobuf import saved_model_pb2

    file = version_folder / "saved_model.pb"
    if not file.is_file():
        raise ValueError(
            "`version_folder` must be the folder of an exported version. There is no "
            f"saved_model.pb in it. Received: {str(version_folder)!r}"
        )
    saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    signatures = dict(saved.meta_graphs[0].signature_def)
    signatures.pop("__saved_model_init_op", None)  # sets tables up; nothing to ask
    return signatures


def _tensors(i: int, signature_name: str, inputs: Mapping, signatures: Mapping) -> dict:
    """The inputs of one request by name, as tensor protocol buffers."""
    if signature_name not in signatures:
        raise ValueError(
            f"Request {i} is for a signature that the model does not have; it has "
            f"{', '.join(sorted(signatures))}. Received: {signature_name!r}"
        )
    signature = signatures[signature_name]
    needed = set(signature.inputs) - set(signature.defaults)
    if not needed <= set(inputs) <= set(signature.inputs):
        raise ValueError(
            f"Request {i} must have the inputs of {signature_name!r}: "
            f"{', '.join(sorted(signature.inputs))} (may be left out: "
            f"{', '.join(sorted(signature.defaults)) or 'none'}). Received: "
            f"{', '.join(sorted(inputs)) or 'none'}"
        )
    return {
        name: _tensor(f"Input {name!r} of request {i}", value, signature.inputs[name])
        for name, value in inputs.items()
    }


def _tensor(what: str, value, info):
    import tensorflow as tf

    array, dtype = np.asarray(value), tf.as_dtype(info.dtype)
    shape = tf.TensorShape(info.tensor_shape)
    if not shape.is_compatible_with(array.shape):
        raise ValueError(f"{what} must have the shape {shape}. Received: {array.shape}")
    if dtype == tf.string:
        fits = array.dtype.kind in "US" or all(isinstance(v, (str, bytes)) for v in array.flat)
    else:
        numbers = "iu" if dtype.is_integer else "iuf"
        fits = array.size == 0 or (
            array.dtype.kind in numbers
            and (not dtype.is_integer or dtype.min <= array.min() <= array.max() <= dtype.max)
        )
    if not fits:
        raise ValueError(
            f"{what} must hold values of type {dtype.name}. Received: {array.dtype.name} "
            f"{np.array2string(array, threshold=10)}"
        )
    return tf.make_tensor_proto(array, dtype, array.shape)
