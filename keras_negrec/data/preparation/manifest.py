"""What a prepared folder says of itself."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pandas as pd

from keras_negrec.atomic_write import atomic_write

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


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Writes the manifest so that it is there whole or not at all."""
    with atomic_write(folder / MANIFEST) as partial:
        text = json.dumps(manifest, indent=2, ensure_ascii=False)
        partial.write_text(text + "\n", "utf-8")


def vocabulary_hash(folder: Path) -> str:
    """The SHA-256 of the folder's vocabulary, as it is on the disk."""
    return hashlib.sha256((folder / "vocabulary.json").read_bytes()).hexdigest()


def find_prepared(folder: Path, request: dict, overwrite: bool) -> dict[str, Any] | None:
    """The manifest of a folder that holds what is asked for; None to go on and write it.

    The request has the `parameters` and `sources` that a manifest would have. A folder that was
    prepared otherwise may only be replaced with `overwrite`, one of something else never.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise FileExistsError(
                "`folder` must be new, empty or a prepared folder: this one holds something "
                f"without a manifest. Received: {folder}"
            )
        return None
    there = {"schema_version": manifest["schema_version"], "sources": manifest["sources"]}
    asked = {"schema_version": SCHEMA_VERSION, "sources": request["sources"]}
    there |= manifest["parameters"]
    asked |= request["parameters"]
    other = [name for name in asked if there.get(name) != asked[name]]
    if not other:
        return manifest
    if not overwrite:
        raise FileExistsError(
            f"{folder} was prepared with other {', '.join(other)}. Pass overwrite=True to replace "
            f"it. Received: { {name: asked[name] for name in other} }, there: "
            f"{ {name: there.get(name) for name in other} }"
        )
    return None


def describe_sources(source) -> list[dict[str, Any]]:
    """What tells whether the raw logs have changed: sizes and times of files, or a hash."""
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
