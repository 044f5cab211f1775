"""From a model to answers."""

import sys

# The command `python -m keras_negrec.serving` needs none of this, and answers without Keras.
if "keras_negrec.serving" not in sys.orig_argv:
    from keras_negrec.serving.export import export
    from keras_negrec.serving.export_onnx import export_onnx
    from keras_negrec.serving.recommend import Recommendation, recommend
    from keras_negrec.serving.write_sample import write_sample
    from keras_negrec.serving.write_server_config import write_server_config
    from keras_negrec.serving.write_warmup_requests import write_warmup_requests

__all__ = [
    "Recommendation",
    "export",
    "export_onnx",
    "recommend",
    "write_sample",
    "write_server_config",
    "write_warmup_requests",
]


def __dir__():
    return __all__
