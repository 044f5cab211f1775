"""An export that is killed, or meets another one, leaves whole versions only."""

import os
import random
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_negrec
from keras_negrec.data import Vocabulary

pytestmark = pytest.mark.skipif(
    keras.config.backend() != "tensorflow",
    reason="exports are written by a TensorFlow process on every backend",
)

EXPORT_FOR_EVER = """
import sys
import keras
import keras_negrec.models
model = keras.saving.load_model(sys.argv[1])
print("ready", flush=True)
while True:
    print(keras_negrec.export(model, sys.argv[2], k=3).name, flush=True)
"""
KILLS = 20 if os.environ.get("KERAS_NEGREC_THOROUGH") else 2


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    items = [f"track {i}" for i in range(12)]
    return keras_negrec.build_model(
        "sasrec", vocabulary=Vocabulary(items), embedding_dim=8, num_layers=1, max_length=5
    )


def start(model, folder):
    saved = folder.parent / "model.keras"
    model.save(saved)
    process = subprocess.Popen(
        [sys.executable, "-c", EXPORT_FOR_EVER, str(saved), str(folder)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def versions(folder):
    return sorted(int(entry.name) for entry in folder.iterdir() if entry.name.isdigit())


def check_versions(model, folder):
    """All versions are there from 1, and each answers as the model does."""
    numbers = versions(folder)
    assert numbers == list(range(1, len(numbers) + 1))
    [expected] = keras_negrec.recommend(model, [["track 1", "track 2"]], k=3)
    contents = {
        number: {str(file.relative_to(folder / str(number))) for file in files}
        for number in numbers
        for files in [list((folder / str(number)).rglob("*"))]
    }
    assert len(set(map(frozenset, contents.values()))) <= 1
    for number in numbers:
        recommend = tf.saved_model.load(str(folder / str(number))).signatures["serving_default"]
        answer = recommend(
            item_ids=tf.constant([["track 1", "track 2"]]), feedback=tf.constant([[1, 1]])
        )
        assert [i.decode() for i in answer["item_ids"].numpy()[0]] == [r.item for r in expected]
        np.testing.assert_allclose(
            answer["scores"].numpy()[0], [r.score for r in expected], atol=1e-5
        )


def test_killed_at_random_moments(model, tmp_path):
    """Twice, or with KERAS_NEGREC_THOROUGH=1 in the environment twenty times."""
    folder = tmp_path / "exports"
    folder.mkdir()
    started = time.monotonic()
    keras_negrec.export(model, folder, k=3)
    one_export = time.monotonic() - started
    leftovers = 0
    for kill in range(KILLS):
        process = start(model, folder)
        time.sleep(random.Random(kill).uniform(0, 2) * one_export)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        leftovers += len(list(folder.glob(".partial-*")))
    check_versions(model, folder)
    print(f"{KILLS} kills: {len(versions(folder))} whole versions, {leftovers} partial folders")
    keras_negrec.export(model, folder)
    assert list(folder.glob(".partial-*")) == [], "what a killed export left is cleaned up"


def test_what_a_killed_export_left_is_no_version(model, tmp_path):
    leftover = tmp_path / ".partial-abc"
    (leftover / "variables").mkdir(parents=True)
    assert keras_negrec.export(model, tmp_path).name == "1"
    assert not leftover.exists()


def test_two_exports_at_once_make_two_versions(model, tmp_path):
    folder = tmp_path / "exports"
    folder.mkdir()
    process = start(model, folder)
    keras_negrec.export(model, folder, k=3)
    process.stdout.readline()
    process.kill()
    process.wait()
    process.stdout.close()
    assert len(versions(folder)) >= 2
    check_versions(model, folder)
