from keras_negrec.serving.export import export as export
from keras_negrec.serving.export_onnx import export_onnx as export_onnx
from keras_negrec.serving.recommend import Recommendation as Recommendation
from keras_negrec.serving.recommend import recommend as recommend
from keras_negrec.serving.write_server_config import write_server_config as write_server_config
from keras_negrec.serving.write_warmup_requests import (
    write_warmup_requests as write_warmup_requests,
)
