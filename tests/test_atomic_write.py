"""What was there stays whole when the disk is full at the moment of writing."""

import errno
import os

import numpy as np
import pandas as pd
import pytest

import keras_negrec as kn
from keras_negrec.atomic_write import atomic_write
from keras_negrec.data.preparation.folder_statistics import FolderStatistics
from keras_negrec.evaluation import ComparisonRun

SESSIONS = kn.data.Sessions.from_lists([[1, 2, 3, 1]] * 8, [[1, -1, 1, 1]] * 8)
VOCABULARIES = [kn.data.Vocabulary(list(items)) for items in ("abc", "abcd")]


def write_features(folder, number):
    items = pd.DataFrame({"item": list("abc"), "tempo": [90, 120, number]})
    encoder = kn.data.ItemFeatureEncoder.fit(items, VOCABULARIES[0], numeric=["tempo"])
    encoder.save(folder / "features.json")


def write_run(folder, number):
    ranks = {name: np.ones(4 + number) for name in ("target", "skip_target", "preference")}
    ComparisonRun("a", {}, 0, "", True, ranks).save(folder / "runs/seed-0.npz")


def write_report(folder, number):
    scorers = {"popular": kn.models.Popularity(SESSIONS, num_items=3 + number)}
    test = kn.data.leave_one_out(SESSIONS).test
    kn.compare(None, {}, test, folder=folder / "runs", scorers=scorers).report(folder / "report")


def write_figure(folder, number):
    events = kn.data.simulate_sessions(num_sessions=20 + number, num_items=9).events
    options = {name: name for name in ("session", "item", "feedback", "position")}
    prepared = folder.with_name(f"prepared-{number}")
    with pytest.MonkeyPatch.context() as patch:  # Only the figure meets a full disk.
        patch.setattr(os, "fsync", lambda descriptor: None)
        kn.data.prepare(events, prepared, format_options=options, verbose=False)
    FolderStatistics(prepared).plot(folder / "figure.svg")


def write_sample(folder, number):
    names = {"a": "A" * number}
    kn.serving.write_sample(folder, SESSIONS, VOCABULARIES[number], item_names=names)


WRITERS = {
    "vocabulary": lambda folder, number: VOCABULARIES[number].save(folder / "items.json"),
    "features": write_features,
    "run": write_run,
    "report": write_report,
    "figure": write_figure,
    "sample": write_sample,
    "server": lambda folder, number: kn.serving.write_server_config(
        folder, batching={"num_batch_threads": 1 + number}
    ),
    "simulation": lambda folder, number: kn.data.simulate_sessions(30, 9).write(folder / "log"),
}


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch, writer):
    (tmp_path / "out/a/1").mkdir(parents=True)
    (tmp_path / "out/a/1/saved_model.pb").touch()  # what a server's configuration looks for
    write = WRITERS[writer]
    if writer != "simulation":  # which never replaces a file
        write(tmp_path / "out", 0)
    before = contents(tmp_path / "out")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        write(tmp_path / "out", 1)
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize("failing", ["write", "replace"])
def test_half_a_file_is_never_there(tmp_path, monkeypatch, failing):
    path = tmp_path / "file"
    path.write_text("old")

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="No space left"), atomic_write(path) as partial:
        partial.write_text("ne")
        if failing == "write":
            fail()
    assert contents(tmp_path) == {path: b"old"}
