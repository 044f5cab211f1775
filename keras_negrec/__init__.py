"""Next-item recommendation in Keras 3 that learns from what people skip."""

import sys

import lazy_loader

from keras_negrec import backend as backend  # what TensorFlow reads before it starts

# What reads logs, serves and compares loads when it is used: `__init__.pyi` says from where.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

__version__ = "0.1.0"

# Keras finds classes in a saved model once they are registered, as importing them does. The
# commands `python -m keras_negrec.data` and `.serving` load no such model, and do not wait for it.
if not {"keras_negrec.data", "keras_negrec.serving"} & {*sys.orig_argv}:
    from keras_negrec import models as models
