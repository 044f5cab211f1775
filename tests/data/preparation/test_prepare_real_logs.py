"""What `prepare` makes of a log as it was published."""

import pytest
from prepare_log import in_memory, once

from keras_negrec.data import leave_one_out, load_prepared, prepare, read_kuairand

pytestmark = once


def test_kuairand(tmp_path, shared_data):
    path = shared_data / "kuairand_pure_labelled.parquet"
    manifest = prepare(path, tmp_path / "out", format="kuairand", verbose=False)
    kept = {"events": 1_039_631, "sessions": 27_077, "rows": 27_077, "items": 7_502}
    assert manifest["counts"]["kept"] == kept
    assert manifest["counts"]["dropped"] == []
    assert manifest["negative_share"] == pytest.approx(0.6505, abs=5e-5)
    vocabulary, sessions = in_memory(read_kuairand(path))
    expected = leave_one_out(sessions)
    prepared = load_prepared(tmp_path / "out")
    split = prepared.split()
    assert prepared.vocabulary == vocabulary
    assert split.train.fingerprint() == expected.train.fingerprint()
    for part in ("validation", "test"):
        assert getattr(split, part).fingerprint() == getattr(expected, part).fingerprint()
