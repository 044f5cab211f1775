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


SMALL = ["--embedding-dim", 8, "--num-layers", 1, "--batch-size", 4, "--steps", 7, "--rounds", 2]
LOSSES = [
    "--skip-share",
    0.3,
    "--no-jit-compile",
    "--model-arguments",
    "{}",
    '{"objective":"gbce"}',
]


@pytest.mark.parametrize(("negatives", "options"), [(0, []), (10, []), (10, LOSSES)])
def test_training_benchmark(monkeypatch, tmp_path, negatives, options):
    sizes = ["--items", 50, 100, "--num-sampled-negatives", negatives, "--out", tmp_path]
    run(monkeypatch, "training_benchmark", *SMALL, *sizes, *options)
    found = json.loads((tmp_path / "training_benchmark.json").read_text())
    cases = [(case["items"], case["optimizer"]) for case in found["cases"]]
    names = ["LazyAdam", 'LazyAdam {"objective": "gbce"}'] if options else ["LazyAdam"]
    assert cases == [(items, name) for items in (50, 100) for name in names]
    assert all(0 < case["share"] < 1 for case in found["cases"])


def test_published_size(monkeypatch, tmp_path):
    out = tmp_path / "figures.json"
    sizes = ["--sessions", 400, "--num-items", 500, "--examples", 50, "--out", out]
    run(monkeypatch, "published_size", "--num-sampled-negatives", 20, *sizes)
    found = json.loads(out.read_text())
    assert found["metrics"]["num_examples"] == 50
    assert found["bare_products_seconds"] > 0


def test_published_table(monkeypatch, tmp_path):
    out = tmp_path / "figures.json"
    sizes = ["--sessions", 300, "--num-items", 300, "--examples", 50, "--epochs", 1, "--out", out]
    small = ["--num-sampled-negatives", 20, "--embedding-dim", 8, "--num-heads", 2]
    run(monkeypatch, "published_table", "--model", "sasrec", *sizes, *small)
    found = json.loads(out.read_text())
    assert list(found) == [
        "sasrec",
        "sasrec + contrastive (hidden)",
        "sasrec + contrastive (item)",
        "sasrec + keep",
    ]
    for metrics in found.values():  # all items are candidates of either
        assert metrics["sampled_hr@10"] == metrics["hr@10"]


def test_export_benchmark(monkeypatch, tmp_path, capsys):
    out = tmp_path / "figures.json"
    sizes = ["--sessions", 200, "--epochs", 1, "--histories", 20, "--out", out]
    run(monkeypatch, "export_benchmark", *sizes)
    found = {one["form"]: one for one in json.loads(out.read_text())}
    for form in ("Keras", "SavedModel", "ONNX, onnxruntime", "LiteRT (ids, no vocabulary)"):
        assert found[form]["agree_of_ten"] > 9.9, found[form]
    assert found["SavedModel, int8 table"]["bytes"] < found["SavedModel"]["bytes"]
    openvino = found["OpenVINO (ids, no vocabulary)"]
    assert openvino.get("failed") == "pip install openvino" or openvino["agree_of_ten"] > 9.9
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 100
