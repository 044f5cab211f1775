"""What importing the package does, and what it leaves alone."""

import os
import subprocess
import sys

import pytest

import keras_negrec

HEAVY = {"duckdb", "ibis", "pyspark", "tensorflow_serving", "scipy", "matplotlib", "rich"}
ALLOCATOR = "TF_CPU_ALLOCATOR_USE_BFC"


def run(code, **variables):
    """What another process prints and warns of."""
    environment = {name: value for name, value in os.environ.items() if name != ALLOCATOR}
    environment |= {"KERAS_BACKEND": "tensorflow", "TF_ENABLE_ONEDNN_OPTS": "0", **variables}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    return result.returncode, result.stdout, result.stderr


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    model = keras_negrec.build_model("sasrec", num_items=9, embedding_dim=8, negative_loss="keep")
    model.save(path)
    return str(path)


def test_little_more_than_keras_is_loaded(saved):
    code = f"""
import sys, keras
before = set(sys.modules)
import keras_negrec as kn
dir(kn), dir(kn.data), kn.evaluate, kn.export
print(*{{name.split(".")[0] for name in set(sys.modules) - before}})
keras.saving.load_model({saved!r})
"""
    failed, loaded, errors = run(code)
    assert not failed, errors[-2000:]
    assert "keras_negrec" in loaded.split()
    assert not HEAVY & set(loaded.split())


def test_no_device_is_touched_and_memory_is_kept(saved):
    """A tensor made at import would let TensorFlow claim the memory of a GPU that JAX needs."""
    code = f"""
import keras_negrec, keras
from tensorflow.python.eager import context
assert not context.context()._initialized, "TensorFlow has taken hold of the devices"
import tensorflow as tf
tensor = tf.ones((1000, 1000))
print(tf.config.experimental.get_memory_info("CPU:0")["peak"])
keras.saving.load_model({saved!r})
"""
    failed, peak, errors = run(code)
    assert not failed, errors[-2000:]
    assert int(peak) >= 4_000_000  # only an allocator that keeps memory counts it
    failed, _, errors = run(code, **{ALLOCATOR: "false"})
    assert failed and "Allocator stats not available" in errors
