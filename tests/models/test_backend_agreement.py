"""The same weights and batches give the same training on every backend."""

import json
import os
import subprocess
import sys
from pathlib import Path

import fixed_training
import keras
import numpy as np
import pytest

SCRIPT = Path(fixed_training.__file__)

pytestmark = pytest.mark.skipif(
    keras.config.backend() != "tensorflow",
    reason="one run compares all backends: that of the TensorFlow suite",
)


def start(backend, own, other):
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(own), str(other)],
        env={**os.environ, "KERAS_BACKEND": backend, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )


def report_of(process):
    printed, _ = process.communicate()
    assert process.returncode == 0
    return json.loads(printed.strip().splitlines()[-1])


def test_training_and_saved_models_are_the_same_on_every_backend(tmp_path):
    folders = {name: tmp_path / name for name in ("tensorflow", "jax", "torch")}
    for folder in folders.values():
        folder.mkdir()
    reports = {"tensorflow": {"trained": fixed_training.train(folders["tensorflow"])}}
    processes = {
        backend: start(backend, folders[backend], folders["tensorflow"])
        for backend in ("jax", "torch")
    }
    reports |= {backend: report_of(process) for backend, process in processes.items()}
    reports["tensorflow"]["loaded"] = fixed_training.load(folders["torch"])
    for name in fixed_training.NAMES:
        for backend in ("jax", "torch"):
            check_losses(*(reports[one]["trained"][name] for one in ("tensorflow", backend)))
            check_loaded(
                name, reports["tensorflow"]["trained"][name], reports[backend]["loaded"][name]
            )
        check_loaded(name, reports["torch"]["trained"][name], reports["tensorflow"]["loaded"][name])


def check_losses(expected, found):
    expected, found = expected["losses"], found["losses"]
    assert len(expected) == 20
    for key in ("loss", "next_item_loss", "contrastive_loss"):
        np.testing.assert_allclose(
            [step[key] for step in found], [step[key] for step in expected], rtol=0, atol=1e-4
        )
    assert expected[-1]["loss"] < expected[0]["loss"] - 0.05
    assert expected[0]["contrastive_loss"] > 0.1


def check_loaded(name, expected, found):
    """What was trained on one backend, and loaded on another."""
    assert found["compiled"] == expected["compiled"]
    assert found["compiled"]["iterations"] == 20
    weights = {"next_item": 1.0, "contrastive": 0.4, "not_to_recommend": 0.7}
    assert found["compiled"]["loss_weights"] == weights
    for key, values in expected["outputs"].items():
        np.testing.assert_allclose(found["outputs"][key], values, atol=1e-5)
    np.testing.assert_allclose(found["next_losses"], expected["next_losses"], atol=1e-4)
    assert len(found["next_losses"]) == 2 * (name in fixed_training.GO_ON)
