from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real logs beside the repository, where there is one."""
    repository = Path(__file__).resolve().parents[2]
    folder = repository.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the real logs are not at hand: no folder {folder}")
    return folder
