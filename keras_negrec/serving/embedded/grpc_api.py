"""The gRPC API: TF Serving's `PredictionService` and `ModelService`."""

from __future__ import annotations

import grpc
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, predict_pb2

from keras_negrec.serving.embedded.service import Service, answer_to
from keras_negrec.serving.embedded.serving_error import invalid
from keras_negrec.serving.embedded.signature import read_tensor, write_tensor


def grpc_server(service: Service) -> grpc.aio.Server:
    """A server of the running event loop, without an address yet."""
    limits = service.limits

    async def predict(request):
        spec = request.model_spec

        def read(loaded):
            most = limits.request_bytes // 4  # as many values as a request of this size can hold
            inputs = {name: read_tensor(name, one, most) for name, one in request.inputs.items()}
            return loaded.signature(spec.signature_name), inputs, None

        def write(loaded, signature, outputs, _):
            answer = predict_pb2.PredictResponse()
            answer.model_spec.name = loaded.name
            answer.model_spec.signature_name = signature.name
            answer.model_spec.version.value = loaded.version
            for name, array in signature.filtered(outputs, request.output_filter).items():
                answer.outputs[name].CopyFrom(write_tensor(array))
            return answer

        size = request.ByteSize()
        return await service.predict("GRPC", spec.name, _version(spec), size, read, write)

    async def metadata(request):
        model = _model(request)
        if not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for name in request.metadata_field:
            if name != "signature_def":
                raise invalid(f"Metadata field {name} is not supported")
        return service.metadata(*model)

    async def status(request):
        return service.store.status(*_model(request))

    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", limits.request_bytes),
            ("grpc.max_send_message_length", -1),
            # More than so many that wait for Python are cancelled at random, without a word.
            ("grpc.server.max_pending_requests", limits.connections),
            ("grpc.server.max_pending_requests_hard_limit", 2 * limits.connections),
            ("grpc.so_reuseport", 0),  # a port that is taken is an error
            ("grpc.server_handshake_timeout_ms", int(1000 * limits.receive_seconds)),
        ],
        maximum_concurrent_rpcs=limits.connections,
    )
    server.add_generic_rpc_handlers(
        [
            grpc.method_handlers_generic_handler(
                "tensorflow.serving.PredictionService",
                {
                    "Predict": _method(predict, predict_pb2.PredictRequest),
                    "GetModelMetadata": _method(
                        metadata, get_model_metadata_pb2.GetModelMetadataRequest
                    ),
                },
            ),
            grpc.method_handlers_generic_handler(
                "tensorflow.serving.ModelService",
                {"GetModelStatus": _method(status, get_model_status_pb2.GetModelStatusRequest)},
            ),
        ]
    )
    return server


def _model(request) -> tuple[str, int | None]:
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")
    return request.model_spec.name, _version(request.model_spec)


def _version(spec) -> int | None:
    if spec.HasField("version_label"):
        raise invalid(f"Unrecognized servable version label: {spec.version_label}")
    return spec.version.value if spec.HasField("version") else None


def _method(function, request_class) -> grpc.RpcMethodHandler:
    async def handle(request, context):
        try:
            return await function(request)
        except Exception as error:
            refused = answer_to(error)
            await context.abort(grpc.StatusCode[refused.code], refused.message)

    return grpc.unary_unary_rpc_method_handler(
        handle,
        request_deserializer=request_class.FromString,
        response_serializer=lambda answer: answer.SerializeToString(),
    )
