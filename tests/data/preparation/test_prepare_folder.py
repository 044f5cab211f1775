"""The folder is there whole or not at all, and is written once."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from prepare_log import log, manifest_of, once, prepare_log, random_log, rows_of, shards_of

from keras_negrec.data import load_prepared, prepare, register_event_column
from keras_negrec.data.event_columns import EVENT_COLUMNS
from keras_negrec.data.preparation import partial_folder as module
from keras_negrec.data.preparation.partial_folder import partial_folder

pytestmark = once

PLAYS = log(("s", "a+ b- c+ d+"), ("t", "a+ b+ c+"))


def inodes(folder):
    return {path: path.stat().st_ino for path in folder.rglob("*")}


# --- a second run ---


def test_a_second_run_does_nothing_and_says_so(tmp_path, capsys):
    first = prepare_log(PLAYS, tmp_path / "out", verbose=True)
    before = inodes(tmp_path)
    assert prepare_log(PLAYS.copy(), tmp_path / "out", verbose=True) == first
    assert inodes(tmp_path) == before
    assert capsys.readouterr().out.splitlines()[-1] == (
        "out: already prepared from these sources with these parameters"
    )


def test_true_and_its_name_in_json_are_one_parameter(tmp_path, capsys):
    plays = pd.DataFrame({"who": ["ann"] * 4, "what": [1, 2, 3, 4], "zapped": [False, True] * 2})
    for values in ({True: -1, False: 1}, {"true": -1, "false": 1}):
        options = {"session": "who", "item": "what"}
        options["feedback"] = {"column": "zapped", "values": values}
        prepare(plays, tmp_path / "out", format_options=options, split=None)
    assert "already prepared" in capsys.readouterr().out.splitlines()[-1]


def test_other_parameters_are_refused(tmp_path):
    prepare_log(PLAYS, tmp_path / "out")
    before = inodes(tmp_path)
    with pytest.raises(FileExistsError, match=r"other min_item_count, seed.*'seed': 3.*'seed': 0"):
        prepare_log(PLAYS, tmp_path / "out", min_item_count=2, seed=3)
    assert inodes(tmp_path) == before


def test_other_data_is_refused(tmp_path):
    prepare_log(PLAYS, tmp_path / "out")
    with pytest.raises(FileExistsError, match="prepared with other sources"):
        prepare_log(PLAYS.assign(feedback=1), tmp_path / "out")


def test_other_parameters_overwrite_where_asked(tmp_path):
    prepare_log(random_log(1), tmp_path / "out", num_shards=7)
    prepare_log(PLAYS, tmp_path / "out", overwrite=True)
    assert [row["key"] for row in rows_of(tmp_path / "out")] == ["s", "t"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert len(list((tmp_path / "out/shards").iterdir())) == 2


def test_a_failed_overwrite_leaves_the_folder_as_it_was(tmp_path):
    prepare_log(PLAYS, tmp_path / "out")
    before = inodes(tmp_path)
    with pytest.raises(ValueError, match="Nothing remains"):
        prepare_log(PLAYS, tmp_path / "out", min_session_length=9, overwrite=True)
    assert inodes(tmp_path) == before


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_other_things_is_left_alone(tmp_path, overwrite):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match=r"holds something without a manifest.*out$"):
        prepare_log(PLAYS, tmp_path / "out", overwrite=overwrite)
    assert (tmp_path / "out/thesis.txt").read_text() == "years of work"


def test_other_columns_of_events_are_other_parameters(tmp_path):
    prepare_log(PLAYS, tmp_path / "out")
    register_event_column("device")
    try:
        with pytest.raises(FileExistsError, match="prepared with other event_columns"):
            prepare_log(PLAYS, tmp_path / "out")
    finally:
        del EVENT_COLUMNS["device"]


def test_the_vocabulary_is_known_by_one_hash(tmp_path):
    frame = PLAYS.assign(item=["Björk", "\u2028", "c", "d", "e", "f", "😀"])
    prepare_log(frame, tmp_path / "out")
    assert len(load_prepared(tmp_path / "out").vocabulary) == 7
    path = tmp_path / "out/vocabulary.json"
    path.write_bytes(path.read_bytes().replace(b'"c"', b'"k"'))
    with pytest.raises(ValueError, match="not the vocabulary that the shards were written with"):
        load_prepared(tmp_path / "out")


def test_an_empty_folder_is_taken_and_parents_are_made(tmp_path):
    (tmp_path / "out").mkdir()
    for folder in (tmp_path / "out", tmp_path / "a/b/out"):
        prepare_log(PLAYS, folder)
        assert len(rows_of(folder)) == 2


def test_a_missing_source(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such file or folder.*nowhere.csv"):
        prepare(tmp_path / "nowhere.csv", tmp_path / "out")


# --- arguments ---


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"errors": "ignore"}, "`errors` must be one of 'raise', 'skip'"),
        ({"duplicates": True}, "`duplicates` must be one of"),
        ({"group_by": "users"}, "`group_by` must be one of"),
        ({"split": "random"}, "`split` must be one of"),
        ({"require_feedback": "skip"}, "`require_feedback` must be one of"),
        ({"long_rows": "oldest"}, "`long_rows` must be one of"),
        ({"min_item_count": 0}, "`min_item_count` must be a positive integer"),
        ({"k_core": 0}, "`k_core` must be a positive integer"),
        ({"max_length": 0}, "`max_length` must be a positive integer"),
        ({"num_shards": 0}, "`num_shards` must be a positive integer"),
        ({"session_gap": 0}, "`session_gap` must be above 0"),
        ({"test_share": 1}, "`test_share` must be at least 0 and below 1"),
        ({"test_share": 0.5, "validation_share": 0.5}, "leave something to train on"),
        ({"test_from": 5}, 'for split="time", and go together'),
        ({"split": "time", "test_from": 5}, "go together"),
        ({"split": "time", "validation_from": 6, "test_from": 5}, "must not be after `test_from`"),
        ({"engine": "pandas"}, "`engine` must be"),
        ({"format": "excel"}, "`format` must be one of 'frame'.* Received: format='excel'"),
        ({"group_by": "user"}, 'group_by="user" needs a log with a column `user`'),
        ({"session_gap": 5}, "`session_gap` needs a log with a column `timestamp`"),
    ],
)
def test_wrong_arguments(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        prepare_log(PLAYS, tmp_path / "out", **settings)
    assert list(tmp_path.iterdir()) == []


# --- interruptions ---


def test_leftovers_of_dead_runs_are_removed_and_those_of_live_ones_stay(tmp_path):
    dead = tmp_path / ".out.partial-dead"
    dead.mkdir()
    (dead / "shards").mkdir()
    with partial_folder(tmp_path / "out") as alive:
        assert not dead.exists()
        prepare_log(PLAYS, tmp_path / "out")
        assert alive.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_that_another_run_takes_for_a_dead_ones_is_made_again(tmp_path, monkeypatch):
    """The other run looks right after the folder was made, and before it is locked."""
    make, made = module.tempfile.mkdtemp, []

    def make_and_lose(**settings):
        made.append(make(**settings))
        if len(made) == 1:
            with partial_folder(tmp_path / "out"):  # another run, which cleans up
                assert not os.path.exists(made[0])
        return made[-1]

    monkeypatch.setattr(module.tempfile, "mkdtemp", make_and_lose)
    prepare_log(PLAYS, tmp_path / "out")
    assert len(made) == 3  # the lost one, the other run's, and the one after
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def assert_whole(folder):
    manifest = manifest_of(folder)
    shards = shards_of(folder)
    assert [len(shard) for shard in shards] == [shard["rows"] for shard in manifest["shards"]]
    assert sum(map(len, shards)) == manifest["counts"]["kept"]["rows"] == 2000
    for shard in manifest["shards"]:
        assert (folder / shard["file"]).stat().st_size == shard["bytes"]


@pytest.mark.thorough
def test_killed_at_any_moment(tmp_path):
    """A folder under the name is whole, whenever the process that writes it dies."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "out"
    for _ in range(20):
        process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("interrupted_prepare.py"), tmp_path],
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"0\n"  # its imports are done
        time.sleep(rng.uniform(0, 1.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        others = [path.name for path in tmp_path.iterdir() if path != folder]
        assert all(name.startswith(".out.partial-") for name in others)
        if folder.exists():
            assert_whole(folder)
    # The next run cleans up and completes.
    prepare_log(random_log(1, num_sessions=2000), folder, seed=-1, overwrite=True)
    assert_whole(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
