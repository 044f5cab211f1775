import keras
import pytest
from small_model import Client, K, build

import keras_negrec


@pytest.fixture(scope="session")
def model():
    keras.utils.set_random_seed(0)
    return build("sasrec", feedback_inputs=True, negative_loss=True)


@pytest.fixture(scope="session")
def version(model, tmp_path_factory):
    return keras_negrec.export(model, tmp_path_factory.mktemp("exports") / "radio", k=K)


@pytest.fixture(scope="session")
def call(version):
    return Client(version)
