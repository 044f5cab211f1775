"""An export that is killed, or meets another one, leaves whole versions only."""

import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
from small_model import ITEMS, on_tensorflow

import keras_negrec

pytestmark = [on_tensorflow, pytest.mark.thorough]

EXPORT_FOR_EVER = """
import sys
import keras
import keras_negrec.models
model = keras.saving.load_model(sys.argv[1])
print("ready", flush=True)
while True:
    print(keras_negrec.export(model, sys.argv[2], k=3).name, flush=True)
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "exports").mkdir()
    return tmp_path / "exports"


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


def stop(process):
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()


def check_versions(model, folder):
    """All versions are there from 1, with the same files, and each answers as the model does."""
    numbers = sorted(int(entry.name) for entry in folder.iterdir() if entry.name.isdigit())
    assert numbers == list(range(1, len(numbers) + 1))
    [expected] = keras_negrec.recommend(model, [ITEMS[1:3]], k=3)
    contents = set()
    for version in (folder / str(number) for number in numbers):
        contents.add(frozenset(str(file.relative_to(version)) for file in version.rglob("*")))
        recommend = tf.saved_model.load(str(version)).signatures["serving_default"]
        answer = recommend(item_ids=tf.constant([ITEMS[1:3]]), feedback=tf.constant([[1, 1]]))
        assert [i.decode() for i in answer["item_ids"].numpy()[0]] == [r.item for r in expected]
        scores = [r.score for r in expected]
        np.testing.assert_allclose(answer["scores"].numpy()[0], scores, atol=1e-4)
    assert len(contents) == 1
    return len(numbers)


def test_killed_at_random_moments(model, folder):
    started = time.monotonic()
    keras_negrec.export(model, folder, k=3)
    one_export = time.monotonic() - started
    for kill in range(20):
        process = start(model, folder)
        time.sleep(random.Random(kill).uniform(0, 2) * one_export)
        stop(process)
    check_versions(model, folder)
    keras_negrec.export(model, folder)
    assert list(folder.glob(".partial-*")) == [], "what a killed export left is cleaned up"


def test_two_exports_at_once_make_two_versions(model, folder):
    process = start(model, folder)
    keras_negrec.export(model, folder, k=3)
    process.stdout.readline()
    stop(process)
    assert check_versions(model, folder) >= 2
