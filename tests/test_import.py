"""What importing the package does, and what it leaves alone."""

import os
import subprocess
import sys

import pytest

CODE = """
import keras_negrec
from tensorflow.python.eager import context
assert not context.context()._initialized, "TensorFlow has taken hold of the devices"
"""


def test_no_device_is_touched():
    """A tensor made at import would let TensorFlow claim the memory of a GPU that JAX needs."""
    result = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]


@pytest.mark.parametrize(("chosen", "kept"), [(None, True), ("false", False)])
def test_tensorflow_keeps_the_memory_of_tensors(chosen, kept):
    """Unless the user says otherwise; only an allocator that keeps memory counts it."""
    code = """
import keras_negrec
import tensorflow as tf
tensor = tf.ones((1000, 1000))
print(tf.config.experimental.get_memory_info("CPU:0")["peak"])
"""
    name = "TF_CPU_ALLOCATOR_USE_BFC"
    environment = {key: value for key, value in os.environ.items() if key != name}
    environment |= {} if chosen is None else {name: chosen}
    environment["TF_ENABLE_ONEDNN_OPTS"] = "0"  # with these, TensorFlow has another allocator
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    if kept:
        assert int(result.stdout) >= 4_000_000, result.stderr[-2000:]
    else:
        assert "Allocator stats not available" in result.stderr
