"""Training on several devices of one machine, with what TensorFlow and Keras have for it."""

import contextlib
import functools

from quiet import keras

_DOCS = {
    "tensorflow": "tf.config.set_logical_device_configuration",
    "jax": "XLA_FLAGS=--xla_force_host_platform_device_count=N",
}


def over_devices(count: int, shard_items: bool = False, *, num_items: int = 0):
    """A context to build models in that train on `count` devices.

    Each batch is divided between the devices, which hold all weights (data parallel): on
    TensorFlow by `tf.distribute.MirroredStrategy`, on JAX by `keras.distribution.DataParallel`.
    With `shard_items`, on JAX alone, by `keras.distribution.ModelParallel`: each device holds a
    part of the item table and of its moments, and they share in scoring the catalogue. A part is
    some of the items, or, where their number can't be divided by that of the devices, some of the
    columns of all.

    Losses are those of one device. But TensorFlow takes the mean over the devices of their means:
    where these have unequal numbers of targets, each target of the one with fewer counts more.

    Args:
        count: int. 1 is one device and changes nothing.
        shard_items: bool. Whether the item table is divided.
        num_items: int. Rows of that table.

    Raises:
        ValueError: fewer devices; a backend that can't.
    """
    backend = keras.config.backend()
    if shard_items and backend != "jax":
        raise ValueError(f"--shard-items is for KERAS_BACKEND=jax. Received: {backend}")
    if count == 1:
        return contextlib.nullcontext()
    if backend not in _DOCS:
        raise ValueError(f"--devices is for TensorFlow and JAX. Received: KERAS_BACKEND={backend}")
    found = keras.distribution.list_devices() if backend == "jax" else _tensorflow_devices()
    if len(found) < count:
        raise ValueError(
            f"--devices {count} wants as many. Found: {', '.join(found)}. A processor can stand "
            f"for several: see {_DOCS[backend]}"
        )
    found = found[:count]
    if backend == "tensorflow":
        return _mirrored_strategy(*found).scope()
    if not shard_items:
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=found))
        return contextlib.nullcontext()
    mesh = keras.distribution.DeviceMesh((1, count), ("batch", "items"), found)
    layout = keras.distribution.LayoutMap(mesh)
    # The table and what the optimizer keeps of it: its name is part of theirs.
    divided_by_rows = num_items % count == 0
    layout[".*item_embedding.embeddings"] = ("items", None) if divided_by_rows else (None, "items")
    keras.distribution.set_distribution(
        keras.distribution.ModelParallel(layout_map=layout, batch_dim_name="batch")
    )
    return contextlib.nullcontext()


@functools.cache  # a second strategy in a process mixes up its sums with those of the first
def _mirrored_strategy(*devices: str):
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(devices)


def _tensorflow_devices() -> list[str]:
    import tensorflow as tf

    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return [device.name for device in devices]
