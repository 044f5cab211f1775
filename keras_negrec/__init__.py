"""Next-item recommendation in Keras 3 that learns from what people skip."""

import keras as keras  # first: it picks the backend, and PyTorch must load before TensorFlow

from keras_negrec import callbacks as callbacks
from keras_negrec import data as data
from keras_negrec import evaluation as evaluation
from keras_negrec import layers as layers
from keras_negrec import losses as losses
from keras_negrec import metrics as metrics
from keras_negrec import models as models
from keras_negrec import optimizers as optimizers
from keras_negrec import serving as serving
from keras_negrec.evaluation import compare as compare
from keras_negrec.evaluation import evaluate as evaluate
from keras_negrec.models import build_model as build_model
from keras_negrec.models import grow_vocabulary as grow_vocabulary
from keras_negrec.serving import export as export
from keras_negrec.serving import recommend as recommend

__version__ = "0.1.0"
