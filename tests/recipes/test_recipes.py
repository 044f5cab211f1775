"""Each recipe runs the whole way on a small file in its data's format."""

import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from prepared_folder import write_prepared
from toy_sessions import toy_sessions

import keras_negrec as kn
from keras_negrec.evaluation import ComparisonRun

RECIPES = Path(__file__).parents[2] / "recipes"
SMALL = ["--epochs", "1", "--embedding-dim", "8", "--num-layers", "1", "--max-length", "8"]
SIMULATED = ["--data", "simulator", "--sessions", "120"]


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """Runs a recipe; returns the metrics and the seconds of each label, and what was printed."""

    def run(name, *arguments):
        monkeypatch.syspath_prepend(str(RECIPES))
        out = ["--out", str(tmp_path / "out")]
        monkeypatch.setattr(sys, "argv", [name, *SMALL, *map(str, arguments), *out])
        runpy.run_path(str(RECIPES / f"{name}.py"), run_name="__main__")
        results = json.loads((tmp_path / "out" / "results.json").read_text())["results"]
        printed = capsys.readouterr().out
        assert (tmp_path / "out" / "report.html").exists()
        table = re.findall(r"^ *[\d,]+ held-out.*?\n(?=what)", printed, flags=re.M | re.S)
        assert table and max(map(len, "".join(table).splitlines())) <= 80
        assert not re.search(r"\d\.\d{5}", printed)  # rounded
        assert "nan to" not in printed.replace("\n", " ")
        wide = [
            line for line in printed.splitlines() if len(line) > 80 and str(tmp_path) not in line
        ]
        assert not [line for line in wide if not line.startswith("[")]  # those of `compare`
        return results, printed

    return run


@pytest.fixture
def sequences(tmp_path):
    items = np.random.default_rng(0).integers(1, 30, (40, 8))
    lines = [f"{user} {' '.join(map(str, row))}\n" for user, row in enumerate(items)]
    (tmp_path / "sequences.txt").write_text("".join(lines))
    return tmp_path / "sequences.txt"


def test_quickstart(run, tmp_path):
    results, printed = run("quickstart", "--sessions", 200, "--model", "sasrec")
    assert [*results][:4] == ["sasrec", "sasrec + keep", "oracle", "history oracle"]
    assert "sasrec + keep against sasrec, in the first ten: " in printed
    assert (tmp_path / "out" / "sasrec-keep.png").exists()
    assert "best model by validation (sasrec + keep)" in printed
    assert "recommended by the exported model" in printed and "(recommend says" not in printed
    assert (tmp_path / "out" / "model.keras").exists()
    assert (tmp_path / "out" / "1" / "saved_model.pb").exists()
    assert not (tmp_path / "out" / "runs").exists()  # without --resume, every call trains


@pytest.mark.thorough
def test_in_a_terminal_nothing_is_said_by_tensorflow(tmp_path):
    """And each training ends in its time, is evaluated and written."""
    options = ["--sessions", "200", "--model", "sasrec", "--no-negative-loss", "--no-export"]
    options += ["--epochs", "100000", "--patience", "100000", "--max-minutes", "0.05"]
    command = [sys.executable, RECIPES / "quickstart.py", *SMALL, *options, "--out", tmp_path]
    env = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, env=env)
    assert ended.returncode == 0 and ended.stderr == ""
    assert re.search(r"stopped by --max-minutes 0\.05: sasrec, seed 0 in epoch", ended.stdout)
    assert re.search(r"sasrec, seed 0: epoch \d+/100000.*, its time is over, loss", ended.stdout)
    [metrics] = json.loads((tmp_path / "results.json").read_text())["results"]["sasrec"]["metrics"]
    assert 0 <= metrics["ndcg@10"] <= 1


@pytest.mark.thorough
def test_kuairand(run, tmp_path):
    rng = np.random.default_rng(0)
    columns = {"user_id": np.repeat(np.arange(40), 10), "position": np.tile(np.arange(10), 40)}
    columns |= {"item_id": rng.integers(0, 30, 400), "long_view": rng.integers(0, 2, 400)}
    columns |= {"is_like": 0, "is_hate": 0}
    columns["split"] = np.repeat(["history", "validation", "test"], [6, 2, 2]).tolist() * 40
    pd.DataFrame(columns).to_parquet(tmp_path / "kuairand.parquet")
    file = ["--data", tmp_path / "kuairand.parquet"]
    results, _ = run("kuairand", *file, "--negative-loss", "--no-export")
    assert list(results) == ["sasrec + keep", "popularity"]


