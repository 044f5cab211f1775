"""A stand-in for TF Serving, for tests that cannot start the real server.

It answers `Predict` and `GetModelMetadata` over gRPC and the same over REST, from SavedModels that
TensorFlow loads in this process. It is strict where TF Serving is strict: over gRPC types must be
those of the signature, over REST every input must be there, also one with a default. It is not
TF Serving: no batching, no versions, no labels, no reloading, and its messages are only like the
server's.
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
INVALID = grpc.StatusCode.INVALID_ARGUMENT


class RefusedError(Exception):
    """An answer that is an error."""

    def __init__(self, code: grpc.StatusCode, message: str):
        super().__init__(message)
        self.code = code


class Model:
    """A SavedModel and its signatures."""

    def __init__(self, version_folder: Path):
        saved = saved_model_pb2.SavedModel.FromString(
            (Path(version_folder) / "saved_model.pb").read_bytes()
        )
        self.signatures = saved.meta_graphs[0].signature_def
        self.loaded = tf.saved_model.load(str(version_folder))

    def predict(self, name: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        signature = self.signatures[name]
        needed = set(signature.inputs) - set(signature.defaults)
        if not needed <= set(inputs) <= set(signature.inputs):
            raise RefusedError(INVALID, f"input size does not match signature: {set(inputs)}")
        tensors = {}
        for key, info in signature.inputs.items():
            value = inputs[key] if key in inputs else tf.make_ndarray(signature.defaults[key])
            dtype = tf.as_dtype(info.dtype)
            if np.dtype(dtype.as_numpy_dtype) != value.dtype:
                raise RefusedError(INVALID, f"{key} is {value.dtype.name}, not {dtype.name}")
            tensors[key] = tf.constant(value, dtype)
        try:
            outputs = self.loaded.signatures[name](**tensors)
        except tf.errors.OpError as error:
            raise RefusedError(CODES[error.error_code], error.message) from error
        return {key: tensor.numpy() for key, tensor in outputs.items()}


class StandInServer(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Serves SavedModels on two free ports while its context is open.

    Attributes:
        grpc_port, rest_port: where it listens.
        received: (model, signature, inputs) of each request for a prediction.
        busy_every: int or None. Every so manieth prediction is refused, as by a server whose
            batching queue is full.
    """

    def __init__(self, version_folders: dict[str, Path]):
        self.models = {name: Model(folder) for name, folder in version_folders.items()}
        self.received: list[tuple[str, str, dict[str, np.ndarray]]] = []
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

    def model(self, name: str) -> Model:
        if name not in self.models:
            raise RefusedError(
                grpc.StatusCode.NOT_FOUND, f"Servable not found for request: Latest({name})"
            )
        return self.models[name]

    def signature(self, model: str, name: str):
        found = self.model(model).signatures.get(name)
        if found is None:
            raise RefusedError(grpc.StatusCode.FAILED_PRECONDITION, f'"{name}" not found.')
        return found

    def predict(self, model: str, signature: str, inputs: dict[str, np.ndarray]):
        self.signature(model, signature)
        with self._lock:
            self.received.append((model, signature, inputs))
            busy = self.busy_every and len(self.received) % self.busy_every == 0
        if busy:
            raise RefusedError(grpc.StatusCode.UNAVAILABLE, "The batch scheduling queue is full")
        return self.model(model).predict(signature, inputs)

    # gRPC

    def Predict(self, request, context):  # noqa: N802
        inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
        name = request.model_spec.signature_name or "serving_default"
        try:
            outputs = self.predict(request.model_spec.name, name, inputs)
        except RefusedError as error:
            context.abort(error.code, str(error))
        answer = predict_pb2.PredictResponse()
        for key, value in outputs.items():
            answer.outputs[key].CopyFrom(tf.make_tensor_proto(value))
        return answer

    def GetModelMetadata(self, request, context):  # noqa: N802
        answer = get_model_metadata_pb2.GetModelMetadataResponse()
        try:
            answer.metadata["signature_def"].Pack(self.metadata(request.model_spec.name))
        except RefusedError as error:
            context.abort(error.code, str(error))
        return answer

    def metadata(self, model: str) -> get_model_metadata_pb2.SignatureDefMap:
        found = get_model_metadata_pb2.SignatureDefMap()
        for name, signature in self.model(model).signatures.items():
            found.signature_def[name].CopyFrom(signature)
        return found


class _RestHandler(BaseHTTPRequestHandler):
    stand_in: StandInServer

    def do_GET(self):
        if self.path == METRICS:
            self._send(200, "# TYPE :tensorflow:serving:request_count counter\n")
        elif found := re.fullmatch(r"/v1/models/([^/:]+)/metadata", self.path):
            self._answer(lambda: self._metadata(found[1]))
        else:
            self._send(404, json.dumps({"error": f"Malformed request: GET {self.path}"}))

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if found := re.fullmatch(r"/v1/models/([^/:]+):predict", self.path):
            self._answer(lambda: self._predict(found[1], json.loads(body)))
        else:
            self._send(404, json.dumps({"error": f"Malformed request: POST {self.path}"}))

    def _metadata(self, model: str) -> dict:
        signatures = json_format.MessageToDict(
            self.stand_in.metadata(model),
            preserving_proto_field_name=True,
            always_print_fields_with_no_presence=True,
        )
        return {
            "model_spec": {"name": model, "signature_name": "", "version": "1"},
            "metadata": {"signature_def": signatures},
        }

    def _predict(self, model: str, request: dict) -> dict:
        name = request.get("signature_name", "serving_default")
        inputs = {}
        for key, info in self.stand_in.signature(model, name).inputs.items():
            if key not in request["inputs"]:
                raise RefusedError(INVALID, f"Missing named input: {key} in 'inputs' object.")
            inputs[key] = _array(request["inputs"][key], tf.as_dtype(info.dtype))
        outputs = {
            key: np.char.decode(value.astype(bytes), "utf-8").tolist()
            if value.dtype == object
            else value.tolist()
            for key, value in self.stand_in.predict(model, name, inputs).items()
        }
        return {"outputs": outputs if len(outputs) > 1 else next(iter(outputs.values()))}

    def _answer(self, make) -> None:
        try:
            self._send(200, json.dumps(make()))
        except RefusedError as error:
            self._send(HTTP_CODES.get(error.code, 400), json.dumps({"error": str(error)}))

    def _send(self, code: int, text: str) -> None:
        self.send_response(code)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


def _array(value, dtype: tf.DType) -> np.ndarray:
    """The tensor that JSON stands for; like TF Serving, it takes no 1.0 for 1 and no 1 for "1"."""
    array = np.array(value)
    kinds = "U" if dtype == tf.string else "i" if dtype.is_integer else "if"
    if array.size and array.dtype.kind not in kinds:
        raise RefusedError(INVALID, f"JSON Value: {value} is not of expected type: {dtype.name}")
    return array.astype(dtype.as_numpy_dtype)
