"""A prepared folder as a whole: what it says of itself, and how it comes to be there."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

SCHEMA_VERSION = 2
MANIFEST = "manifest.json"


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a complete folder, None where there is none."""
    path = folder / MANIFEST
    try:
        return json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as JSON. Received: {error}") from error


def vocabulary_hash(folder: Path) -> str:
    """The SHA-256 of the folder's vocabulary, as it is on the disk."""
    return hashlib.sha256((folder / "vocabulary.json").read_bytes()).hexdigest()


def find_prepared(folder: Path, request: dict, overwrite: bool) -> dict[str, Any] | None:
    """The manifest of a folder that holds what is asked for; None to go on and write it.

    The request is the beginning of a manifest. A folder that was prepared otherwise may only be
    replaced with `overwrite`, one of something else never.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise FileExistsError(
                "`folder` must be new, empty or a prepared folder: this one holds something "
                f"without a manifest. Received: {folder}"
            )
        return None
    there, asked = (
        {name: made[name] for name in ("schema_version", "sources")} | made["parameters"]
        for made in (manifest, request)
    )
    other = [name for name in asked if there.get(name) != asked[name]]
    if not other:
        return manifest
    if not overwrite:
        received, found = (
            {name: made["sources"][:2] if name == "sources" else made.get(name) for name in other}
            for made in (asked, there)
        )
        raise FileExistsError(
            f"{folder} was prepared with other {', '.join(other)}. Pass overwrite=True to replace "
            f"it. Received: {received}, there: {found}"
        )
    return None


def describe_sources(source) -> list[dict[str, Any]]:
    """What tells whether the raw logs have changed: sizes and times of files, or a hash."""
    import pandas as pd

    if isinstance(source, pd.DataFrame):
        digest = hashlib.sha256(repr(list(source.dtypes.items())).encode())
        digest.update(pd.util.hash_pandas_object(source, index=False).to_numpy().tobytes())
        return [{"path": None, "rows": len(source), "sha256": digest.hexdigest()}]
    paths = [source] if isinstance(source, (str, os.PathLike)) else list(source)
    files: list[Path] = []
    for path in map(Path, paths):
        if not path.exists():
            raise FileNotFoundError(
                f"`source` must be there: no such file or folder. Received: {path}"
            )
        found = sorted(path.rglob("*")) if path.is_dir() else [path]
        files += [file for file in found if file.is_file()]
    if not files:
        raise FileNotFoundError(f"`source` must hold files: it has none. Received: {source}")
    stats = [(str(file.resolve()), file.stat()) for file in files]
    return [
        {"path": path, "bytes": stat.st_size, "modified_ns": stat.st_mtime_ns}
        for path, stat in stats
    ]
