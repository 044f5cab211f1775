"""Keras, loaded without the lines that TensorFlow writes while it starts.

`TF_CPP_MIN_LOG_LEVEL` silences what comes later. TensorFlow writes the first ones before it reads
that, straight to the terminal, so that these go nowhere while it loads; errors of the loading
itself are Python exceptions, and are shown.
"""

import logging
import os

from progress import doing, no_standard_error

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


with doing("loading Keras and TensorFlow"), no_standard_error():
    import keras as keras

    from keras_negrec.backend.tensorflow import tf as tf

for _name in ("absl", "tensorflow"):
    logging.getLogger(_name).setLevel(logging.ERROR)
