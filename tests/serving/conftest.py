import keras
import pytest
from small_model import INTEGERS, Client, K, build

import keras_negrec

ABOUT = {"metrics": {"hr@10": 0.123456, "coverage@10": 0.5}, "data": "Two days."}


@pytest.fixture(scope="session")
def model():
    keras.utils.set_random_seed(0)
    return build("sasrec", feedback_inputs=True, negative_loss="contrastive")


@pytest.fixture(scope="session")
def version(model, tmp_path_factory):
    """An export into a folder that holds more: a version, and what a killed export left."""
    folder = tmp_path_factory.mktemp("exports") / "radio"
    for name in ("7", "notes", ".partial-abc/variables"):
        (folder / name).mkdir(parents=True)
    return keras_negrec.export(model, folder, k=K, **ABOUT)


@pytest.fixture(scope="session")
def call(version):
    return Client(version)


@pytest.fixture(scope="session")
def integers():
    """A model of integer ids that sees sessions."""
    keras.utils.set_random_seed(0)
    return build("sasrec", INTEGERS, max_sessions=3)


@pytest.fixture(scope="session")
def integers_version(integers, tmp_path_factory):
    return keras_negrec.export(integers, tmp_path_factory.mktemp("exports") / "integers", k=K)
