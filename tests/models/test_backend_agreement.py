"""The same weights and batches give the same training on every backend.

    python test_backend_agreement.py OWN [OTHER]

trains, saves into the folder OWN, loads what another backend saved in the folder OTHER, and
prints losses, outputs and compile state as JSON.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1]))
from small_models import ENCODERS, FEW_ENCODERS, build, numpy
from thorough import THOROUGH
from toy_sessions import NUM_ITEMS

NAMES = ENCODERS if THOROUGH else FEW_ENCODERS
GO_ON = ("sasrec", "gru4rec")  # compiling takes long, and the optimizer knows no encoder
PROJECTED = {"projection_dim": 5, "context_dim": 3, "context_dropout": 0.0}


def terms_of(name):
    other = {"keep": 0.6} if name == "bert4rec" else {"not_to_recommend": 0.7}
    return {"contrastive": 0.4, "preference": 0.5, **other}


def with_same_weights(model):
    for i, weight in enumerate(model.trainable_weights):
        random = np.random.default_rng(i)
        # Scales and offsets start alike on every backend.
        if len(weight.shape) > 1 or weight.name in ("position_bias", "time_bias"):
            weight.assign(random.normal(scale=0.3, size=weight.shape).astype("float32"))
    return model


def batch(name):
    """What a model sees, its targets and the weights of these."""
    random = np.random.default_rng(0)
    items = random.integers(1, NUM_ITEMS + 1, (6, 8))
    items[0, :2] = items[1, :1] = 0
    feedback = np.where(items > 0, random.integers(-2, 3, items.shape), 0)
    x = {"item_ids": items, "feedback": feedback, "candidate_ids": items}
    if name == "hstu":
        x["timestamps"] = np.where(
            items > 0, np.cumsum(random.integers(0, 9**4, items.shape), 1), 0
        )
        x["request_timestamps"] = x["timestamps"] + random.integers(0, 9**4, (6, 1))
    x["target_positions"] = np.tile([2, 5, 7], (6, 1))  # events, not padding
    y = {
        "next_item": random.integers(0, NUM_ITEMS, (6, 3)),
        "contrastive": random.integers(-1, 1, (6, 3, 8)),
        "not_to_recommend": random.integers(0, NUM_ITEMS, (6, 3)),
        "keep": random.integers(0, 2, (6, 3, 8, 1)),
    }
    y["contrastive"][..., 4] = random.integers(0, 2, (6, 3)) * 2 - 1
    y["preference"] = y["contrastive"]
    y = {output: y[output] for output in ("next_item", *terms_of(name))}
    weight = {output: random.integers(0, 2, (6, 3)).astype("float32") for output in y}
    weight["contrastive"][:] = 1
    if "keep" in weight:
        weight["keep"] = random.integers(0, 2, (6, 3, 8)).astype("float32")
    x, y = keras.tree.map_structure(lambda values: values.astype("int32"), (x, y))
    return x, y, weight


def train(folder):
    report = {}
    for name in NAMES:
        options = {"learning_rate": 1e-3, "temperature": 0.3, "feedback_inputs": True}
        if name == "bert4rec":  # the forms with projections and a reference
            reference = with_same_weights(build(name, feedback_inputs=True))
            options |= PROJECTED | {"reference": reference}
        model = with_same_weights(build(name, negative_loss=terms_of(name), **options))
        losses = [model.train_on_batch(*batch(name), return_dict=True) for _ in range(20)]
        model.save(Path(folder) / f"{name}.keras")
        report[name] = {"losses": keras.tree.map_structure(float, losses), **state(name, model)}
    return report


def load(folder):
    return {
        name: state(name, keras.saving.load_model(Path(folder) / f"{name}.keras")) for name in NAMES
    }


def state(name, model):
    """What a saved model must keep: outputs, how it was compiled, and the next step's loss."""
    outputs = model.predict_on_batch(batch(name)[0])
    compiled = {
        "loss_weights": model.get_compile_config()["loss_weights"],
        "loss": type(model.loss["contrastive"]).__name__,
        "temperature": model.loss["contrastive"].temperature,
        "optimizer": type(model.optimizer).__name__,
        "learning_rate": float(model.optimizer.learning_rate),
        "iterations": int(model.optimizer.iterations),
    }
    # The second step's loss depends on the optimizer's moments.
    steps = [
        model.train_on_batch(*batch(name), return_dict=True) for _ in range(2 * (name in GO_ON))
    ]
    return {
        "outputs": {key: numpy(outputs[key]).tolist() for key in sorted(outputs)},
        "compiled": compiled,
        "next_losses": [float(logs["loss"]) for logs in steps],
    }


@pytest.mark.skipif(
    keras.config.backend() != "tensorflow",
    reason="one run compares all backends: that of the TensorFlow suite",
)
def test_training_and_saved_models_are_the_same_on_every_backend(tmp_path):
    folders = {name: tmp_path / name for name in ("tensorflow", "jax", "torch")}
    for folder in folders.values():
        folder.mkdir()
    reports = {"tensorflow": {"trained": train(folders["tensorflow"])}}
    processes = {
        backend: subprocess.Popen(
            [sys.executable, __file__, str(folders[backend]), str(folders["tensorflow"])],
            env={**os.environ, "KERAS_BACKEND": backend, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for backend in ("jax", "torch")
    }
    for backend, process in processes.items():
        printed, _ = process.communicate()
        assert process.returncode == 0
        reports[backend] = json.loads(printed.strip().splitlines()[-1])
    reports["tensorflow"]["loaded"] = load(folders["torch"])
    for name in NAMES:
        expected = reports["tensorflow"]["trained"][name]
        for backend in ("jax", "torch"):
            check_losses(expected["losses"], reports[backend]["trained"][name]["losses"])
            check_loaded(name, expected, reports[backend]["loaded"][name])
        check_loaded(name, reports["torch"]["trained"][name], reports["tensorflow"]["loaded"][name])


def check_losses(expected, found):
    assert len(expected) == 20
    for key in expected[0]:
        values, others = ([step[key] for step in steps] for steps in (expected, found))
        np.testing.assert_allclose(others, values, rtol=0, atol=1e-5)
    assert expected[-1]["loss"] < expected[0]["loss"] - 0.05
    assert expected[0]["contrastive_loss"] > 0.1


def check_loaded(name, expected, found):
    """What was trained on one backend, and loaded on another."""
    assert found["compiled"] == expected["compiled"]
    assert found["compiled"]["iterations"] == 20
    assert found["compiled"]["loss_weights"] == {"next_item": 1.0, **terms_of(name)}
    for key, values in expected["outputs"].items():
        np.testing.assert_allclose(found["outputs"][key], values, atol=1e-5)
    np.testing.assert_allclose(found["next_losses"], expected["next_losses"], atol=1e-4)
    assert len(found["next_losses"]) == 2 * (name in GO_ON)


if __name__ == "__main__":
    own, *other = sys.argv[1:]
    print(json.dumps({"trained": train(own), "loaded": load(other[0]) if other else None}))
