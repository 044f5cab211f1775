"""Several devices give the training of one."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

BACKEND = keras.config.backend()
SCRIPT = Path(__file__).with_name("devices_training.py")

pytestmark = pytest.mark.skipif(
    BACKEND == "torch", reason="Keras trains on several devices on TensorFlow and JAX alone"
)
cases = pytest.mark.parametrize(
    "case",
    [
        "sampled",
        pytest.param("fused", marks=pytest.mark.thorough),
        pytest.param("two optimizers", marks=pytest.mark.thorough),
    ],
)
needs_jax = pytest.mark.skipif(BACKEND != "jax", reason="keras.distribution is for JAX")


@functools.cache
def training(*arguments):
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        env={**os.environ, "KERAS_BACKEND": BACKEND},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


@cases
@pytest.mark.parametrize(
    "arguments", [["2"], pytest.param(["2", "--shard-items"], marks=needs_jax)]
)
def test_losses_are_those_of_one_device(arguments, case):
    one, several = training("1", case), training(arguments[0], case, *arguments[1:])
    assert (one["devices"], several["devices"]) == (1, 2)
    assert set(several["history"]) == set(one["history"])
    for name, values in several["history"].items():
        assert values == pytest.approx(one["history"][name], rel=1e-4, abs=1e-4), name


@needs_jax
@cases
def test_each_device_holds_a_part_of_the_items(case):
    part = "P(None, 'items')" if case == "two optimizers" else "P('items', None)"  # of 101 items
    # of the table and of its moments
    assert training("2", case, "--shard-items")["spread"] == [part] * 2


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["3", "sampled"], "--devices 3 wants as many"),
        pytest.param(
            ["2", "sampled", "--shard-items"],
            "--shard-items is for KERAS_BACKEND=jax",
            marks=pytest.mark.skipif(BACKEND != "tensorflow", reason="JAX can"),
        ),
    ],
)
def test_what_is_not_there_is_said(arguments, message):
    with pytest.raises(subprocess.CalledProcessError) as error:
        subprocess.run(
            [sys.executable, str(SCRIPT), *arguments],
            env={**os.environ, "KERAS_BACKEND": BACKEND},
            capture_output=True,
            text=True,
            check=True,
        )
    assert message in error.value.stderr
