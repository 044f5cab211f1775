"""The folder is there whole or not at all, and is written once."""

import errno
import fcntl
import itertools
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from prepare_log import log, prepare_log, random_log, rows_of

from keras_negrec.data import load_prepared, prepare, register_event_column
from keras_negrec.data.event_columns import EVENT_COLUMNS
from keras_negrec.partial_folder import partial_folder, put_right

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


def test_leftovers_of_dead_runs_are_removed(tmp_path):
    dead = tmp_path / ".out.partial"
    (dead / "new/shards").mkdir(parents=True)
    (dead / "lock").touch()
    prepare_log(PLAYS, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_of_two_runs_at_once_one_is_refused(tmp_path):
    """The other one is a process that starts while this one reads."""
    PLAYS.to_csv(tmp_path / "plays.csv", index=False)
    options = json.dumps({name: name for name in PLAYS.columns})
    command = [sys.executable, "-m", "keras_negrec.data", "prepare", "--format", "frame"]
    command += ["--input", tmp_path / "plays.csv", "--output", tmp_path / "out"]
    others = []

    def start_another(step, share):
        if not others:
            done = subprocess.run(
                [*command, "--format-options", options], capture_output=True, text=True
            )
            others.append((done.returncode, done.stderr))

    prepare_log(PLAYS, tmp_path / "out", progress=start_another)
    [(status, message)] = others
    assert status == 1 and "Traceback" not in message
    assert f"Another run is writing {tmp_path / 'out'}. Wait until it has ended" in message
    assert len(load_prepared(tmp_path / "out").sessions()) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"out", "plays.csv"}


def test_a_run_that_ends_right_before_the_next_one_is_not_replaced(tmp_path, monkeypatch):
    """The other run ends after this one has looked, and before it has the lock."""
    lock, others = fcntl.flock, []

    def lock_late(descriptor, how):
        if not others:
            others.append(None)
            prepare_log(PLAYS, tmp_path / "out")
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", lock_late)
    with pytest.raises(FileExistsError, match="prepared with other seed"):
        prepare_log(PLAYS, tmp_path / "out", seed=1)
    assert load_prepared(tmp_path / "out").manifest["parameters"]["seed"] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("failing", [1, 2])
def test_a_failed_swap_leaves_the_former_folder(tmp_path, monkeypatch, failing):
    first, rename, calls = prepare_log(PLAYS, tmp_path / "out"), os.rename, []

    def rename_or_fail(*paths):
        calls.append(paths)
        if len(calls) == failing:
            raise OSError(errno.EIO, "no more")
        rename(*paths)

    monkeypatch.setattr(os, "rename", rename_or_fail)
    with pytest.raises(OSError, match="no more"):
        prepare_log(PLAYS, tmp_path / "out", seed=1, overwrite=True)
    assert load_prepared(tmp_path / "out").manifest == first
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_full_disk_leaves_the_former_folder(tmp_path, monkeypatch):
    first = prepare_log(PLAYS, tmp_path / "out")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        prepare_log(PLAYS, tmp_path / "out", seed=1, overwrite=True)
    assert load_prepared(tmp_path / "out").manifest == first
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_link_to_a_folder_stays_one(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    for seed in (0, 1):
        prepare_log(PLAYS, tmp_path / "out", seed=seed, overwrite=True)
        assert load_prepared(tmp_path / "disk").manifest["parameters"]["seed"] == seed
    assert (tmp_path / "out").is_symlink()
    assert {path.name for path in tmp_path.iterdir()} == {"out", "disk"}


SWAPS = """
import itertools, os, pathlib, signal, sys
from keras_negrec.partial_folder import partial_folder, publish

left = 0


def die_in_time(event, arguments):
    global left
    if event in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "fcntl.flock"):
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)


sys.addaudithook(die_in_time)
status = None
for step in itertools.count(1):
    folder = pathlib.Path(sys.argv[1], f"{step:03d}", "out")
    folder.mkdir(parents=True)
    for name in ("one", "two"):
        (folder / name).write_text("old")
    child = os.fork()
    if child == 0:
        left = step
        with partial_folder(folder) as new:
            for name in ("one", "two"):
                (new / name).write_text("new")
            publish(new, folder)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:  # not killed, at last
        break
"""


def test_killed_at_each_step_of_the_swap(tmp_path):
    """Under the name is the old folder or the new one, after any number of operations on files."""
    subprocess.run([sys.executable, "-c", SWAPS, tmp_path], check=True)
    found, is_lost = [], []
    for folder in sorted(tmp_path.glob("*")):
        is_lost.append(not (folder / "out").exists())
        put_right(folder / "out")
        [content] = {path.read_text() for path in (folder / "out").iterdir()}
        assert len(list((folder / "out").iterdir())) == 2
        found.append(content)
        with partial_folder(folder / "out"):  # The lock of a dead run holds up no other.
            pass
        assert [path.name for path in folder.iterdir()] == ["out"]
    # The old one, and from some step on the new one; once, it was put back.
    assert set(found) == {"old", "new"} and found == sorted(found, reverse=True)
    assert len(found) > 12 and sum(is_lost) == 1


def damage_shard(folder, change):
    path = folder / "shards/part-00001.parquet"
    content = path.read_bytes()
    path.unlink()
    if change is not None:
        path.write_bytes(change(content))
    return path


@pytest.mark.parametrize(
    "change", [None, lambda c: c[:-1], lambda c: c[:40] + bytes([c[40] ^ 1]) + c[41:]]
)
def test_a_damaged_folder_is_told_and_repaired_by_the_same_call(tmp_path, change, capsys):
    first = prepare_log(PLAYS, tmp_path / "out")
    path = damage_shard(tmp_path / "out", change)
    with pytest.raises((ValueError, FileNotFoundError), match=rf"{path.name}.*overwrite=True"):
        prepare_log(PLAYS, tmp_path / "out", verbose=True)
    assert prepare_log(PLAYS, tmp_path / "out", overwrite=True) == first
    assert len(load_prepared(tmp_path / "out").sessions()) == 2
    prepare_log(PLAYS, tmp_path / "out", verbose=True)
    assert capsys.readouterr().out.startswith("out: already prepared")


@pytest.mark.parametrize("content", [None, "{", "[]", '{"schema_version": 2, "parameters": {}}'])
def test_a_damaged_manifest_is_repaired_where_nothing_else_is_there(tmp_path, content):
    first, manifest = prepare_log(PLAYS, tmp_path / "out"), tmp_path / "out/manifest.json"
    manifest.unlink() if content is None else manifest.write_text(content)
    with pytest.raises((ValueError, FileExistsError), match="overwrite=True"):
        prepare_log(PLAYS, tmp_path / "out")
    notes = tmp_path / "out/notes.txt"
    notes.touch()
    with pytest.raises(FileExistsError, match="without a manifest that can be read"):
        prepare_log(PLAYS, tmp_path / "out", overwrite=True)
    notes.unlink()
    assert prepare_log(PLAYS, tmp_path / "out", overwrite=True) == first


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
    was_there = False
    for _ in range(20):
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"0\n"  # its imports are done
            time.sleep(rng.uniform(0, 1.5))
            process.send_signal(signal.SIGKILL)
        assert {path.name for path in tmp_path.iterdir()} <= {"out", ".out.partial"}
        was_there |= folder.exists()
        if was_there:  # maybe after it was put back
            assert sum(map(len, load_prepared(folder).chunks())) == 2000
    assert was_there
    # The next run cleans up and completes.
    prepare_log(random_log(1, num_sessions=2000), folder, seed=-1, overwrite=True)
    assert len(rows_of(folder)) == 2000
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
