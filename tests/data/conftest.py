from pathlib import Path

import keras
import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real logs beside the repository, where there is one."""
    repository = Path(__file__).resolve().parents[2]
    folder = repository.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the real logs are not at hand: no folder {folder}")
    return folder


def pytest_collection_modifyitems(items):
    if keras.config.backend() != "tensorflow":
        reason = "data do not depend on the Keras backend: tested with TensorFlow alone"
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=reason))
