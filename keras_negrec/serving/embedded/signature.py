"""What a function of a SavedModel takes and gives, and tensors in protocol buffers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from keras_negrec.serving.embedded.serving_error import ServingError, invalid

_PREDICT = {f"tensorflow/serving/{method}" for method in ("predict", "classify", "regress")}
_FIELDS = {
    np.float32: "float_val",
    np.float64: "double_val",
    np.int32: "int_val",
    np.int64: "int64_val",
    np.bool_: "bool_val",
    np.object_: "string_val",
}


class Input(NamedTuple):
    """Dtype (object for strings) and shape (None where any size goes) of an input."""

    dtype: np.dtype
    shape: tuple[int | None, ...] | None

    def takes(self, array: np.ndarray) -> bool:
        return array.dtype == self.dtype and (
            self.shape is None
            or (
                len(self.shape) == array.ndim
                and all(size in (None, n) for size, n in zip(self.shape, array.shape, strict=True))
            )
        )


class Signature:
    """A signature of a loaded model.

    Args:
        name: its name.
        definition: `SignatureDef`.
    """

    def __init__(self, name: str, definition):
        self.name = name
        # A copy, since a part of the graph's protocol buffer keeps all of it in memory.
        self.definition = meta_graph_pb2.SignatureDef.FromString(definition.SerializeToString())
        self.outputs = sorted(definition.outputs)
        self.inputs: dict[str, Input] = {}
        for key in sorted(definition.inputs):
            info = definition.inputs[key]
            shape = tf.TensorShape(info.tensor_shape)
            self.inputs[key] = Input(
                np.dtype(tf.as_dtype(info.dtype).as_numpy_dtype),
                None if shape.rank is None else tuple(shape.as_list()),
            )
        self.defaults = {
            key: tf.make_ndarray(tensor) for key, tensor in definition.defaults.items()
        }

    def checked(self, given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """All inputs, with defaults for those left out; refuses what cannot be fed."""
        if self.definition.method_name not in _PREDICT:
            raise ServingError(
                "INTERNAL",
                "Expected prediction signature method_name to be one of "
                f"{{{', '.join(sorted(_PREDICT))}}}. Was: {self.definition.method_name}",
            )
        inputs = {**self.defaults, **given}
        if inputs.keys() != self.inputs.keys():
            raise invalid(
                f"input size does not match signature: Sent extra: "
                f"{_names(inputs.keys() - self.inputs.keys())}. Missing but required: "
                f"{_names(self.inputs.keys() - inputs.keys())}."
            )
        for name, info in self.inputs.items():
            if not info.takes(inputs[name]):
                shape = (
                    "any" if info.shape is None else [-1 if n is None else n for n in info.shape]
                )
                raise invalid(
                    f"Input {name} must be {_type_name(info.dtype)} of shape {shape}. Received: "
                    f"{_type_name(inputs[name].dtype)} of shape {[*inputs[name].shape]}"
                )
        return inputs

    def filtered(self, outputs: dict[str, np.ndarray], names: Iterable[str]):
        """The outputs of these names; all where there are none."""
        names = list(names)
        for i, name in enumerate(names):
            if name not in outputs:
                raise invalid(
                    f"output tensor alias not found in signature: {name} Outputs expected to be "
                    f"in the set {_names(self.outputs)}."
                )
            if name in names[:i]:
                raise invalid(f"duplicate output tensor alias: {name}")
        return {name: outputs[name] for name in names} if names else outputs


def _names(names: Iterable[str]) -> str:
    return f"{{{','.join(sorted(names))}}}"


def _type_name(dtype: np.dtype) -> str:
    return "string" if dtype.kind == "O" else dtype.name


def read_tensor(name: str, tensor: tensor_pb2.TensorProto, most: int) -> np.ndarray:
    """The array of a tensor with at most `most` elements; a shape may claim more than is sent."""
    sizes = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.tensor_shape.unknown_rank or min(sizes, default=0) < 0 or math.prod(sizes) > most:
        raise invalid(f"tensor parsing error: {name}")
    try:
        return tf.make_ndarray(tensor)
    except (TypeError, ValueError, KeyError):
        raise invalid(f"tensor parsing error: {name}") from None


def write_tensor(array: np.ndarray) -> tensor_pb2.TensorProto:
    """The tensor with its values in the field of their type, where clients look for them."""
    field = _FIELDS.get(array.dtype.type)
    if field is None:
        return tf.make_tensor_proto(array)
    tensor = tensor_pb2.TensorProto(dtype=tf.as_dtype(array.dtype).as_datatype_enum)
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    getattr(tensor, field).extend(array.ravel().tolist())
    return tensor
