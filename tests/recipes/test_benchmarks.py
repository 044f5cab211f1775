"""The benchmarks run, on next to nothing, and write what they say."""

import json
import runpy
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "recipes" / "benchmarks"

pytestmark = pytest.mark.thorough


def run(monkeypatch, name, *arguments):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    runpy.run_path(str(BENCHMARKS / f"{name}.py"), run_name="__main__")


@pytest.mark.parametrize("negatives", [0, 10])
def test_benchmark(monkeypatch, tmp_path, negatives):
    run(
        monkeypatch,
        "training_benchmark",
        *("--items", 50, 100, "--num-sampled-negatives", negatives, "--embedding-dim", 8),
        *("--batch-size", 4, "--steps", 7, "--rounds", 2, "--num-layers", 1, "--out", tmp_path),
    )
    found = json.loads((tmp_path / "training_benchmark.json").read_text())
    assert [case["items"] for case in found["cases"]] == [50, 100]
    assert all(0 < case["share"] < 1 for case in found["cases"])


def test_benchmark_of_losses(monkeypatch, tmp_path):
    run(
        monkeypatch,
        "training_benchmark",
        *("--items", 50, "--num-sampled-negatives", 10, "--embedding-dim", 8, "--num-layers", 1),
        *("--model-arguments", "{}", '{"objective": "gbce", "negative_loss": true}'),
        *("--skip-share", 0.3, "--no-jit-compile"),
        *("--batch-size", 4, "--steps", 7, "--rounds", 2, "--out", tmp_path),
    )
    cases = json.loads((tmp_path / "training_benchmark.json").read_text())["cases"]
    names = [case["optimizer"] for case in cases]
    assert names == ["LazyAdam", 'LazyAdam {"objective": "gbce", "negative_loss": true}']


def test_published_size(monkeypatch, tmp_path):
    out = tmp_path / "figures.json"
    run(
        monkeypatch,
        "published_size",
        *("--sessions", 400, "--num-items", 500, "--embedding-dim", 16, "--num-layers", 1),
        *("--num-sampled-negatives", 20, "--examples", 50, "--out", out),
    )
    found = json.loads(out.read_text())
    assert found["metrics"]["num_examples"] == 50
    assert found["bare_products_seconds"] > 0
