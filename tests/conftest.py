import keras  # first: it picks the backend, and PyTorch must load before TensorFlow
import pytest
from hypothesis import settings

settings.register_profile("keras_negrec", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("keras_negrec")


@pytest.fixture(autouse=True)
def seed():
    keras.utils.set_random_seed(0)