@pytest.mark.parametrize("timed", [False, True])
def test_kuairand_with_features_of_the_videos(run, tmp_path, timed):
    rng = np.random.default_rng(0)
    log = pd.DataFrame({"user_id": np.repeat(np.arange(40), 10), "is_like": 0, "is_hate": 0})
    log["position"], log["item_id"] = np.tile(np.arange(10), 40), rng.integers(0, 30, 400)
    log["long_view"] = rng.integers(0, 2, 400)
    log["split"] = np.repeat(["history", "validation", "test"], [5, 3, 2]).tolist() * 40
    times = pd.Series(1_650_000_000_000 + 60_000 * np.arange(400), dtype="Int64")
    log["time_ms"] = times.where(log["split"] != "history")
    log.to_parquet(tmp_path / "kuairand.parquet")
    videos = pd.DataFrame({"video_id": np.arange(29), "seconds": rng.integers(5, 90, 29)})
    videos["tag"] = ["1,2", "2", ""] * 9 + ["3", "3"]
    videos.to_csv(tmp_path / "videos.csv", index=False)
    items = ["--items", tmp_path / "videos.csv", "--item-column", "video_id"]
    items += ["--numeric", "seconds", "--categories", "tag=,"]
    options = ["--negative-loss", "none", "keep", "--keep-weight", "chosen"]
    if timed:
        options = ["--timed", "--model", "hstu", "--negative-loss", "none"]
    results, printed = run("kuairand", "--data", tmp_path / "kuairand.parquet", *items, *options)
    assert re.search(r"4 features of 30 items, of which 1 have no row", printed)
    base = "hstu" if timed else "sasrec + keep"
    assert {base, f"{base} with features"} < set(results)
    exported = re.search(r"best model by validation \(([^)]*)\)", printed)[1]
    model = keras.saving.load_model(tmp_path / "out" / "model.keras")
    columns = model.feature_encoder and model.feature_encoder.columns
    with_features = ["seconds", "tag=1", "tag=2", "tag=3"]
    columns = columns and sorted(columns)
    assert columns == (with_features if "with features" in exported else None)


def test_movielens_by_time(run, tmp_path):
    """No user has both a target and a skip target there."""
    random = np.random.default_rng(0)
    rows = [
        f"{user}::{film}::{random.integers(1, 6)}::{100 * n + user}\n"
        for user in range(40)
        for n, film in enumerate(random.permutation(60)[:50])
    ]
    (tmp_path / "ratings.dat").write_text("".join(rows))
    options = ["--split", "time", "--negative-loss", "keep", "--no-export"]
    results, _ = run("movielens", "--data", tmp_path / "ratings.dat", *options)
    [metrics] = results["sasrec + keep"]["metrics"]
    assert np.isfinite([metrics["hr@10"], metrics["skip_hr@10"]]).all()
    difference = metrics["hr@10"] - metrics["skip_hr@10"]
    assert metrics["hr_difference@10"] == pytest.approx(difference)


@pytest.mark.thorough
def test_movielens_and_the_models_of_all_seeds_as_one(run, tmp_path):
    stars = np.random.default_rng(0).integers(1, 6, 480)
    rows = [f"{i // 12}::{7 * i % 29}::{star}::{i}\n" for i, star in enumerate(stars)]
    (tmp_path / "ratings.dat").write_text("".join(rows))
    options = ["--no-negative-loss", "--seed", "0", "1", "--ensemble", "--resume", "--refit"]
    results, printed = run("movielens", "--data", tmp_path / "ratings.dat", *options)
    assert list(results) == ["sasrec", "sasrec, 2 models as one", "popularity"]
    assert len(results["sasrec"]["metrics"]) == 2
    assert "best model by validation (sasrec, 2 models as one)" in printed
    assert "(recommend says" not in printed
    stored = [ComparisonRun.load(path) for path in (tmp_path / "out" / "runs").rglob("*.npz")]
    assert ["val_ndcg@10" in run.curves for run in stored] == [True, True]


