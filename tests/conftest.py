"""Which tests run where.

- By default, with Keras on TensorFlow: all but those marked `thorough`.
- With `KERAS_BACKEND=jax` or `torch`: of these, those in `ON_EVERY_BACKEND`.
- With `KERAS_NEGREC_THOROUGH=1`: those marked `@pytest.mark.thorough` too, which take long: writers
  that are killed often, fresh installs, Spark, several devices, long trainings. And 210 generated
  logs in place of 8 go through all doors of their format, which CI does too.
"""

import os
from pathlib import Path

# Compilation is most of what these tests take on JAX. Processes that they start inherit it.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

import keras  # first: it picks the backend, and PyTorch must load before TensorFlow
import pytest
from hypothesis import settings
from thorough import THOROUGH

# What computes on the backend. All else is data, text and files, or written for TensorFlow.
ON_EVERY_BACKEND = (
    "backend",
    "callbacks",
    "layers",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "evaluation/test_evaluate.py",
    "evaluation/test_rank_targets.py",
    "serving/test_export.py",
    "serving/test_export_onnx.py",
    "serving/test_recommend.py",
    "test_guides.py",
)

if keras.config.backend() == "torch":
    import torch

    torch.set_num_threads(1)  # the models are tiny, and threads wait for each other

settings.register_profile("keras_negrec", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("keras_negrec")


def pytest_ignore_collect(collection_path):
    """Leaves out, on other backends than TensorFlow, what does not depend on the backend."""
    if keras.config.backend() == "tensorflow" or collection_path.suffix != ".py":
        return None
    path = collection_path.relative_to(Path(__file__).parent)
    places = {path.as_posix(), *(folder.as_posix() for folder in path.parents)}
    return None if places & set(ON_EVERY_BACKEND) else True


def pytest_collection_modifyitems(items):
    if not THOROUGH:
        skip = pytest.mark.skip(reason="takes long: only with KERAS_NEGREC_THOROUGH=1")
        for item in items:
            if item.get_closest_marker("thorough"):
                item.add_marker(skip)


@pytest.fixture(autouse=True)
def seed():
    keras.utils.set_random_seed(0)
