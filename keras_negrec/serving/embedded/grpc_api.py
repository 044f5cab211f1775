"""The gRPC API: TF Serving's `PredictionService` and `ModelService`."""

from __future__ import annotations

import grpc
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    predict_pb2,
)

from keras_negrec.serving.embedded.service import Service, answer_to
from keras_negrec.serving.embedded.serving_error import invalid
from keras_negrec.serving.embedded.signature import read_tensor, write_tensor


class GrpcApi:
    """Answers gRPC requests.

    Args:
        service: what is asked.
    """

    def __init__(self, service: Service):
        self._service = service

    def server(self) -> grpc.aio.Server:
        """A server of the running event loop, without an address yet."""
        limits = self._service.limits
        server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", limits.request_bytes),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),  # a port that is taken is an error
                ("grpc.server_handshake_timeout_ms", int(1000 * limits.receive_seconds)),
            ],
            maximum_concurrent_rpcs=limits.connections,
        )
        server.add_generic_rpc_handlers(
            (
                _service(
                    "PredictionService",
                    Predict=(self._predict, predict_pb2.PredictRequest),
                    GetModelMetadata=(
                        self._metadata,
                        get_model_metadata_pb2.GetModelMetadataRequest,
                    ),
                ),
                _service(
                    "ModelService",
                    GetModelStatus=(self._status, get_model_status_pb2.GetModelStatusRequest),
                ),
            )
        )
        return server

    async def _predict(self, request):
        spec = request.model_spec

        def read(loaded):
            signature = loaded.signature(spec.signature_name)
            most = self._service.limits.request_bytes // 4  # the values of a request that is full
            inputs = {
                name: read_tensor(name, value, most) for name, value in request.inputs.items()
            }
            return signature, inputs, None

        def write(loaded, signature, outputs, _):
            answer = predict_pb2.PredictResponse()
            answer.model_spec.name = loaded.name
            answer.model_spec.signature_name = signature.name
            answer.model_spec.version.value = loaded.version
            for name, array in signature.filtered(outputs, request.output_filter).items():
                answer.outputs[name].CopyFrom(write_tensor(array))
            return answer

        size = request.ByteSize()
        return await self._service.predict("GRPC", spec.name, _version(spec), size, read, write)

    async def _metadata(self, request):
        _check_model_spec(request)
        if not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for name in request.metadata_field:
            if name != "signature_def":
                raise invalid(f"Metadata field {name} is not supported")
        return self._service.metadata(request.model_spec.name, _version(request.model_spec))

    async def _status(self, request):
        _check_model_spec(request)
        return self._service.store.status(request.model_spec.name, _version(request.model_spec))


def _check_model_spec(request) -> None:
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")


def _version(spec: model_pb2.ModelSpec) -> int | None:
    if spec.HasField("version_label"):
        raise invalid(f"Unrecognized servable version label: {spec.version_label}")
    return spec.version.value if spec.HasField("version") else None


def _service(name: str, **methods) -> grpc.GenericRpcHandler:
    return grpc.method_handlers_generic_handler(
        f"tensorflow.serving.{name}",
        {
            method: grpc.unary_unary_rpc_method_handler(
                _handler(function),
                request_deserializer=request_class.FromString,
                response_serializer=lambda answer: answer.SerializeToString(),
            )
            for method, (function, request_class) in methods.items()
        },
    )


def _handler(function):
    async def handle(request, context):
        try:
            return await function(request)
        except Exception as error:
            refused = answer_to(error)
            await context.abort(grpc.StatusCode[refused.code], refused.message)

    return handle
