"""The server: models, REST and gRPC in one process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from keras_negrec.serving.embedded.grpc_api import grpc_server
from keras_negrec.serving.embedded.metrics import PATHS
from keras_negrec.serving.embedded.model_store import ModelStore
from keras_negrec.serving.embedded.page_api import PageApi
from keras_negrec.serving.embedded.rest import RestApi
from keras_negrec.serving.embedded.service import Limits, Service


class Server:
    """Serves every exported model of a folder until it is stopped.

    Args:
        folder: holds `NAME/VERSION/saved_model.pb`, as `export` writes it.
        host: address to listen at.
        port: int. Of gRPC; 0 takes a free one.
        rest_api_port: int. Of REST; 0 takes a free one.
        limits: `Limits`.
        poll_seconds: how often the folder is looked at.
        say: is told what happens, one line at a time.

    Attributes:
        started: event that is set once both ports answer.
        port, rest_api_port: where it listens, once it has started.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        host: str = "127.0.0.1",
        port: int = 8500,
        rest_api_port: int = 8501,
        limits: Limits | None = None,
        poll_seconds: float = 1.0,
        say: Callable[[str], None] = print,
    ):
        self.folder, self.host = Path(folder), host
        self.port, self.rest_api_port = port, rest_api_port
        self.started = threading.Event()
        limits = limits or Limits()
        self._poll_seconds, self._say = poll_seconds, say
        self.service = Service(ModelStore(self.folder, say, limits.waiting), limits)

    def run(self) -> None:
        """Serves until `stop`, SIGTERM or SIGINT; what was taken by then is answered.

        Raises:
            OSError: the folder is not there, or an address is in use.
        """
        if not self.folder.is_dir():
            raise OSError(f"There is no folder {self.folder}")
        asyncio.run(self._run())

    def stop(self) -> None:
        """From any thread: no more requests are taken."""
        self._loop.call_soon_threadsafe(self._stopped.set)

    async def _run(self) -> None:
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        self._handle_signals()
        _allow_many_connections()
        store, limits = self.service.store, self.service.limits
        with _listening(self.host, self.rest_api_port) as rest_socket:
            self.rest_api_port = rest_socket.getsockname()[1]
            await store.refresh()
            over_grpc = grpc_server(self.service)
            try:
                self.port = over_grpc.add_insecure_port(_address(self.host, self.port))
            except RuntimeError:
                raise OSError(f"Port {self.port} of {self.host} cannot be listened at.") from None
            page = PageApi(self.service, self.folder)
            rest_server = RestApi(self.service, page.routes).server()
            await over_grpc.start()
            rest = asyncio.create_task(rest_server.serve([rest_socket]))
            while not rest_server.started:
                await asyncio.sleep(0.01)
                if rest.done():
                    rest.result()  # raises
            self._announce()
            self.started.set()
            watching = asyncio.create_task(store.watch(self._poll_seconds))
            await self._stopped.wait()
            self._say("Ending: what was asked is answered.")
            watching.cancel()
            rest_server.should_exit = True
            await asyncio.gather(over_grpc.stop(limits.drain_seconds), rest)
            await store.close()

    def _announce(self) -> None:
        rest = f"http://{_address(self.host, self.rest_api_port)}"
        served = self.service.store.served()
        if not served:
            self._say(f"There is no model in {self.folder} yet. One that is exported is served.")
        name = served[0].name if served else "NAME"
        self._say(f"Page     {rest}/")
        self._say(f"REST     {rest}/v1/models/{name}:predict")
        self._say(f"gRPC     {_address(self.host, self.port)}")
        self._say(f"Metrics  {rest}{PATHS[0]}")

    def _handle_signals(self) -> None:
        def end():
            if self._stopped.is_set():
                os._exit(1)  # asked twice
            self._stopped.set()

        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._loop.add_signal_handler(number, end)


@contextlib.contextmanager
def _listening(host: str, port: int):
    """A socket that is bound to the address; who serves it makes it listen."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind(address)
        except OSError as error:
            raise OSError(
                f"Port {port} of {host} cannot be listened at: {error.strerror}"
            ) from None
        yield bound


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _allow_many_connections() -> None:
    """Each connection is a file to the system, which allows few at first."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 16384 if hard == resource.RLIM_INFINITY else min(16384, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
