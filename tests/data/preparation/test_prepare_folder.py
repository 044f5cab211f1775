"""The folder is there whole or not at all, and is written once."""

import itertools
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from prepare_log import log, prepare_log, random_log, rows_of

from keras_negrec import atomic_write as module
from keras_negrec.atomic_write import partial_folder
from keras_negrec.data import load_prepared, prepare, register_event_column
from keras_negrec.data.event_columns import EVENT_COLUMNS

PLAYS = log(("s", "a+ b- c+ d+"), ("t", "a+ b+ c+"))


def inodes(folder):
    return {path: path.stat().st_ino for path in folder.rglob("*")}


def test_a_second_run_does_nothing_and_says_so(tmp_path, capsys):
    first = prepare_log(PLAYS, tmp_path / "out", verbose=True)
    before = inodes(tmp_path)
    assert prepare_log(PLAYS.copy(), tmp_path / "out", verbose=True) == first
    assert inodes(tmp_path) == before
    message = "out: already prepared from these sources with these parameters"
    assert capsys.readouterr().out.splitlines()[-1] == message


def test_another_run_is_refused_and_overwrites_where_asked(tmp_path):
    prepare_log(PLAYS, tmp_path / "out", num_shards=7)
    before = inodes(tmp_path)
    with pytest.raises(FileExistsError, match=r"other seed, num_shards.*'seed': 3.*'seed': 0"):
        prepare_log(PLAYS, tmp_path / "out", seed=3)
    with pytest.raises(FileExistsError, match="prepared with other sources"):
        prepare_log(PLAYS.assign(feedback=1), tmp_path / "out", num_shards=7)
    register_event_column("device")
    try:
        with pytest.raises(FileExistsError, match="prepared with other event_columns"):
            prepare_log(PLAYS, tmp_path / "out", num_shards=7)
    finally:
        del EVENT_COLUMNS["device"]
    with pytest.raises(ValueError, match=r"Nothing remains of 7 events.*7 events dropped: s"):
        prepare_log(PLAYS, tmp_path / "out", min_session_length=9, overwrite=True)
    assert inodes(tmp_path) == before
    prepare_log(random_log(1), tmp_path / "out", overwrite=True)
    assert len(rows_of(tmp_path / "out")) == 60
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert len(list((tmp_path / "out/shards").iterdir())) == 2


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_other_things_is_left_alone(tmp_path, overwrite):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match=r"holds something without a manifest.*out$"):
        prepare_log(PLAYS, tmp_path / "out", overwrite=overwrite)
    assert (tmp_path / "out/thesis.txt").read_text() == "years of work"


def test_the_vocabulary_may_hold_any_text(tmp_path):
    items = ["Björk", "\u2028", "c", "d", "e", "f", "😀"]
    prepare_log(PLAYS.assign(item=items), tmp_path / "out")
    assert set(load_prepared(tmp_path / "out").vocabulary.items) == set(items)


def test_an_empty_folder_is_taken_and_parents_are_made(tmp_path):
    (tmp_path / "out").mkdir()
    for folder in (tmp_path / "out", tmp_path / "a/b/out"):
        prepare_log(PLAYS, folder)
        assert len(rows_of(folder)) == 2


def test_a_missing_source(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such file or folder.*nowhere.csv"):
        prepare(tmp_path / "nowhere.csv", tmp_path / "out")


def test_leftovers_of_dead_runs_are_removed_and_those_of_live_ones_stay(tmp_path):
    dead = tmp_path / ".out.partial-dead"
    (dead / "shards").mkdir(parents=True)
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


def prepare_without_end(folder):
    """What the killed processes do."""
    frame = random_log(1, num_sessions=2000)
    for seed in itertools.count():
        print(seed, flush=True)
        prepare_log(frame, folder, seed=seed, overwrite=True)


@pytest.mark.thorough
def test_killed_at_any_moment(tmp_path):
    """A folder under the name is whole, whenever the process that writes it dies."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "out"
    code = "import pathlib, sys, test_prepare_folder as t; "
    code += "t.prepare_without_end(pathlib.Path(sys.argv[1]))"
    command = [sys.executable, "-c", code, folder]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    for _ in range(20):
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"0\n"  # its imports are done
            time.sleep(rng.uniform(0, 1.5))
            process.send_signal(signal.SIGKILL)
        others = [path.name for path in tmp_path.iterdir() if path != folder]
        assert all(name.startswith(".out.partial-") for name in others)
        if folder.exists():  # it is whole, which `load_prepared` checks
            assert load_prepared(folder).manifest["counts"]["kept"]["rows"] == 2000
    # The next run cleans up and completes.
    prepare_log(random_log(1, num_sessions=2000), folder, seed=-1, overwrite=True)
    assert len(rows_of(folder)) == 2000
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
