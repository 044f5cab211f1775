"""The models of a folder: which version of each is served, and how one follows another."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import grpc
from tensorflow_serving.apis import get_model_status_pb2

from keras_negrec.serving.embedded.loaded_version import LoadedVersion
from keras_negrec.serving.embedded.serving_error import ServingError, serving_error

_REMEMBERED = 20  # versions of a model that are no longer served, for its status
_State = get_model_status_pb2.ModelVersionStatus.State


class _Found(NamedTuple):
    """A version on disk. `identity` changes when it is another one, `files` also meanwhile."""

    folder: Path
    identity: tuple
    files: tuple


class ModelStore:
    """Serves the newest version that loads of every model below a folder.

    All methods belong to the event loop's thread; loading happens in others.

    Args:
        folder: holds `NAME/VERSION/saved_model.pb`.
        say: is told what changes, one line at a time.
        max_waiting: int. How many requests may wait for one model.
    """

    def __init__(self, folder: Path, say: Callable[[str], None], max_waiting: int):
        self._folder, self._say, self._max_waiting = folder, say, max_waiting
        self._serving: dict[str, tuple[LoadedVersion, tuple]] = {}
        self._closing: list[threading.Thread] = []
        self._loading = ThreadPoolExecutor(1)
        self._failed: dict[Path, tuple[tuple, str]] = {}
        self._states: dict[str, dict[int, tuple[int, ServingError | None]]] = {}

    def served(self) -> list[LoadedVersion]:
        """What is served now, in the order of the names."""
        return [self._serving[name][0] for name in sorted(self._serving)]

    async def watch(self, seconds: float) -> None:
        """Looks at the folder again and again."""
        while True:
            await asyncio.sleep(seconds)
            try:
                await self.refresh()
            except OSError as error:  # an entry that goes while it is looked at
                self._say(f"{self._folder} cannot be read: {error}")

    async def refresh(self) -> None:
        """Brings what is served in line with the folder; without a folder nothing changes."""
        if not self._folder.is_dir():
            return
        found = await asyncio.to_thread(_models, self._folder)
        self._failed = {path: why for path, why in self._failed.items() if path.exists()}
        for name in sorted({*found, *self._serving}):
            await self._update(name, found.get(name, []))

    @contextlib.contextmanager
    def lease(self, name: str, version: int | None = None) -> Iterator[LoadedVersion]:
        """The version that answers a request, which stays until the block is left."""
        if not name:
            raise ServingError("INVALID_ARGUMENT", "ModelSpec has no name specified.")
        loaded, _ = self._serving.get(name, (None, None))
        if loaded is None or version not in (None, loaded.version):
            wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise ServingError("NOT_FOUND", f"Servable not found for request: {wanted}")
        loaded.users += 1
        try:
            yield loaded
        finally:
            loaded.users -= 1
            self._close_if_unused(loaded)

    def status(self, name: str, version: int | None) -> get_model_status_pb2.GetModelStatusResponse:
        """The states of a model's versions, newest first."""
        states = self._states.get(name, {})
        if version is not None and version not in states:
            raise ServingError("NOT_FOUND", f"Could not find version {version} of model {name}")
        if not states:
            raise ServingError("NOT_FOUND", f"Could not find any versions of model {name}")
        answer = get_model_status_pb2.GetModelStatusResponse()
        for number in sorted(states, reverse=True) if version is None else [version]:
            state, error = states[number]
            one = answer.model_version_status.add(version=number, state=state)
            if error:
                one.status.error_code = grpc.StatusCode[error.code].value[0]
                one.status.error_message = error.message
            else:
                one.status.SetInParent()
        return answer

    async def close(self) -> None:
        """Lets go of all models, once they have answered what waits."""
        for name in list(self._serving):
            self._retire(name)
        for thread in self._closing:
            await asyncio.to_thread(thread.join)

    async def _update(self, name: str, versions: list[_Found]) -> None:
        """Serves the first of the versions, newest first, that can be loaded."""
        for found in versions:
            number = int(found.folder.name)
            if name in self._serving and found.identity == self._serving[name][1]:
                return
            files, said = self._failed.get(found.folder, ((), ""))
            if files == found.files:
                continue
            self._set_state(name, number, _State.LOADING)
            try:
                loaded = await asyncio.get_running_loop().run_in_executor(
                    self._loading, LoadedVersion, found.folder, self._max_waiting
                )
            except Exception as error:
                why = serving_error(error)
                self._failed[found.folder] = found.files, why.message
                self._set_state(name, number, _State.END, why)
                if why.message != said:
                    self._say(f"{name}: version {number} cannot be loaded: {why.message}")
                continue
            self._failed.pop(found.folder, None)
            before = self._retire(name)
            self._serving[name] = loaded, found.identity
            self._set_state(name, number, _State.AVAILABLE)
            instead = f" instead of {before}" if before else ""
            self._say(f"{name}: version {number} is served{instead}")
            return
        if name in self._serving and not versions:
            self._say(f"{name}: no version is left; {self._retire(name)} is no longer served")

    def _retire(self, name: str) -> int | None:
        """Takes the version out of service; its last request ends it."""
        if name not in self._serving:
            return None
        loaded, _ = self._serving.pop(name)
        loaded.retired = True
        self._set_state(name, loaded.version, _State.UNLOADING)
        self._close_if_unused(loaded)
        return loaded.version

    def _close_if_unused(self, loaded: LoadedVersion) -> None:
        if not loaded.retired or loaded.users:
            return
        self._closing = [thread for thread in self._closing if thread.is_alive()]
        self._closing.append(loaded.close())
        if self._states[loaded.name][loaded.version][0] == _State.UNLOADING:
            self._set_state(loaded.name, loaded.version, _State.END)

    def _set_state(self, name: str, version: int, state, error: ServingError | None = None):
        states = self._states.setdefault(name, {})
        states[version] = state, error
        ended = [number for number in sorted(states) if states[number][0] == _State.END]
        for number in ended[:-_REMEMBERED]:
            del states[number]


def _models(folder: Path) -> dict[str, list[_Found]]:
    """The versions of each model on disk, newest first."""
    models: dict[str, list[_Found]] = {}
    for model in folder.glob("[!.]*"):
        # A version has its final name once it is whole.
        numbers = [entry for entry in model.glob("*") if entry.name.isdecimal()]
        for version in sorted(numbers, key=lambda entry: int(entry.name), reverse=True):
            with contextlib.suppress(OSError):  # removed meanwhile
                graph = _stat(version / "saved_model.pb")
                variables = map(_stat, sorted((version / "variables").glob("*")))
                found = _Found(version, (version.name, graph), (graph, *variables))
                models.setdefault(model.name, []).append(found)
    return models


def _stat(path: Path) -> tuple:
    found = os.stat(path)
    return path.name, found.st_ino, found.st_size, found.st_mtime_ns
