"""Numbered files of numbers, texts and arrays, of which the last two are kept."""

from __future__ import annotations

import json
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from keras_negrec.atomic_write import atomic_write

_KEPT = 2
# What NumPy and zipfile raise, depending on which byte is another one.
_DAMAGES = (
    OSError,
    EOFError,
    KeyError,
    RuntimeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)


def write_backup(folder: Path, state: dict[str, Any]) -> None:
    """Writes the next file, whole or not at all, and then removes all but the last two.

    The file is a NumPy archive: arrays, each with its checksum, and the rest as JSON. An OSError
    leaves the files that were there.
    """
    arrays: list[np.ndarray] = []
    text = json.dumps(_pack(state, arrays))
    members: dict[str, Any] = {str(index): array for index, array in enumerate(arrays)}
    found = backup_files(folder)
    number = _number_of(found[-1]) + 1 if found else 1
    with atomic_write(folder / f"backup-{number:06d}.npz") as partial, open(partial, "wb") as file:
        np.savez(file, state=np.frombuffer(text.encode(), "uint8"), **members)
    for path in backup_files(folder)[:-_KEPT]:
        path.unlink()


def read_backup(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """The newest file that is whole, and what it holds; None where there is no file.

    A damaged file is named in a warning, and if there is no other one in a ValueError.
    """
    problem: tuple[str, Exception] | None = None
    for path in reversed(backup_files(folder)):
        try:
            state = _read(path)
        except _DAMAGES as error:
            problem = f"The backup {path} is damaged: {type(error).__name__}: {error}", error
        else:
            if problem is not None:
                warnings.warn(f"{problem[0]}. Training goes on from {path}.", stacklevel=2)
            return path, state
    if problem is not None:
        raise ValueError(
            f"{problem[0]}. There is no older one that is whole: delete {folder} to train anew."
        ) from problem[1]
    return None


def backup_files(folder: Path) -> list[Path]:
    """The backups of a folder, oldest first."""
    found = [path for path in folder.glob("backup-*.npz") if path.stem[7:].isdigit()]
    return sorted(found, key=_number_of)


def remove_partial_files(folder: Path) -> None:
    """Removes what a process that was killed while it wrote has left."""
    for path in folder.glob(".backup-*.npz.*.partial"):
        path.unlink(missing_ok=True)


def remove_backups(folder: Path) -> None:
    """Removes the backups, and the folder if nothing else is in it."""
    for path in backup_files(folder):
        path.unlink()
    remove_partial_files(folder)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _number_of(path: Path) -> int:
    return int(path.stem.removeprefix("backup-"))


def _read(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        if damaged := archive.testzip():
            raise zipfile.BadZipFile(f"the checksum of {damaged} is another one")
    with np.load(path, allow_pickle=False) as archive:
        return _unpack(json.loads(archive["state"].tobytes()), archive)


def _pack(value, arrays: list[np.ndarray]):
    """Anything as JSON, in which arrays are numbers."""
    if isinstance(value, dict):
        return {name: _pack(each, arrays) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_pack(each, arrays) for each in value]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        # NumPy's files do not know dtypes such as bfloat16.
        own = value if value.dtype.kind in "biufc" else value.view(f"u{value.dtype.itemsize}")
        arrays.append(own)
        return {"__array__": len(arrays) - 1, "dtype": value.dtype.name}
    return value


def _unpack(value, archive):
    if isinstance(value, dict) and "__array__" in value:
        return archive[str(value["__array__"])].view(np.dtype(value["dtype"]))
    if isinstance(value, dict):
        return {name: _unpack(each, archive) for name, each in value.items()}
    if isinstance(value, list):
        return [_unpack(each, archive) for each in value]
    return value
