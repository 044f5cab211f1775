"""`python -m keras_negrec.data prepare` and `inspect`."""

import os
import subprocess
import sys

import pytest
from prepare_log import items_of, log, prepare_log, random_log

from keras_negrec.data import load_prepared
from keras_negrec.data.__main__ import main
from keras_negrec.data.logs.formats import FORMATS
from keras_negrec.data.preparation.inspect_command import FolderStatistics

OPTIONS = '{"session": "session", "item": "item", "feedback": "feedback", "position": "position"}'


def run(*arguments):
    return main([str(argument) for argument in arguments])


@pytest.fixture
def plays(tmp_path):
    frame = log(("s", "a+ b- c+ d+"), ("t", "a+ b+ c+"), ("u", "x+"))
    frame.to_csv(tmp_path / "plays.csv", index=False)
    return tmp_path / "plays.csv"


def prepare_plays(plays, *more):
    command = ("prepare", "--format", "frame", "--format-options", OPTIONS, "--num-shards", 2)
    return run(*command, "--input", plays, "--output", plays.with_name("out"), *more)


def test_prepare_prints_what_it_kept_and_dropped(plays, capsys):
    assert prepare_plays(plays, "--min-session-length", 2) == 0
    report = [
        "out: 2 rows, 7 events, 4 items",
        "dropped 1 events, 1 sessions, 1 items: sessions with fewer than 2 events",
        "train: 2 rows, 2 events; validation: 2 examples, 1 with a skip, 2 of items not in training"
        "; test: 2 examples, 0 with a skip, 2 of items not in training",
    ]
    assert capsys.readouterr().out.splitlines() == report
    assert items_of(plays.with_name("out")) == {"s": list("abcd"), "t": list("abc")}
    assert prepare_plays(plays, "--min-session-length", 2) == 0
    assert "out: already prepared" in capsys.readouterr().out


def test_the_options_are_those_of_prepare(plays):
    more = ("--split", "none", "--seed", 3, "--require-feedback", "any", "--k-core", 1)
    assert prepare_plays(plays, *more, "--errors", "skip", "--memory-limit", "500MB") == 0
    given = {"split": None, "seed": 3, "k_core": 1, "require_feedback": "any", "errors": "skip"}
    assert given.items() <= load_prepared(plays.with_name("out")).manifest["parameters"].items()


def test_bad_input_is_one_message_in_the_words_of_the_command(plays, capsys):
    text = plays.read_text()
    plays.write_text(text.replace("t,b,1,1", "t,b,7,1"))
    assert prepare_plays(plays) == 1
    message = capsys.readouterr().err
    assert "plays.csv, line 7, column `feedback`" in message and "Received: 7" in message
    assert "--errors skip counts such rows" in message and "Traceback" not in message
    plays.write_text(text)
    assert prepare_plays(plays) == 0
    assert prepare_plays(plays, "--seed", 1) == 1
    assert "with other seed. Pass --overwrite to replace it" in capsys.readouterr().err
    assert prepare_plays(plays, "--validation-from", 1) == 1
    assert "--validation-from and --test-from are for --split time" in capsys.readouterr().err
    plays.with_name("out").joinpath("manifest.json").unlink()
    assert prepare_plays(plays) == 1 and "--output must be new" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "--format-options of format 'frame' must be of session, item, feedback, user"),
        (["--format-options", '{"session": 1, "item": 2, "sort": 3}'], "with session and item."),
        (["--format-options", "{session: 1}"], "no JSON"),
        (["--format-options", '{"session": "s", "item": "i"}', "--memory-limit", "2"], "2GB"),
    ],
)
def test_options_that_make_no_sense_are_told(tmp_path, options, message, capsys):
    (tmp_path / "plays.csv").write_text("s,i\n1,2\n")
    files = ("--input", tmp_path / "plays.csv", "--output", tmp_path / "out")
    try:
        status = run("prepare", "--format", "frame", *files, *options)
    except SystemExit as stop:  # what argparse finds
        status = stop.code
    assert status in (1, 2)
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_help_names_all_formats_and_explains_all_options(capsys):
    with pytest.raises(SystemExit):
        main(["prepare", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert all(name in text for name in FORMATS)
    assert "--k-core K_CORE takes out items and rows" in text
    assert "--overwrite replace the folder" in text


@pytest.mark.parametrize("command", ["prepare", "inspect"])
def test_it_runs_as_a_module_whose_help_loads_nothing_heavy(command):
    result = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "keras_negrec.data", command, "--help"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
    )
    loaded = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    heavy = {"tensorflow", "keras", "torch", "jax", "duckdb", "ibis", "rich", "matplotlib", "scipy"}
    assert "argparse" in loaded and not heavy & loaded
    assert "--help" in result.stdout


def test_statistics_by_hand(tmp_path):
    frame = log(("s", "a+ b- a+ d+"), ("t", "a- b+"), ("u", "a0"))
    prepare_log(frame, tmp_path / "out", split=None)
    statistics = FolderStatistics(tmp_path / "out")
    assert statistics.lengths.tolist() == [0, 1, 1, 0, 1]
    assert statistics.events[:5].tolist() == [3, 2, 1, 1, 0]
    rates = [1 / 3, 1 / 2, 0, 0, float("nan")]
    assert statistics.skip_rates()[:5] == pytest.approx(rates, nan_ok=True)
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
    (tmp_path / "out/manifest.json").unlink()
    assert run("inspect", tmp_path / "out") == 1
    assert "no manifest.json" in capsys.readouterr().err
