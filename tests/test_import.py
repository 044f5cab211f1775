"""What importing the package does, and what it leaves alone."""

import subprocess
import sys

CODE = """
import keras_negrec
from tensorflow.python.eager import context
assert not context.context()._initialized, "TensorFlow has taken hold of the devices"
"""


def test_no_device_is_touched():
    """A tensor made at import would let TensorFlow claim the memory of a GPU that JAX needs."""
    result = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
