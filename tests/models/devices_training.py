"""Trains a model on devices of a processor that stands for two, and prints its losses as JSON.

python devices_training.py DEVICES CASE [--shard-items]
"""

import json
import os
import sys
from pathlib import Path

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"  # JAX

import keras
import numpy as np
import tensorflow as tf

import keras_negrec

sys.path.append(str(Path(__file__).parents[2] / "recipes"))
from devices import over_devices

CASES = {
    "fused": {"fused_softmax": True, "negative_loss": True, "feedback_inputs": True},
    "sampled": {"num_sampled_negatives": 20},
    "two optimizers": {"num_sampled_negatives": 20, "dense_optimizer": "adamw", "num_items": 101},
}


def sessions():
    random = np.random.default_rng(0)
    feedback = [[1, -1, 1, 1, -1, 1, 1, -1, 1]] * 32  # all devices have as many targets
    return keras_negrec.data.Sessions.from_lists(
        random.integers(1, 101, (32, 9)).tolist(), feedback
    )


def train(name, devices, shard_items, dense_optimizer=None, num_items=100, **options):
    keras.utils.set_random_seed(0)
    with over_devices(devices, shard_items, num_items=num_items):
        if dense_optimizer is not None:
            options["optimizer"] = keras_negrec.optimizers.LazyAdam(dense_optimizer=dense_optimizer)
        model = keras_negrec.build_model(
            name,
            num_items=num_items,
            embedding_dim=16,
            max_length=8,
            dropout=0.0,
            num_layers=1,
            **options,
        )
    dataset = model.training_dataset(sessions(), batch_size=8, shuffle=False)
    split = keras_negrec.data.leave_one_out(sessions())
    validation = keras_negrec.callbacks.RankingEvaluation(split.validation)
    history = model.fit(dataset, epochs=2, shuffle=False, verbose=0, callbacks=[validation])
    report = {"history": history.history}
    if keras.config.backend() == "tensorflow":
        return report | {"devices": model.distribute_strategy.num_replicas_in_sync}
    table = model.item_embedding.embeddings
    moment = model.optimizer._momentums[model.optimizer._get_variable_index(table)]
    shardings = [variable.value.sharding for variable in (table, moment)]
    return report | {
        "devices": len(shardings[0].device_set),
        "spread": [str(getattr(sharding, "spec", None)) for sharding in shardings],
    }


if __name__ == "__main__":
    devices, case, shard_items = int(sys.argv[1]), sys.argv[2], "--shard-items" in sys.argv
    if keras.config.backend() == "tensorflow":
        [processor] = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(
            processor, [tf.config.LogicalDeviceConfiguration()] * 2
        )
    print(json.dumps(train("sasrec", devices, shard_items, **CASES[case])))
