"""`python -m keras_negrec.data prepare` and `inspect`."""

import inspect
import os
import shlex
import subprocess
import sys

import pandas as pd
import pytest
from prepare_log import items_of, log, prepare_log, random_log

from keras_negrec.data import load_prepared, prepare
from keras_negrec.data.__main__ import main
from keras_negrec.data.logs.formats import FORMATS
from keras_negrec.data.preparation.folder_statistics import FolderStatistics

OPTIONS = '{"session": "session", "item": "item", "feedback": "feedback", "position": "position"}'
COLUMNS = ["--format-options", '{"session": "s", "item": "i"}']
TIMES = ["--test-from", "2", "--validation-from"]


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
    printed = capsys.readouterr()
    assert printed.out.splitlines()[:7] == [
        "out: 2 rows, 7 events, 4 items",
        "Dropped 1 of 8 events:",
        "  1 event, 1 session, 1 item: sessions with fewer than 2 events",
        "Training has 2 events of 2 rows.",
        "held out        examples    with a skip    of items not in training",
        "validation             2              1                           2",
        "test                   2              0                           2",
    ]
    assert f"inspect {plays.with_name('out')}" in printed.out and "load_prepared(" in printed.out
    assert printed.err.splitlines()[:2] == ["reading events ...", "grouping them into sessions ..."]
    assert items_of(plays.with_name("out")) == {"s": list("abcd"), "t": list("abc")}
    assert prepare_plays(plays, "--min-session-length", 2) == 0
    assert "out: already prepared" in capsys.readouterr().out


def test_prepare_says_how_often_items_come_back(plays, capsys):
    log(("s", "a+ b- a+ a+"), ("t", "b+ a+ b+ c+")).to_csv(plays, index=False)
    assert prepare_plays(plays) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "37.5% of the events have an item that is in their row before" in printed
    assert "build_model(exclude_seen=False)" in printed


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
    message = capsys.readouterr().err.splitlines()[-1]
    assert "with other seed. Pass --overwrite to replace it" in message
    assert prepare_plays(plays, "--validation-from", 1) == 1
    assert "--validation-from and --test-from are for --split time" in capsys.readouterr().err
    plays.with_name("out").joinpath("manifest.json").unlink()
    assert prepare_plays(plays) == 1 and "--output must be new" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "--format-options of format 'frame' must be of session, item, feedback, user"),
        (["--format-options", '{"session": 1, "item": 2, "sort": 3}'], "with session and item."),
        (["--format-options", "{session: 1}"], "expected a JSON object such as '{"),
        ([*COLUMNS, "--memory-limit", "2"], '"2GB". Received: --memory-limit 2'),
        ([*COLUMNS, "--k-core", "0"], "--k-core must be a positive integer. Received: --k-core 0"),
        ([*COLUMNS, "--split", "random"], "argument --split: invalid choice: 'random'"),
        ([*COLUMNS, "--format", "fram"], "argument --format: invalid choice: 'fram'"),
        ([*COLUMNS, "--input", "absent.csv"], "--input must be there: no such file or folder."),
        ([*COLUMNS, *TIMES, "tomorrow", "--split", "time"], "Received: --validation-from tomorrow"),
        (
            ["--format-options", '{"session": "s", "item": "track"}'],
            "'track' is missing. Received columns: ['s', 'i', 'b']. For example: --format-options",
        ),
        (
            ["--format-options", '{"session": "s", "item": "i", "feedback": "b"}'],
            'for example "feedback": {"column": "b", "values": {"true": -1, "false": 1}}.',
        ),
    ],
)
def test_options_that_make_no_sense_are_told(tmp_path, options, message, capsys):
    (tmp_path / "plays.csv").write_text("s,i,b\n1,2,true\n")
    files = ("--input", tmp_path / "plays.csv", "--output", tmp_path / "out")
    try:
        status = run("prepare", "--format", "frame", *files, *options)
    except SystemExit as stop:  # what argparse finds
        status = stop.code
    assert status in (1, 2)
    line = capsys.readouterr().err.removeprefix("reading events ...\n")
    assert line.startswith("error: ") and line.count("\n") == 1 and message in line
    assert not (tmp_path / "out").exists()


