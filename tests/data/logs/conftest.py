import ibis
import pytest


@pytest.fixture
def connection():
    return ibis.duckdb.connect()
