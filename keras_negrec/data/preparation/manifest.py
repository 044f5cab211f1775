"""What a prepared folder says of itself, and how it comes to be there whole or not at all."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import shutil
import tempfile
import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from keras_negrec.atomic_write import atomic_write, sync

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a complete folder, None where there is none."""
    try:
        return json.loads((folder / MANIFEST).read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Writes the manifest so that it is there whole or not at all."""
    with atomic_write(folder / MANIFEST) as partial:
        text = json.dumps(manifest, indent=2, ensure_ascii=False)
        partial.write_text(text + "\n", "utf-8")


def vocabulary_hash(items: Iterable) -> str:
    """The hash of a vocabulary's items in their order."""
    text = json.dumps(list(items), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def describe_sources(source) -> list[dict[str, Any]]:
    """What tells whether the raw logs have changed: sizes and times of files, or a hash.

    Args:
        source: a path, a list of paths, or a DataFrame. Of a folder, all files in it.
    """
    if isinstance(source, pd.DataFrame):
        digest = hashlib.sha256(repr(list(source.dtypes.items())).encode())
        digest.update(pd.util.hash_pandas_object(source, index=False).to_numpy().tobytes())
        return [{"path": None, "rows": len(source), "sha256": digest.hexdigest()}]
    paths = [source] if isinstance(source, (str, os.PathLike)) else list(source)
    files: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            files += sorted(file for file in path.rglob("*") if file.is_file())
        elif path.is_file():
            files.append(path)
        else:
            raise FileNotFoundError(f"There is no such file or folder. Received: {path}")
    if not files:
        raise FileNotFoundError(f"There are no files in it. Received: {source}")
    return [
        {
            "path": str(file.resolve()),
            "bytes": file.stat().st_size,
            "modified_ns": file.stat().st_mtime_ns,
        }
        for file in files
    ]


def as_json(value: Any) -> Any:
    """A parameter as JSON holds it; a function is known by its name and its code."""
    if callable(value):
        cells = getattr(value, "__closure__", None) or ()
        known = [_code_of(getattr(value, "__code__", None)), getattr(value, "__defaults__", None)]
        known += [as_json(cell.cell_contents) for cell in cells]
        name = f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', repr(value))}"
        return f"{name} {hashlib.sha256(repr(known).encode()).hexdigest()[:16]}"
    if isinstance(value, dict):
        return {str(key): as_json(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(entry) for entry in value]
    if isinstance(value, (str, int, float, bool)) or value is None:
        return value
    if hasattr(value, "item"):
        return value.item()
    return str(value)


def _code_of(code: types.CodeType | None) -> Any:
    """What a function does, without where it stands."""
    if code is None:
        return None
    constants = [_code_of(c) if isinstance(c, types.CodeType) else c for c in code.co_consts]
    return code.co_code, code.co_names, constants


@contextlib.contextmanager
def partial_folder(folder: Path) -> Iterator[Path]:
    """A new hidden folder beside `folder` to work in; what is left of it at the end is removed.

    Folders of runs that were interrupted are removed too. A lock that dies with its process
    tells them from those of runs that are still under way.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{folder.name}.partial-"
    for stale in folder.parent.glob(f"{glob.escape(prefix)}*"):
        with _locked(stale) as is_ours:
            if is_ours:
                shutil.rmtree(stale, ignore_errors=True)
    partial = Path(tempfile.mkdtemp(prefix=prefix, dir=folder.parent))
    try:
        with _locked(partial):
            yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def publish(partial: Path, folder: Path) -> None:
    """Puts a finished folder in its place, in which a former one is replaced."""
    old = None
    if folder.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.partial-", dir=folder.parent))
        os.rename(folder, old)
    partial.chmod(0o755)  # Temporary folders are for their owner alone.
    os.rename(partial, folder)
    sync(folder.parent)
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Whether the lock on a folder could be had, which is then held."""
    import fcntl  # Not on Windows, where the rest of the package works.

    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:  # Its process has just finished.
        yield False
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_ours = True
        except BlockingIOError:
            is_ours = False
        yield is_ours
    finally:
        os.close(descriptor)
