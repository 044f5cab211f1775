"""What `prepare` makes of logs as they were published."""

import os

import pytest
from prepare_log import once

from keras_negrec.data import (
    Sessions,
    Vocabulary,
    leave_one_out,
    load_prepared,
    prepare,
    read_kuairand,
)

pytestmark = once


@pytest.fixture
def movielens_1m():
    path = os.environ.get("KERAS_NEGREC_ML1M")
    if not path:
        pytest.skip("KERAS_NEGREC_ML1M does not name the file ml-1m.inter")
    return path


def test_kuairand(tmp_path, shared_data):
    path = shared_data / "kuairand_pure_labelled.parquet"
    manifest = prepare(path, tmp_path / "out", format="kuairand", verbose=False)
    assert manifest["counts"]["kept"] == {
        "events": 1_039_631,
        "sessions": 27_077,
        "rows": 27_077,
        "items": 7_502,
    }
    assert manifest["counts"]["dropped"] == []
    assert manifest["negative_share"] == pytest.approx(0.6505, abs=5e-5)
    events = read_kuairand(path)
    vocabulary = Vocabulary.from_items(events["item"])
    expected = leave_one_out(Sessions.from_events(events, vocabulary))
    prepared = load_prepared(tmp_path / "out")
    split = prepared.split()
    assert prepared.vocabulary == vocabulary
    assert split.train.fingerprint() == expected.train.fingerprint()
    for part in ("validation", "test"):
        assert getattr(split, part).fingerprint() == getattr(expected, part).fingerprint()


def test_movielens_1m(tmp_path, movielens_1m):
    manifest = prepare(movielens_1m, tmp_path / "out", format="movielens", verbose=False)
    assert manifest["counts"]["kept"] == {
        "events": 1_000_209,
        "sessions": 6_040,
        "rows": 6_040,
        "items": 3_706,
    }
    assert manifest["counts"]["dropped"] == []
    assert manifest["negative_share"] == pytest.approx(0.4248, abs=5e-5)
