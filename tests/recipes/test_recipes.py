"""Each recipe runs the whole way on a small file in its data's format."""

import json
import runpy
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

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
    assert list(results) == ["sasrec", "popularity"]
    assert "skip HR@10  " not in printed
