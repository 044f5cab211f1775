"""Each recipe runs the whole way on a small file in its data's format."""

import json
import re
import runpy
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from prepared_folder import write_prepared
from toy_sessions import toy_sessions

from keras_negrec.evaluation import ComparisonRun

RECIPES = Path(__file__).parents[2] / "recipes"
SMALL = ["--epochs", "1", "--embedding-dim", "8", "--num-layers", "1", "--max-length", "8"]

pytestmark = pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="one backend is enough for the recipes"
)


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    def run_recipe(name, *arguments):
        out = tmp_path / "out"
        monkeypatch.syspath_prepend(str(RECIPES))
        monkeypatch.setattr(sys, "argv", [name, *arguments, *SMALL, "--out", str(out)])
        runpy.run_path(str(RECIPES / f"{name}.py"), run_name="__main__")
        for file in ("table.png", "results.json", "model.keras", "1/saved_model.pb"):
            assert (out / file).exists(), file
        results = json.loads((out / "results.json").read_text())["results"]
        return results, capsys.readouterr().out

    return run_recipe


@pytest.fixture
def compare(monkeypatch, tmp_path, capsys):
    """Runs the recipe; returns its report and what was printed."""

    def compare(*arguments):
        out = tmp_path / "out"
        monkeypatch.syspath_prepend(str(RECIPES))
        monkeypatch.setattr(sys, "argv", ["compare", *arguments, *SMALL, "--out", str(out)])
        runpy.run_path(str(RECIPES / "compare.py"), run_name="__main__")
        return (out / "report.md").read_text("utf-8"), capsys.readouterr().out

    return compare


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_quickstart(run):
    results, printed = run("quickstart", "--sessions", "200", "--model", "sasrec")
    assert list(results) == ["oracle", "sasrec", "sasrec + negative loss", "popularity"]
    assert "feedback AUC" in printed and "recommended by the exported model" in printed
    assert "(recommend says" not in printed


def test_kuairand(run, tmp_path, rng):
    table = pd.DataFrame(
        {
            "user_id": np.repeat(np.arange(40), 10),
            "position": np.tile(np.arange(10), 40),
            "item_id": rng.integers(0, 30, 400),
            "long_view": rng.integers(0, 2, 400),
            "is_like": 0,
            "is_hate": 0,
            "split": np.tile(["history"] * 6 + ["validation"] * 2 + ["test"] * 2, 40),
        }
    )
    table.to_parquet(tmp_path / "kuairand.parquet")
    results, _ = run("kuairand", "--data", str(tmp_path / "kuairand.parquet"), "--negative-loss")
    assert list(results) == ["sasrec + negative loss", "popularity"]


def test_movielens(run, tmp_path, rng):
    lines = [
        f"{user}::{rng.integers(1, 30)}::{rng.integers(1, 6)}::{time}"
        for user in range(1, 41)
        for time in range(12)
    ]
    (tmp_path / "ratings.dat").write_text("\n".join(lines) + "\n")
    results, _ = run(
        "movielens",
        *("--data", str(tmp_path / "ratings.dat"), "--no-negative-loss"),
        *("--model", "bert4rec", "--seed", "0", "1"),
    )
    assert list(results) == ["bert4rec", "popularity"]
    assert len(results["bert4rec"]["metrics"]) == 2


def test_sequences(run, tmp_path, rng):
    lines = [f"{user} " + " ".join(map(str, rng.integers(1, 30, 8))) for user in range(40)]
    (tmp_path / "sequences.txt").write_text("\n".join(lines) + "\n")
    results, printed = run("sequences", "--data", str(tmp_path / "sequences.txt"))
    assert list(results) == ["sasrec", "sasrec + co-occurrence", "co-occurrence", "popularity"]
    assert "skip HR@10  " not in printed
    assert "== sasrec, seed 0\n" in printed
    assert "sasrec, seed 0 + co-occurrence, validation:" in printed
    assert "with a weight of 0.2" in printed


def test_a_saved_model_is_trained_on(run, tmp_path, rng):
    lines = [f"{user} " + " ".join(map(str, rng.integers(1, 30, 8))) for user in range(40)]
    (tmp_path / "sequences.txt").write_text("\n".join(lines) + "\n")
    data = ["--data", str(tmp_path / "sequences.txt"), "--no-refit", "--cooccurrence-weight", "0"]
    saved = str(tmp_path / "out" / "model.keras")
    [first, _] = run("sequences", *data)[0].values()
    results, _ = run("sequences", *data, "--start-from", saved, "--learning-rate", "0")
    assert list(results) == ["sasrec, trained on", "popularity"]
    assert results["sasrec, trained on"]["metrics"] == first["metrics"]
    with pytest.raises(SystemExit, match=r"model\.keras is a SASRec, and --model is gru4rec"):
        run("sequences", *data, "--start-from", saved, "--model", "gru4rec")
    (tmp_path / "sequences.txt").write_text("\n".join(lines[:3]) + "\n")
    with pytest.raises(SystemExit, match="another vocabulary"):
        run("sequences", *data, "--start-from", saved)


