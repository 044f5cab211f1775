"""Custom gradients on TensorFlow that go with their graph, as those of models in a loop must.

Each time a function with a custom gradient is traced, `tf.custom_gradient` registers the gradient
under a new name for as long as the process lives, and with it the whole graph: 14 MiB for each
SASRec that is trained. There is no public way to take it back.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable

import tensorflow as tf
from tensorflow.python.framework.ops import gradient_registry

_NAME = "_gradient_op_type"  # the attribute of an operation that has one


def custom_gradient(function: Callable) -> Callable:
    """As `tf.custom_gradient`, of functions of tensors to one tensor.

    The graph holds the gradient, and the registry knows it as long as the graph is there.
    """
    decorated = tf.custom_gradient(function)

    @functools.wraps(function)
    def call(*tensors):
        result = decorated(*tensors)
        if not tf.executing_eagerly():
            name = result.op.get_attr(_NAME).decode()
            entries = gradient_registry._registry
            gradient = entries[name]["type"]
            entries[name]["type"] = weakref.proxy(gradient)
            weakref.finalize(gradient, entries.pop, name, None)
            setattr(tf.compat.v1.get_default_graph(), name, gradient)  # the graph that is traced
        return result

    return call


def forget_custom_gradients() -> None:
    """Takes those of the graph that is traced out of the registry.

    For the end of a training step, whose own gradient nobody asks for: Keras's optimizers register
    one, too, when they sum what the devices found.
    """
    if tf.executing_eagerly():
        return
    for operation in tf.compat.v1.get_default_graph().get_operations():
        if operation.type == "IdentityN" and _NAME in operation.node_def.attr:
            gradient_registry._registry.pop(operation.get_attr(_NAME).decode(), None)
