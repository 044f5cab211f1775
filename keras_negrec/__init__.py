"""Next-item recommendation in Keras 3 that learns from what people skip."""

import lazy_loader

from keras_negrec import (
    backend as backend,  # what TensorFlow reads from the environment before it starts
)

# Keras and all else load when they are used: `__init__.pyi` says from where.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

__version__ = "0.1.0"