def test_help_explains_all_options_in_80_columns(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["prepare", "--help"])
    lines = capsys.readouterr().out.splitlines()
    text = " ".join(" ".join(lines).split())
    assert max(map(len, lines)) <= 80
    assert all(f"{name}: " in text for name in FORMATS)
    assert "--k-core EVENTS Drop items and rows with fewer events" in text
    assert "--num-shards NUMBER How many Parquet files to write. Default: 8." in text
    assert "none: nothing." in text and "None" not in text
    named = {f"--{name.replace('_', '-')}" for name in inspect.signature(prepare).parameters}
    assert named - {"--source", "--folder", "--verbose", "--progress"} <= set(text.split())

    # The example at the end of the help runs.
    frame = pd.DataFrame({"listener": [1, 1, 1, 2], "track": list("abca"), "skipped": [False] * 4})
    frame.assign(at=range(4)).to_csv("plays.csv", index=False)
    example = "\n".join(lines).rpartition("python -m keras_negrec.data ")[2]
    assert main(shlex.split(example.replace("\\\n", ""))) == 0
    assert load_prepared("plays").manifest["counts"]["kept"]["events"] == 4


@pytest.mark.parametrize("command", [[], ["prepare"], ["inspect"]])
def test_it_runs_as_a_module_whose_help_loads_nothing_heavy(command):
    result = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "keras_negrec.data", *command, "--help"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
    )
    loaded = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    heavy = {"tensorflow", "keras", "torch", "jax", "duckdb", "ibis", "rich", "matplotlib", "scipy"}
    assert "argparse" in loaded and not (heavy | {"numpy", "pandas"}) & loaded
    assert "--help" in result.stdout and "\nexample" in result.stdout


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
    assert statistics.num_repeats == statistics.manifest["num_repeats"] == 1
    assert statistics.share_of_top(0.5) == (2, 6 / 7)


def test_inspect_prints_a_page_of_80_columns(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    frame = random_log(1, times=True)
    settings = {"split": "time", "min_item_count": 2, "max_length": 6}
    prepare_log(frame.assign(timestamp=frame["timestamp"] + 1.7e9), tmp_path / "out", **settings)
    assert run("inspect", "out") == 0
    page = capsys.readouterr().out
    lines = page.splitlines()
    assert lines[0] == f"Prepared folder {tmp_path / 'out'}" and max(map(len, lines[1:])) <= 80
    titles = [line for line in lines if line and not line.startswith(" ")]
    assert len(titles) == 9 and "Repeats" in titles
    assert all(f"    {name}: {value}" in lines for name, value in settings.items())
    assert "items with fewer than 2 events" in page and "█" in page
    assert "Validation begins 2023-11-1" in page
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_inspect_draws_a_figure_where_asked_or_says_why_not(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    prepare_log(random_log(1), tmp_path / "out")
    starts = {"figure.png": b"\x89PNG", "figure.svg": b"<?xml"}
    for name, start in starts.items():
        assert run("inspect", "out", "--figure", name) == 0
        assert (tmp_path / name).read_bytes().startswith(start)
        assert capsys.readouterr().out.endswith(f"The figure is in {name}\n")
    for name in ("figure.pdf", "absent/figure.png", "out"):
        assert run("inspect", "out", "--figure", name) == 1
        printed = capsys.readouterr()
        assert f"Received: --figure {name}" in printed.err and not printed.out
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert run("inspect", "out", "--figure", "other.png") == 1
    assert 'pip install "keras-negrec[plot]"' in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"out", *starts}
    (tmp_path / "out/manifest.json").unlink()
    assert run("inspect", tmp_path / "out") == 1
    assert "no manifest.json" in capsys.readouterr().err