def test_sequences(run, sequences):
    results, printed = run("sequences", "--data", sequences, "--no-export")
    assert list(results) == ["sasrec", "sasrec + co-occurrence", "co-occurrence", "popularity"]
    assert "skip" not in printed.split("held-out")[1].split("popularity")[0]
    assert "sasrec, seed 0 + co-occurrence, validation:" in printed
    assert "sasrec, seed 0, again: epoch 1/1" in printed
    assert results["sasrec"]["metrics"] != results["sasrec + co-occurrence"]["metrics"]


def test_cold_start(sequences, monkeypatch, tmp_path, capsys):
    items = {str(item): [str(item % 4), str(item % 3)] for item in range(1, 30)}
    (tmp_path / "items.json").write_text(json.dumps(items))
    files = ["--data", str(sequences), "--items", str(tmp_path / "items.json")]
    more = [
        "--categories",
        "value",
        "--epochs",
        "1",
        "--model-arguments",
        '{"embedding_dim": 8, "num_layers": 1}',
    ]
    monkeypatch.syspath_prepend(str(RECIPES))
    monkeypatch.setattr(sys, "argv", ["cold_start", *files, *more])
    found = runpy.run_path(str(RECIPES / "cold_start.py"), run_name="__main__")
    printed = capsys.readouterr().out
    figures = re.findall(r"known items \S+, choosing \S+, cold [\d.]+", printed.replace("\n ", ""))
    assert len(figures) == 6 and max(map(len, printed.splitlines())) <= 80
    is_cold = np.arange(30) % 5 == 0
    sessions = kn.data.Sessions.from_lists([[1, 5, 2, 10, 3], [4, 6], [5, 7], [7, 20]])
    examples = found["examples"](sessions, is_cold, is_cold)
    assert examples.targets.tolist() == [10, 20]  # not 5, which has nothing before it
    assert examples.histories.item_ids.tolist() == [1, 2, 7]


def test_a_saved_model_is_trained_on(run, sequences, tmp_path):
    data = ["--data", sequences, "--no-refit", "--cooccurrence-weight", "0"]
    saved = tmp_path / "out" / "model.keras"
    [first, _] = run("sequences", *data)[0].values()
    more = ["--start-from", saved, "--learning-rate", "0", "--no-export"]
    results, _ = run("sequences", *data, *more)
    assert list(results) == ["sasrec, trained on", "popularity"]
    assert results["sasrec, trained on"]["metrics"] == first["metrics"]
    with pytest.raises(SystemExit, match=r"model\.keras is a SASRec, and --model is gru4rec"):
        run("sequences", *data, "--start-from", saved, "--model", "gru4rec")
    sequences.write_text("".join(sequences.read_text().splitlines(keepends=True)[:3]))
    with pytest.raises(SystemExit, match="another vocabulary"):
        run("sequences", *data, "--start-from", saved)


@pytest.mark.thorough
def test_compare_trains_once_for_all_keep_weights(run, tmp_path):
    write_prepared(tmp_path / "prepared", toy_sessions(40))
    folder = ["--data", tmp_path / "prepared", "--format", "prepared"]
    losses = ["--negative-loss", "none", "keep", "--keep-weight", "0", "200"]
    results, printed = run("compare", *folder, *losses)
    assert len(re.findall(r"epoch 1/1.*loss", printed)) == 2
    assert "40 held-out histories" in printed
    weak, strong = (results[f"sasrec + keep (weight {weight})"]["metrics"] for weight in (0, 200))
    assert weak[0]["feedback_auc"] != strong[0]["feedback_auc"]


