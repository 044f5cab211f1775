"""Optimizer configurations that every backend can read."""

from __future__ import annotations


def portable_config(config):
    """A serialized optimizer under its public name, and anything else as it is.

    On PyTorch, Keras names private subclasses, which train on no other backend.
    """
    if isinstance(config, dict) and ".backend.torch." in (config.get("module") or ""):
        return {**config, "module": "keras.optimizers", "registered_name": None}
    return config
