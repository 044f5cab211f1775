"""A version of a model in memory, and the thread that answers its requests."""

from __future__ import annotations

import contextlib
import gc
import threading
from collections import deque
from collections.abc import Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_negrec.serving.embedded.batching import MAX_CELLS, MAX_ROWS, Batching
from keras_negrec.serving.embedded.serving_error import ServingError
from keras_negrec.serving.embedded.signature import Signature


@dataclass
class _Request:
    signature: str
    inputs: dict[str, np.ndarray]
    key: Hashable | None
    future: Future = field(default_factory=Future)


class LoadedVersion:
    """Loads a SavedModel, warms it up, and answers until it is closed.

    Requests are answered by one thread. Those that wait while it is busy are taken together where
    they can be.

    Args:
        folder: folder of the version.
        max_waiting: int. How many requests may wait.

    Attributes:
        name, version: of the model.
        signatures: by name.
        users: how many requests hold on to it; `ModelStore` counts.
        retired: whether another version has taken its place.
    """

    def __init__(self, folder: Path, max_waiting: int):
        self.name, self.version = folder.parent.name, int(folder.name)
        self.users, self.retired = 0, False
        self._max_waiting = max_waiting
        config = tf.compat.v1.ConfigProto(allow_soft_placement=True)
        config.gpu_options.allow_growth = True  # two versions share the memory for a while
        with tf.Graph().as_default() as graph:
            self._session = tf.compat.v1.Session(graph=graph, config=config)
            try:
                loaded = tf.compat.v1.saved_model.load(self._session, ["serve"], str(folder))
                self.signatures = {
                    name: Signature(name, definition)
                    for name, definition in loaded.signature_def.items()
                }
                self._calls = {
                    name: self._session.make_callable(
                        [signature.definition.outputs[key].name for key in signature.outputs],
                        [signature.definition.inputs[key].name for key in signature.inputs],
                    )
                    for name, signature in self.signatures.items()
                    if signature.inputs
                }
                self._warm_up(folder / "assets.extra" / "tf_serving_warmup_requests")
            except BaseException:
                self._session.close()
                raise
        num_items, default_k = _catalogue(folder, self.signatures)
        self._batching = {
            name: Batching(signature, num_items, default_k)
            for name, signature in self.signatures.items()
        }
        self._waiting: deque[_Request] = deque()
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, daemon=True, name=str(folder))
        self._thread.start()

    def signature(self, name: str) -> Signature:
        """The signature of this name; "" is `serving_default`."""
        name = name or "serving_default"
        if name not in self.signatures:
            message = f'Serving signature key "{name}" not found.'
            raise ServingError("FAILED_PRECONDITION", message)
        return self.signatures[name]

    def predict(self, signature: Signature, inputs: dict[str, np.ndarray]) -> Future:
        """The outputs by name, some time later. `inputs` are those that `checked` returned."""
        key = self._batching[signature.name].key(inputs)
        request = _Request(signature.name, inputs, key)
        with self._changed:
            if len(self._waiting) >= self._max_waiting:
                raise ServingError(
                    "UNAVAILABLE",
                    "The batch scheduling queue to which this task was submitted is full",
                )
            self._waiting.append(request)
            self._changed.notify()
        return request.future

    def close(self) -> threading.Thread:
        """A thread that ends when what waits is answered and the memory is given back."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        return self._thread

    def _work(self) -> None:
        while batch := self._take():
            batch = [request for request in batch if request.future.set_running_or_notify_cancel()]
            if len(batch) > 1 and self._answer_together(batch):
                continue
            for request in batch:
                try:
                    request.future.set_result(self._run(request.signature, request.inputs))
                except BaseException as error:
                    request.future.set_exception(error)
        self._session.close()
        self._calls.clear()
        del self._session
        gc.collect()

    def _take(self) -> list[_Request]:
        """The next request and those that can be answered with it; none when it is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if not self._waiting:
                return []
            batch = [self._waiting.popleft()]
            if batch[0].key is not None:
                size = self._batching[batch[0].signature].size
                rows, width = size(batch[0].inputs)
                left: deque[_Request] = deque()
                for request in self._waiting:
                    if request.key == batch[0].key:
                        more, wide = size(request.inputs)
                        more, wide = rows + more, max(width, wide)
                        if more <= MAX_ROWS and more * wide <= MAX_CELLS:
                            rows, width = more, wide
                            batch.append(request)
                            continue
                    left.append(request)
                self._waiting = left
            return batch

    def _answer_together(self, batch: list[_Request]) -> bool:
        """Whether all got their answer: where one is refused, each is asked alone."""
        batching = self._batching[batch[0].signature]
        requests = [request.inputs for request in batch]
        try:
            outputs = self._run(batch[0].signature, batching.join(requests))
            answers = batching.split(outputs, requests)
        except Exception:
            return False
        if answers is None:
            return False
        for request, answer in zip(batch, answers, strict=True):
            request.future.set_result(answer)
        return True

    def _run(self, name: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        signature = self.signatures[name]
        outputs = self._calls[name](*(inputs[key] for key in signature.inputs))
        return dict(zip(signature.outputs, outputs, strict=True))

    def _warm_up(self, file: Path) -> None:
        """Runs the requests that lie with the model; a model without gets a small one."""
        from tensorflow_serving.apis import prediction_log_pb2

        if file.is_file():
            for record in tf.compat.v1.io.tf_record_iterator(str(file)):
                request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
                signature = self.signature(request.model_spec.signature_name)
                inputs = {key: tf.make_ndarray(value) for key, value in request.inputs.items()}
                self._run(signature.name, signature.checked(inputs))
            return
        for name in self._calls:
            signature = self.signatures[name]
            inputs = {
                key: np.full([n or 1 for n in shape or []], b"" if dtype.kind == "O" else 0, dtype)
                for key, (dtype, shape) in signature.inputs.items()
            }
            with contextlib.suppress(tf.errors.OpError, ServingError):  # zeros need not make sense
                self._run(name, signature.checked({**inputs, **signature.defaults}))


def _catalogue(folder: Path, signatures: dict) -> tuple[int | None, int | None]:
    """How many items an exported model knows, and how many it recommends by itself."""
    try:
        vectors = np.load(folder / "assets.extra" / "item_embeddings.npy", mmap_mode="r")
        return len(vectors), int(signatures["recommend"].defaults["k"])
    except (OSError, ValueError, KeyError):
        return None, None