@pytest.mark.thorough
def test_compare_resumes_and_exports_what_is_stored(run, tmp_path):
    light = """light={"encoder": "sasrec", "negative_loss": true, "negative_weight": 0.1}"""
    both = [*SIMULATED, "--model", "sasrec", "--negative-loss", "none", "--configuration", light]
    results, printed = run("compare", *both, "--export")
    assert printed.count(": training") == 2
    assert list(results) == ["sasrec", "light", "oracle", "history oracle", "popularity"]
    report = (tmp_path / "out" / "report.md").read_text("utf-8")
    labels = re.findall(r"^- \*\*(.*?)\*\*:", report, flags=re.M)
    assert labels == ["light", "oracle", "history oracle", "popularity"]
    assert "| light | yes | 0.1 |" in report
    means = pd.read_csv(tmp_path / "out" / "table.csv", index_col=[0, 1])["mean"]
    assert means.between(0, 1).all()
    assert means["oracle", "hr@10"] > means["sasrec", "hr@10"]

    again, printed = run("compare", *both, "--export")
    assert again == results and "epoch" not in printed and printed.count("stored") == 2
    assert (tmp_path / "out" / "2" / "saved_model.pb").exists()

    # no other run for an option that a plain model does not have
    _, printed = run("compare", *both[:-2], "--baseline", "oracle", "--negative-weight", "0.5")
    assert "epoch" not in printed and "what changed against oracle" in printed
    _, printed = run("compare", *both[:-2], "--batch-size", "64")
    assert "epoch" in printed  # other training, other run


@pytest.mark.thorough
@pytest.mark.parametrize("more", [[], ["--refit"]])
def test_compare_goes_on_in_a_training_that_was_killed(run, tmp_path, monkeypatch, capsys, more):
    options = [*SIMULATED, "--model", "sasrec", "--negative-loss", "none", "--epochs", "3", *more]
    whole, _ = run("compare", *options)
    (tmp_path / "out").rename(tmp_path / "whole")

    def killed(callback, epoch, logs=None):
        if epoch == 2 or callback.params["epochs"] < 3:  # of the second training, the first epoch
            raise InterruptedError

    with monkeypatch.context() as patched:
        patched.setattr(kn.callbacks.StopOnNonFinite, "on_epoch_begin", killed)
        with pytest.raises(InterruptedError):
            run("compare", *options)
    assert list((tmp_path / "out" / "unfinished").rglob("backup-*.npz"))
    assert "sasrec, seed 0: epoch 1/3" in capsys.readouterr().out
    resumed, printed = run("compare", *options)
    assert resumed["sasrec"]["metrics"] == whole["sasrec"]["metrics"]
    assert "sasrec, seed 0: epoch 1/3" not in printed
    assert not (tmp_path / "out" / "unfinished").exists()
    runs = [ComparisonRun.load(path) for path in tmp_path.rglob("runs/**/*.npz")]
    assert len(runs) == 2 and runs[0].curves == runs[1].curves


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "file.csv"], "--format is needed"),
        (["--format", "kuairand"], "--format is needed"),
        (["--baseline", "nobody"], "--baseline must be one of sasrec, "),
        (
            [
                "--negative-loss",
                "contrastive",
                "--context",
                "hidden",
                "item",
                "--baseline",
                "nobody",
            ],
            r"contrastive \(item\), oracle",
        ),
        (["--negative-loss", "keep", "--keep-weight", "chosen"], "needs the same model without"),
        (
            ["--negative-loss", "contrastive", "keep", "--keep-weight", "chosen"],
            "needs the same model without",
        ),
        (["--refit", "--keep-weight", "chosen"], "needs --no-refit"),
        (["--items", "items.csv"], "goes with --numeric, --categories or --text"),
        (["--text", "title"], "--items goes with"),
        (["--items", "none.csv", "--text", "title"], "--items must be a file"),
        (["--model", "sasrek"], "build_model refuses the configuration 'sasrek'"),
        (["--configuration", "sasrec"], "it must be LABEL=|no JSON "),
        (["--configuration", "a=[1]"], "no JSON object"),
        (["--configuration", 'a={"dropout": 0}'], "with the model under"),
        (["--configuration", 'a={"encoder": "sasrec", "layers": 3}'], "'a': No part .* .layers."),
        (["--configuration", 'a={"encoder": "sasrec"}'] * 2, "a label of its own"),
    ],
)
def test_compare_refuses_before_it_trains(run, capsys, arguments, message):
    with pytest.raises(SystemExit):
        run("compare", *SIMULATED, *arguments)
    assert re.search(message, capsys.readouterr().err.replace("\n", " "))
