"""From a folder that `prepare` wrote to training and evaluation data."""

from __future__ import annotations

from pathlib import Path

from keras_negrec.data.event_columns import EVENT_COLUMNS
from keras_negrec.data.preparation.manifest import (
    MANIFEST,
    SCHEMA_VERSION,
    read_manifest,
    vocabulary_hash,
)
from keras_negrec.data.training.prepared import Prepared
from keras_negrec.data.training.shard_rows import row_groups
from keras_negrec.data.vocabulary import Vocabulary


def load_prepared(folder: str | Path) -> Prepared:
    """Opens what `keras_negrec.data.prepare` wrote, and checks that it is whole.

    Nothing but the vocabulary is read into memory here.

    Args:
        folder: the folder that `prepare` was given.

    Returns:
        `Prepared`.

    Raises:
        FileNotFoundError: no such folder, or one that is not complete: its `manifest.json` or
            one of the files that it names is not there.
        ValueError: another schema version; a vocabulary or a shard that is not the one of the
            manifest; a column of events that is not registered.

    Example:

    >>> plays = keras_negrec.data.simulate_sessions(num_sessions=50, num_items=30).events
    >>> columns = {name: name for name in ("session", "item", "feedback", "position")}
    >>> manifest = keras_negrec.data.prepare(
    ...     plays, "prepared", format_options=columns, verbose=False
    ... )
    >>> prepared = keras_negrec.data.load_prepared("prepared")
    >>> len(prepared.sessions()), len(prepared.vocabulary)
    (50, 30)
    """
    folder = Path(folder)
    path = folder / MANIFEST
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no such folder. Received: {folder}")
    manifest = read_manifest(folder)
    if manifest is None:
        raise FileNotFoundError(
            f"{folder} has no manifest.json, which is written last: its preparation did not come "
            "to its end. Run `prepare` again with the same arguments to complete it."
        )
    if manifest.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(
            f"{path}: this version of keras_negrec reads schema version {SCHEMA_VERSION}; run "
            f"`prepare` again. Received: {manifest.get('schema_version')!r}"
        )
    for name in ("shards", "columns", "vocabulary_sha256"):
        if name not in manifest:
            raise ValueError(f"{path}: `{name}` is missing. Received: {sorted(manifest)}")
    unknown = sorted(set(manifest["columns"]) - set(EVENT_COLUMNS))
    if unknown:
        raise ValueError(
            f"{folder} holds the column {unknown[0]!r}. Make it known before: "
            f"keras_negrec.data.register_event_column({unknown[0]!r}, ...). Received columns: "
            f"{manifest['columns']}"
        )
    vocabulary_path = _existing(folder / "vocabulary.json")
    digest = vocabulary_hash(folder)
    if digest != manifest["vocabulary_sha256"]:
        raise ValueError(
            f"{vocabulary_path} is not the vocabulary that the shards were written with: its "
            f"SHA-256 must be {manifest['vocabulary_sha256']}. Received: {digest}"
        )
    return Prepared(
        folder=folder,
        manifest=manifest,
        vocabulary=Vocabulary.load(vocabulary_path),
        shards=_checked_shards(folder / "shards", manifest["shards"]),
    )


def _checked_shards(folder: Path, shards: list[dict]) -> list[Path]:
    paths = [_existing(folder / Path(shard["file"]).name) for shard in shards]
    for path, shard in zip(paths, shards, strict=True):
        if path.stat().st_size != shard["bytes"]:
            raise ValueError(
                f"{path} must have {shard['bytes']} bytes by the manifest. Received: "
                f"{path.stat().st_size}"
            )
        num_rows = sum(group.num_rows for group in row_groups(path))
        if num_rows != shard["rows"]:
            raise ValueError(
                f"{path} must have {shard['rows']} rows by the manifest. Received: {num_rows}"
            )
    strangers = sorted(set(folder.glob("part-*.parquet")) - set(paths))
    if strangers:
        raise ValueError(
            f"{folder} holds shards that the manifest does not name, of another run of "
            f"`prepare`. Received: {strangers[0].name}"
        )
    return paths


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"The manifest names a file that is not there: {path}")
    return path
