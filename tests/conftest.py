import os

# Compilation is most of what these tests take on JAX. Processes that they start inherit it.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

import keras  # first: it picks the backend, and PyTorch must load before TensorFlow
import pytest
from hypothesis import settings

if keras.config.backend() == "torch":
    import torch

    torch.set_num_threads(1)  # the models are tiny, and threads wait for each other

settings.register_profile("keras_negrec", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("keras_negrec")


@pytest.fixture(autouse=True)
def seed():
    keras.utils.set_random_seed(0)