def test_the_models_of_all_seeds_as_one(run, tmp_path, rng):
    lines = [f"{user} " + " ".join(map(str, rng.integers(1, 30, 8))) for user in range(40)]
    (tmp_path / "sequences.txt").write_text("\n".join(lines) + "\n")
    options = ["--seed", "0", "1", "--ensemble", "--cooccurrence-weight", "0"]
    results, printed = run("sequences", "--data", str(tmp_path / "sequences.txt"), *options)
    assert list(results) == ["sasrec", "sasrec, 2 models as one", "popularity"]
    assert "best model (sasrec_ensemble, by validation, all seeds)" in printed
    assert "(recommend says" not in printed


def test_compare_on_a_prepared_folder(compare, tmp_path):
    write_prepared(tmp_path / "prepared", toy_sessions(40))
    folder = ["--data", str(tmp_path / "prepared"), "--format", "prepared"]
    report, printed = compare(*folder, "--model", "sasrec", "--negative-loss", "none", "keep")
    assert printed.count(": training") == 2
    assert "40 examples" in printed
    assert "sasrec + keep" in report


def test_compare_trains_once_for_all_keep_strengths(compare, tmp_path):
    write_prepared(tmp_path / "prepared", toy_sessions(40))
    folder = ["--data", str(tmp_path / "prepared"), "--format", "prepared"]
    losses = ["--negative-loss", "none", "keep", "--keep-weight", "0", "200", "--seed", "0", "1"]
    _, printed = compare(*folder, *losses)
    assert printed.count("== sasrec, seed") == 2 * 2
    table = pd.read_csv(tmp_path / "out" / "table.csv", index_col=[0, 1])
    weak, strong = (
        table.loc[f"sasrec + keep (strength {strength})", "mean"] for strength in (0, 200)
    )
    assert weak["feedback_auc"] != strong["feedback_auc"]


SIMULATED = ["--data", "simulator", "--sessions", "120"]
LIGHT = """light={"name": "sasrec", "negative_loss": true, "negative_weight": 0.1}"""


def test_compare(compare, tmp_path):
    both = [*SIMULATED, "--model", "sasrec", "--negative-loss", "none", "--configuration", LIGHT]
    report, printed = compare(*both)
    assert printed.count(": training") == 2
    assert re.findall(r"^- \*\*(.*?)\*\*:", report, flags=re.M) == ["light", "oracle", "popularity"]
    assert '"negative_weight": 0.1' in report
    table = pd.read_csv(tmp_path / "out" / "table.csv", index_col=[0, 1])
    assert table["mean"].between(0, 1).all()
    assert table.loc[("oracle", "hr@10"), "mean"] > table.loc[("sasrec", "hr@10"), "mean"]

    again, printed = compare(*both)
    assert again == report and ": training" not in printed and printed.count("stored") == 2

    # no other run for an option that a plain model does not have
    other, printed = compare(*both[:-2], "--baseline", "oracle", "--negative-weight", "0.5")
    assert ": training" not in printed and "What changed against oracle" in other
    _, printed = compare(*both[:-2], "--batch-size", "64")
    assert ": training" in printed  # other training, other run


def test_compare_on_a_file_with_a_refit(compare, tmp_path, rng):
    lines = [
        f"{user}::{rng.integers(1, 30)}::{rng.integers(1, 6)}::{time}"
        for user in range(1, 41)
        for time in range(12)
    ]
    (tmp_path / "ratings.dat").write_text("\n".join(lines) + "\n")
    compare(
        *("--data", str(tmp_path / "ratings.dat"), "--format", "movielens", "--refit"),
        *("--negative-loss", "contrastive"),
    )
    [run] = (tmp_path / "out" / "runs").rglob("*.npz")
    assert "val_ndcg@10" in ComparisonRun.load(run).curves


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "file.csv"], "--format is needed"),
        ([*SIMULATED, "--format", "kuairand"], "--format is needed"),
        ([*SIMULATED, "--baseline", "nobody"], "--baseline must be one of sasrec, "),
        (
            [*SIMULATED, "--context", "hidden", "item", "--baseline", "nobody"],
            r"one of sasrec, sasrec \+ contrastive \(hidden\), sasrec \+ contrastive \(item\), p",
        ),
        ([*SIMULATED, "--model", "sasrek"], "build_model refuses the configuration 'sasrek'"),
        ([*SIMULATED, "--configuration", "a={"], "JSON after the first equals sign"),
        ([*SIMULATED, "--configuration", "sasrec"], "JSON after the first equals sign"),
        ([*SIMULATED, "--configuration", "a=[1]"], "a JSON object with the model's name"),
        ([*SIMULATED, "--configuration", 'a={"dropout": 0}'], "a JSON object with the model's"),
        (
            [*SIMULATED, "--configuration", 'a={"name": "sasrec", "layers": 3}'],
            "the configuration 'a': SASRec has no argument .layers.",
        ),
        ([*SIMULATED, *["--configuration", 'a={"name": "sasrec"}'] * 2], "a label of its own"),
    ],
)
def test_compare_refuses_before_it_trains(compare, capsys, arguments, message):
    with pytest.raises(SystemExit):
        compare(*arguments)
    assert re.search(message, capsys.readouterr().err.replace("\n", " "))
