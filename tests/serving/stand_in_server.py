"""A stand-in for TF Serving, for tests that cannot start the real server.

It answers `Predict` and `GetModelMetadata` over gRPC and the same over REST, from SavedModels that
TensorFlow loads in this process. It is strict where TF Serving is strict: every input must be there
and of the type of the signature. Over gRPC the real server fills in defaults, and its messages are
only like these. There is no batching, no versions, no labels, no reloading.
"""

from __future__ import annotations

import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc

METRICS = "/monitoring/prometheus/metrics"
CODES = {code.value[0]: code for code in grpc.StatusCode}
HTTP_CODES = {grpc.StatusCode.NOT_FOUND: 404, grpc.StatusCode.UNAVAILABLE: 503}


class RefusedError(Exception):
    """An answer that is an error: a gRPC status code and a message."""


class StandInServer(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Serves SavedModels on two free ports while its context is open.

    Attributes:
        grpc_port, rest_port: where it listens.
        received: (signature, inputs) of each request for a prediction.
        busy_every: int or None. Every so manieth one is refused, as when a queue is full.
    """

    def __init__(self, version_folders: dict[str, Path]):
        self.loaded = {name: tf.saved_model.load(str(f)) for name, f in version_folders.items()}
        self.metadata = {}
        for name, folder in version_folders.items():
            saved = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
            self.metadata[name] = get_model_metadata_pb2.SignatureDefMap(
                signature_def=saved.meta_graphs[0].signature_def
            )
        self.received: list[tuple[str, dict]] = []
        self.busy_every: int | None = None
        self._lock = threading.Lock()

    def __enter__(self):
        self._grpc_server = grpc.server(ThreadPoolExecutor(4))
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(self, self._grpc_server)
        self.grpc_port = self._grpc_server.add_insecure_port("127.0.0.1:0")
        self._grpc_server.start()
        handler = type("Handler", (_RestHandler,), {"stand_in": self})
        self._rest_server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.rest_port = self._rest_server.server_port
        threading.Thread(target=self._rest_server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._grpc_server.stop(None).wait()
        self._rest_server.shutdown()
        self._rest_server.server_close()

    def metadata_of(self, model: str) -> get_model_metadata_pb2.SignatureDefMap:
        if model not in self.metadata:
            message = f"Servable not found for request: Latest({model})"
            raise RefusedError(grpc.StatusCode.NOT_FOUND, message)
        return self.metadata[model]

    def predict(self, model: str, name: str, inputs: dict[str, np.ndarray]) -> dict:
        with self._lock:
            self.received.append((name, inputs))
            if self.busy_every and len(self.received) % self.busy_every == 0:
                raise RefusedError(
                    grpc.StatusCode.UNAVAILABLE, "The batch scheduling queue is full"
                )
        wanted = self.metadata_of(model).signature_def[name].inputs
        wanted = {key: tf.as_dtype(info.dtype) for key, info in wanted.items()}
        if {key: value.dtype for key, value in inputs.items()} != wanted:
            raise RefusedError(grpc.StatusCode.INVALID_ARGUMENT, f"inputs must be {wanted}")
        tensors = {key: tf.constant(value, wanted[key]) for key, value in inputs.items()}
        try:
            outputs = self.loaded[model].signatures[name](**tensors)
        except tf.errors.OpError as error:
            raise RefusedError(CODES[error.error_code], error.message) from error
        return {key: tensor.numpy() for key, tensor in outputs.items()}

    def Predict(self, request, context):  # noqa: N802
        inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
        spec, answer = request.model_spec, predict_pb2.PredictResponse()
        try:
            for key, value in self.predict(spec.name, spec.signature_name, inputs).items():
                answer.outputs[key].CopyFrom(tf.make_tensor_proto(value))
        except RefusedError as error:
            context.abort(*error.args)
        return answer

    def GetModelMetadata(self, request, context):  # noqa: N802
        answer = get_model_metadata_pb2.GetModelMetadataResponse()
        try:
            answer.metadata["signature_def"].Pack(self.metadata_of(request.model_spec.name))
        except RefusedError as error:
            context.abort(*error.args)
        return answer


class _RestHandler(BaseHTTPRequestHandler):
    stand_in: StandInServer

    def do_GET(self):
        if self.path == METRICS:
            self._send(200, "# TYPE :tensorflow:serving:request_count counter\n")
        else:
            self._answer(r"/v1/models/([^/:]+)/metadata", self._metadata)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer(r"/v1/models/([^/:]+):predict", self._predict, **body)

    def _metadata(self, model: str) -> dict:
        signatures = json_format.MessageToDict(
            self.stand_in.metadata_of(model),
            preserving_proto_field_name=True,
            always_print_fields_with_no_presence=True,
        )
        return {"metadata": {"signature_def": signatures}}

    def _predict(self, model: str, signature_name: str, inputs: dict) -> dict:
        wanted, arrays = self.stand_in.metadata_of(model).signature_def[signature_name].inputs, {}
        for key, info in wanted.items():
            dtype, array = tf.as_dtype(info.dtype), np.array(inputs[key])
            # Like TF Serving, it takes no 1.0 for 1 and no 1 for "1".
            assert array.dtype.kind in ("U" if dtype == tf.string else "i")
            arrays[key] = array.astype(dtype.as_numpy_dtype)
        outputs = self.stand_in.predict(model, signature_name, arrays)
        if "item_ids" in outputs and outputs["item_ids"].dtype == object:
            outputs["item_ids"] = np.char.decode(outputs["item_ids"].astype(bytes), "utf-8")
        lists = {key: value.tolist() for key, value in outputs.items()}
        return {"outputs": lists if len(lists) > 1 else next(iter(lists.values()))}

    def _answer(self, pattern: str, make, **body) -> None:
        try:
            if not (found := re.fullmatch(pattern, self.path)):
                raise RefusedError(grpc.StatusCode.NOT_FOUND, f"Malformed request: {self.path}")
            self._send(200, json.dumps(make(found[1], **body)))
        except RefusedError as error:
            code, message = error.args
            self._send(HTTP_CODES.get(code, 400), json.dumps({"error": message}))

    def _send(self, code: int, text: str) -> None:
        self.send_response(code)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass
