"""From a model to answers."""

from keras_negrec.serving.export import export
from keras_negrec.serving.export_onnx import export_onnx
from keras_negrec.serving.recommend import Recommendation, recommend
from keras_negrec.serving.write_server_config import write_server_config
from keras_negrec.serving.write_warmup_requests import write_warmup_requests

__all__ = [
    "Recommendation",
    "export",
    "export_onnx",
    "recommend",
    "write_server_config",
    "write_warmup_requests",
]


def __dir__():
    return __all__
