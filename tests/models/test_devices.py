"""Several devices give the training of one.

    python test_devices.py DEVICES CASE [--shard-items]

trains a model on devices of a processor that stands for two, and prints its losses as JSON.
"""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

if __name__ == "__main__":
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"  # JAX

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_negrec

BACKEND = keras.config.backend()
CASES = {
    "fused": {"fused_softmax": True, "negative_loss": "contrastive", "feedback_inputs": True},
    "sampled": {"num_sampled_negatives": 20},
    "two optimizers": {"num_sampled_negatives": 20, "dense_optimizer": "adamw", "num_items": 101},
}


def train(devices, shard_items, dense_optimizer=None, num_items=100, **options):
    sys.path.append(str(Path(__file__).parents[2] / "recipes"))
    from devices import over_devices

    keras.utils.set_random_seed(0)
    with over_devices(devices, shard_items, num_items=num_items):
        if dense_optimizer is not None:
            options["optimizer"] = keras_negrec.optimizers.LazyAdam(dense_optimizer=dense_optimizer)
        options |= {"embedding_dim": 16, "max_length": 8, "dropout": 0.0, "num_layers": 1}
        model = keras_negrec.build_model("sasrec", num_items=num_items, **options)
    items = np.random.default_rng(0).integers(1, 101, (32, 9)).tolist()
    feedback = [[1, -1, 1, 1, -1, 1, 1, -1, 1]] * 32  # all devices have as many targets
    sessions = keras_negrec.data.Sessions.from_lists(items, feedback)
    dataset = model.training_dataset(sessions, batch_size=8, shuffle=False)
    split = keras_negrec.data.leave_one_out(sessions)
    validation = keras_negrec.callbacks.RankingEvaluation(split.validation)
    history = model.fit(dataset, epochs=2, shuffle=False, verbose=0, callbacks=[validation])
    report = {"history": history.history}
    if BACKEND == "tensorflow":
        return report | {"devices": model.distribute_strategy.num_replicas_in_sync}
    table = model.item_embedding.embeddings
    moment = model.optimizer._momentums[model.optimizer._get_variable_index(table)]
    shardings = [variable.value.sharding for variable in (table, moment)]
    return report | {
        "devices": len(shardings[0].device_set),
        "spread": [str(getattr(sharding, "spec", None)) for sharding in shardings],
    }


pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(
        BACKEND == "torch", reason="Keras trains on several devices on TensorFlow and JAX alone"
    ),
]
cases = pytest.mark.parametrize("case", ["sampled", "fused", "two optimizers"])
needs_jax = pytest.mark.skipif(BACKEND != "jax", reason="keras.distribution is for JAX")


@functools.cache
def training(*arguments):
    done = subprocess.run(
        [sys.executable, __file__, *arguments],
        env={**os.environ, "KERAS_BACKEND": BACKEND},
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else done.stderr


@cases
@pytest.mark.parametrize("options", [[], pytest.param(["--shard-items"], marks=needs_jax)])
def test_losses_are_those_of_one_device(options, case):
    one, several = training("1", case), training("2", case, *options)
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


def test_what_is_not_there_is_said():
    assert "--devices 3 wants as many" in training("3", "sampled")
    if BACKEND == "tensorflow":
        message = training("2", "sampled", "--shard-items")
        assert "--shard-items is for KERAS_BACKEND=jax" in message


if __name__ == "__main__":
    if BACKEND == "tensorflow":
        [processor] = tf.config.list_physical_devices("CPU")
        logical = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(processor, logical)
    devices, case, *options = sys.argv[1:]
    print(json.dumps(train(int(devices), options == ["--shard-items"], **CASES[case])))
