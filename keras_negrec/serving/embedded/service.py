"""What is answered, whichever way it was asked."""

from __future__ import annotations

import asyncio
import sys
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2

from keras_negrec.serving.embedded.loaded_version import LoadedVersion
from keras_negrec.serving.embedded.metrics import Metrics
from keras_negrec.serving.embedded.model_store import ModelStore
from keras_negrec.serving.embedded.serving_error import serving_error
from keras_negrec.serving.embedded.signature import Signature

_SMALL = 2**16  # bytes or values; more are read and written beside the event loop


@dataclass(frozen=True)
class Limits:
    """What a server puts up with.

    Args:
        request_bytes: int. Size of a request.
        bytes_at_once: int. Size of all bodies of REST requests that are under way.
        connections: int. REST connections, and gRPC requests, at a time.
        waiting: int. Requests that wait for one model.
        receive_seconds: how long a client may take to send a request, or be silent.
        answer_seconds: how long an answer may take over REST; over gRPC the client says.
        drain_seconds: how long answers may take after the server was told to end.
    """

    request_bytes: int = 16 * 2**20
    bytes_at_once: int = 256 * 2**20
    connections: int = 4096
    waiting: int = 1024
    receive_seconds: float = 30.0
    answer_seconds: float = 30.0
    drain_seconds: float = 30.0


class Service:
    """The models of a store, asked with arrays."""

    def __init__(self, store: ModelStore, limits: Limits):
        self.store, self.limits, self.metrics = store, limits, Metrics()
        self._one_at_a_time = ThreadPoolExecutor(1)

    async def predict(
        self,
        entrypoint: str,
        model: str,
        version: int | None,
        size: int,
        read: Callable[[LoadedVersion], tuple[Signature, dict[str, np.ndarray], Any]],
        write: Callable[[LoadedVersion, Signature, dict[str, np.ndarray], Any], Any],
        seconds: float | None = None,
    ) -> Any:
        """The answer to a request of `size` bytes.

        `read` gives the signature, the inputs, and what `write` wants to know of the request.
        """
        started = time.monotonic()
        known_model = known_signature = ""
        status = "OK"
        try:
            with self.store.lease(model, version) as loaded:
                known_model = model
                signature, inputs, more = await self._run(size, read, loaded)
                known_signature = signature.name
                async with asyncio.timeout(seconds):
                    outputs = await asyncio.wrap_future(
                        loaded.predict(signature, signature.checked(inputs))
                    )
                values = sum(array.size for array in outputs.values())
                return await self._run(values, write, loaded, signature, outputs, more)
        except asyncio.CancelledError:
            status = "CANCELLED"
            raise
        except Exception as error:
            refused = answer_to(error)
            status = refused.code
            raise refused from error
        finally:
            taken = time.monotonic() - started
            self.metrics.add(known_model, known_signature, entrypoint, status, taken)

    async def _run(self, size: int, function: Callable, *arguments):
        """Large requests are read one after the other, so that small ones need not wait."""
        if size <= _SMALL:
            return function(*arguments)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._one_at_a_time, function, *arguments)

    def metadata(
        self, model: str, version: int | None
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """The signatures of a model."""
        with self.store.lease(model, version) as loaded:
            found = get_model_metadata_pb2.SignatureDefMap()
            for name, signature in loaded.signatures.items():
                found.signature_def[name].CopyFrom(signature.definition)
            answer = get_model_metadata_pb2.GetModelMetadataResponse()
            answer.model_spec.name = loaded.name
            answer.model_spec.version.value = loaded.version
            answer.metadata["signature_def"].Pack(found)
            return answer


def answer_to(error: Exception):
    """The answer to a request that failed; what nobody foresaw is also printed."""
    refused = serving_error(error)
    if refused.code == "INTERNAL" and refused is not error:
        traceback.print_exception(error, file=sys.stderr)
    return refused


def as_json(message) -> dict:
    """A protocol buffer as TF Serving writes it."""
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
