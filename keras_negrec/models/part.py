"""What an encoder, an objective and a feedback term have in common."""

from __future__ import annotations

import inspect

import keras
import numpy as np
from keras import ops


class Part:
    """An exchangeable part of a model: an object with a Keras-style config.

    The object that a model is given says how the part is to be: the model makes one of its own
    from its config, with layers of its own. Register a class of yours with
    `keras.saving.register_keras_serializable`, so that models with it can be loaded, and keep its
    arguments as attributes of the same names, or override `get_config`.
    """

    def get_config(self) -> dict:
        """The arguments that make this part again."""
        inits = [vars(base).get("__init__") for base in reversed(type(self).__mro__)]
        names = [name for init in inits if init for name in inspect.signature(init).parameters]
        return {name: getattr(self, name) for name in dict.fromkeys(names) if hasattr(self, name)}

    @classmethod
    def from_config(cls, config: dict):
        return cls(**config)

    def copy(self):
        """A part that is as this one, without its layers."""
        return type(self).from_config(self.get_config())

    def start_new_items(self, first: int) -> None:
        """Gives the items from row `first` on, new in a grown catalogue, values to start with."""

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({values})"


def set_rows(variable: keras.Variable, first: int, start) -> None:
    """Sets the rows from `first` on to an array, or to what a function makes of the others."""
    values = np.array(ops.convert_to_numpy(variable))
    values[first:] = start(values[:first]) if callable(start) else start
    variable.assign(values)
