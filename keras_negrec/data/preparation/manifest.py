"""What a prepared folder says of itself."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from keras_negrec.data.preparation.known_file import REPAIR, KnownFile
from keras_negrec.partial_folder import put_right

SCHEMA_VERSION = 3
MANIFEST = "manifest.json"
VOCABULARY = "vocabulary.json"
ITEMS = "items.parquet"
# What a folder without a readable manifest may hold to be one that `prepare` wrote.
_NAMES = {MANIFEST, VOCABULARY, ITEMS, "item_features.json", "shards"}


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a folder as it was written, None where there is none.

    One that is damaged, of another version or something else is a ValueError.
    """
    put_right(folder)
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read as JSON. {REPAIR} Received: {error}") from error
    if not isinstance(manifest, dict):
        received = type(manifest).__name__
        raise ValueError(f"{path} must hold a JSON object. {REPAIR} Received: a {received}")
    if manifest.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(
            f"{path}: this version of keras_negrec reads schema version {SCHEMA_VERSION}. {REPAIR} "
            f"Received: {manifest.get('schema_version')!r}"
        )
    for name in ("shards", "files", "columns", "sha256"):
        if name not in manifest:
            raise ValueError(f"{path}: `{name}` is missing. {REPAIR} Received: {sorted(manifest)}")
    if manifest["sha256"] != (digest := _checksum(manifest)):
        raise ValueError(
            f"{path} is damaged, or was changed: the SHA-256 of its other values must be the one "
            f"that it names, {manifest['sha256']}. {REPAIR} Received: {digest}"
        )
    return manifest


def write_manifest(folder: Path, content: dict[str, Any]) -> dict[str, Any]:
    """Writes and returns the manifest: the content and the checksum of it."""
    manifest = content | {"sha256": _checksum(content)}
    text = json.dumps(manifest, indent=2, ensure_ascii=False)
    (folder / MANIFEST).write_text(text + "\n", "utf-8")
    return manifest


def _checksum(manifest: dict[str, Any]) -> str:
    """The SHA-256 of all other values, as JSON that does not depend on spaces and order."""
    others = {name: value for name, value in manifest.items() if name != "sha256"}
    text = json.dumps(others, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def known_files(folder: Path, manifest: dict[str, Any]) -> dict[str, KnownFile]:
    """The files of the folder by their names; a ValueError where it holds shards of others."""
    files = {
        file["file"]: KnownFile(folder / file["file"], file["bytes"], file["sha256"])
        for file in (*manifest["files"], *manifest["shards"])
    }
    shards = (path.name for path in folder.glob("shards/part-*.parquet"))
    strangers = sorted(name for name in shards if f"shards/{name}" not in files)
    if strangers:
        raise ValueError(
            f"{folder} holds shards that the manifest does not name, of another run of "
            f"`prepare`. {REPAIR} Received: {strangers[0]}"
        )
    return files


def find_prepared(folder: Path, request: dict, overwrite: bool) -> dict[str, Any] | None:
    """The manifest of a folder that holds what is asked for; None to go on and write it.

    The request is the beginning of a manifest. A folder that was prepared otherwise, or that is
    damaged, may only be replaced with `overwrite`, one of something else never.
    """
    try:
        manifest = read_manifest(folder)
    except ValueError:
        if not overwrite:
            raise
        manifest = None
    if manifest is None:
        was_prepared = _was_prepared(folder)
        is_empty = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
        if is_empty or (was_prepared and overwrite):
            return None
        why = "holds something without a manifest that can be read"
        if was_prepared:
            why = "has lost its manifest. Pass overwrite=True to write it again"
        raise FileExistsError(
            f"`folder` must be new, empty or a prepared folder: this one {why}. Received: {folder}"
        )
    there, asked = (
        {"sources": made.get("sources", [])} | made.get("parameters", {})
        for made in (manifest, request)
    )
    other = [name for name in asked if there.get(name) != asked[name]]
    if other and not overwrite:
        received, found = (
            {name: made["sources"][:2] if name == "sources" else made.get(name) for name in other}
            for made in (asked, there)
        )
        raise FileExistsError(
            f"{folder} was prepared with other {', '.join(other)}. Pass overwrite=True to replace "
            f"it. Received: {received}, there: {found}"
        )
    if other:
        return None
    try:
        for file in known_files(folder, manifest).values():
            file.checked()
    except (ValueError, FileNotFoundError):
        if not overwrite:
            raise
        return None
    return manifest


def appended_parts(folder: Path) -> list[dict[str, Any]]:
    """What was appended to a folder, as far as it can be read."""
    try:
        return json.loads((folder / MANIFEST).read_text("utf-8"))["parts"]
    except (OSError, ValueError, LookupError, TypeError):
        return []


def _was_prepared(folder: Path) -> bool:
    """Whether it is a folder of shards, and of nothing that `prepare` does not write."""
    shards = folder / "shards"
    return (
        shards.is_dir()
        and {path.name for path in folder.iterdir()} <= _NAMES
        and all(path.name.startswith("part-") for path in shards.iterdir())
    )


def describe_sources(source) -> list[dict[str, Any]]:
    """What tells whether the raw logs have changed: sizes and times of files, or a hash."""
    import pandas as pd

    if isinstance(source, pd.DataFrame):
        digest = hashlib.sha256(repr(list(source.dtypes.items())).encode())
        digest.update(pd.util.hash_pandas_object(source, index=False).to_numpy().tobytes())
        return [{"path": None, "rows": len(source), "sha256": digest.hexdigest()}]
    paths = [source] if isinstance(source, (str, os.PathLike)) else source
    if not isinstance(paths, (list, tuple)) or not all(
        isinstance(path, (str, os.PathLike)) for path in paths
    ):
        raise TypeError(
            "`source` must be a path, a list of paths or a DataFrame. Received one of type "
            f"{type(source).__name__}: {source!r:.100}"
        )
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
