"""A server on free ports of this process, and what asks it over real sockets."""

import contextlib
import http.client
import json
import threading
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from keras_negrec.serving.embedded.server import Server
from keras_negrec.serving.embedded.service import Limits


def served_folder(folder: Path, **versions: Path) -> Path:
    """The folder, with the versions in it as version 1 of a model each."""
    for name, version in versions.items():
        (folder / name).mkdir()
        (folder / name / "1").symlink_to(version)
    return folder


@contextlib.contextmanager
def serving(folder: Path, **limits):
    """A running server; `said` is what it printed."""
    said: list[str] = []
    server = Server(
        folder,
        port=0,
        rest_api_port=0,
        limits=Limits(**limits),
        poll_seconds=0.1,
        say=said.append,
    )
    server.said = said
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert server.started.wait(120)
        yield server
    finally:
        server.stop()
        thread.join(60)
        assert not thread.is_alive()


class Caller:
    """Asks a server over one connection of each kind."""

    def __init__(self, server: Server):
        self.connection = http.client.HTTPConnection("127.0.0.1", server.rest_api_port, timeout=60)
        self.channel = grpc.insecure_channel(
            f"127.0.0.1:{server.port}", [("grpc.use_local_subchannel_pool", 1)]
        )
        self.predictions = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def close(self):
        self.connection.close()
        self.channel.close()

    def http(self, method, path, body=None):
        """Status and text of the answer."""
        self.connection.request(method, path, body)
        answer = self.connection.getresponse()
        return answer.status, answer.read().decode()

    def rest(self, model, signature, inputs, version=None):
        """Status, and the outputs or the message."""
        at = "" if version is None else f"/versions/{version}"
        request = {"signature_name": signature, "inputs": inputs}
        status, text = self.http("POST", f"/v1/models/{model}{at}:predict", json.dumps(request))
        answer = json.loads(text)
        return status, answer["outputs"] if status == 200 else answer["error"]

    def grpc(self, model, signature, inputs, version=None):
        """Name of the code, and the outputs as REST gives them, or the message."""
        request = predict_pb2.PredictRequest()
        request.model_spec.name = model
        request.model_spec.signature_name = signature
        if version is not None:
            request.model_spec.version.value = version
        for name, value in inputs.items():
            array = np.array(value)
            if array.dtype == np.int64 and name not in ("item_ids", "candidate_ids"):
                array = array.astype("int32")
            request.inputs[name].CopyFrom(tf.make_tensor_proto(array, shape=array.shape))
        try:
            answer = self.predictions.Predict(request, timeout=60)
        except grpc.RpcError as error:
            return error.code().name, error.details()
        outputs = {name: tf.make_ndarray(value) for name, value in answer.outputs.items()}
        for name, value in outputs.items():
            if value.dtype == object:
                outputs[name] = np.char.decode(value.astype(bytes), "utf-8")
        named = {name: value.tolist() for name, value in outputs.items()}
        return "OK", named if len(named) > 1 else next(iter(named.values()))
