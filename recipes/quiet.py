"""Keras, loaded without the lines that TensorFlow writes while it starts.

`TF_CPP_MIN_LOG_LEVEL` silences what comes later. TensorFlow writes the first ones before it reads
that, straight to the terminal, so that these go nowhere while it loads; errors of the loading
itself are Python exceptions, and are shown.
"""

import contextlib
import logging
import os

from progress import doing

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@contextlib.contextmanager
def _no_standard_error():
    terminal = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(nowhere)
        os.close(terminal)


with doing("loading Keras and TensorFlow"), _no_standard_error():
    import keras as keras

    from keras_negrec.backend.tensorflow import tf as tf

for _name in ("absl", "tensorflow"):
    logging.getLogger(_name).setLevel(logging.ERROR)
