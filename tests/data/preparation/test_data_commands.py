"""`python -m keras_negrec.data prepare` and `inspect`."""

import inspect
import os
import subprocess
import sys

import numpy as np
import pytest
from prepare_log import items_of, log, manifest_of, once, prepare_log, random_log

from keras_negrec.data import prepare
from keras_negrec.data.__main__ import main
from keras_negrec.data.logs.formats import FORMATS
from keras_negrec.data.preparation.folder_statistics import FolderStatistics

pytestmark = once

OPTIONS = '{"session": "session", "item": "item", "feedback": "feedback", "position": "position"}'


def run(*arguments):
    return main([str(argument) for argument in arguments])


@pytest.fixture
def plays(tmp_path):
    frame = log(("s", "a+ b- c+ d+"), ("t", "a+ b+ c+"), ("u", "x+"))
    frame.to_csv(tmp_path / "plays.csv", index=False)
    return tmp_path / "plays.csv"


def prepare_plays(plays, *more):
    return run(
        *("prepare", "--format", "frame", "--format-options", OPTIONS),
        *("--input", plays, "--output", plays.with_name("out"), "--num-shards", 2, *more),
    )


def test_prepare_prints_what_it_kept_and_dropped(plays, capsys):
    assert prepare_plays(plays, "--min-session-length", 2) == 0
    assert capsys.readouterr().out.splitlines() == [
        "out: 2 rows, 7 events, 4 items",
        "dropped 1 events, 1 sessions, 1 items: sessions with fewer than 2 events",
        "train: 2 rows, 2 events; validation: 2 examples, 1 with a skip, 2 of items not in training"
        "; test: 2 examples, 0 with a skip, 2 of items not in training",
    ]
    assert items_of(plays.with_name("out")) == {"s": list("abcd"), "t": list("abc")}


def test_the_options_are_those_of_prepare(plays):
    more = ("--split", "none", "--seed", 3, "--require-feedback", "any", "--k-core", 1)
    assert prepare_plays(plays, *more, "--errors", "skip", "--memory-limit", "500MB") == 0
    parameters = manifest_of(plays.with_name("out"))["parameters"]
    assert (parameters["split"], parameters["seed"], parameters["k_core"]) == (None, 3, 1)
    assert (parameters["require_feedback"], parameters["errors"]) == ("any", "skip")


def test_bad_input_is_one_message(plays, capsys):
    plays.write_text(plays.read_text().replace("t,b,1,1", "t,b,7,1"))
    assert prepare_plays(plays) == 1
    message = capsys.readouterr().err
    assert "plays.csv, line 7, column `feedback`" in message and "Received: 7" in message
    assert "Traceback" not in message


def test_it_runs_as_a_module(plays):
    command = [sys.executable, "-m", "keras_negrec.data", "prepare", "--format", "frame"]
    command += ["--format-options", OPTIONS, "--input", plays, "--output", plays.with_name("out")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert result.stdout.startswith("out: 3 rows, 8 events, 5 items; nothing was dropped")


def test_statistics_by_hand(tmp_path):
    prepare_log(
        log(("s", "a+ b- a+ d+"), ("t", "a- b+"), ("u", "a0")), tmp_path / "out", split=None
    )
    statistics = FolderStatistics.of(tmp_path / "out")
    assert statistics.lengths.tolist() == [0, 1, 1, 0, 1]
    assert statistics.events[:5].tolist() == [3, 2, 1, 1, 0]
    np.testing.assert_allclose(statistics.skip_rates()[:4], [1 / 3, 1 / 2, 0, 0])
    assert np.isnan(statistics.skip_rates()[4])
    assert statistics.popularity.tolist() == [4, 2, 1]
    assert [statistics.length_quantile(q) for q in (0.1, 0.5, 0.9)] == [1, 2, 4]


def test_inspect_prints_a_table_and_draws_a_figure_where_asked(tmp_path, capsys):
    prepare_log(random_log(1), tmp_path / "out")
    assert run("inspect", tmp_path / "out") == 0
    printed = capsys.readouterr().out
    assert "negative feedback" in printed and "at position 10" in printed
    assert not list(tmp_path.rglob("*.png"))
    assert run("inspect", tmp_path / "out", "--figure", tmp_path / "out.png") == 0
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("command", [[], ["prepare"], ["inspect"]])
def test_help_loads_nothing_heavy(command):
    result = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "keras_negrec.data", *command, "--help"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
    )
    loaded = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    heavy = {"tensorflow", "keras", "torch", "jax", "duckdb", "ibis", "rich", "matplotlib", "scipy"}
    assert "argparse" in loaded and not heavy & loaded
    assert "--help" in result.stdout


def test_help_names_all_formats_and_explains_all_options(capsys):
    with pytest.raises(SystemExit):
        main(["prepare", "--help"])
    text = capsys.readouterr().out
    assert all(name in text for name in FORMATS)
    own = {"source", "folder", "verbose", "progress"}
    options = set(inspect.signature(prepare).parameters) - own
    assert all(f"--{name.replace('_', '-')}" in text for name in options)


def test_inspect_refuses_an_unfinished_folder(tmp_path, capsys):
    prepare_log(random_log(1), tmp_path / "out")
    (tmp_path / "out/manifest.json").unlink()
    assert run("inspect", tmp_path / "out") == 1
    assert "no manifest.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "`format_options` of format 'frame' must be of session, item, feedback, user"),
        (["--format-options", '{"session": 1, "item": 2, "sort": 3}'], "with session and item."),
        (["--format-options", "{session: 1}"], "no JSON"),
        (["--format-options", '{"session": "s", "item": "i"}', "--memory-limit", "2"], "2GB"),
    ],
)
def test_options_that_make_no_sense_are_told(tmp_path, options, message, capsys):
    (tmp_path / "plays.csv").write_text("s,i\n1,2\n")
    command = ["prepare", "--format", "frame", "--input", str(tmp_path / "plays.csv")]
    try:
        status = main([*command, "--output", str(tmp_path / "out"), *options])
    except SystemExit as stop:  # what argparse finds
        status = stop.code
    assert status in (1, 2)
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
