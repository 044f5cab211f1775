"""A model as a folder that one colleague gives another."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import keras

import keras_negrec
from keras_negrec.backend.keras_private import SafeModeScope
from keras_negrec.data import ItemFeatureEncoder, Prepared
from keras_negrec.data.event_columns import EVENT_COLUMNS, EventColumn
from keras_negrec.models.finite_weights import check_finite
from keras_negrec.partial_folder import partial_folder, publish

if TYPE_CHECKING:
    from keras_negrec.models.recommender import Recommender

_PRESET_VERSION = 1
_METADATA = "metadata.json"  # Keras writes it, and more is said in it here.


def save_to_preset(
    model: Recommender,
    folder: str | Path,
    *,
    prepared: Prepared | None = None,
    rules: Mapping | None = None,
    feature_encoder: ItemFeatureEncoder | None = None,
    optimizer_state: bool = True,
    overwrite: bool = False,
) -> Path:
    """Writes a folder that is all that somebody else needs, and returns its path.

    `keras_negrec.from_preset` reads it, on any backend. It is there whole or not at all:

    | file | what is in it |
    |---|---|
    | `config.json` | class and arguments of the model and its parts, and how it is compiled |
    | `model.weights.h5` | weights, item features and optimizer state |
    | `assets/vocabulary.json` | the external item ids |
    | `assets/preparation.json` | how events were made of the log |
    | `assets/item_features.json` | how item features were made of a table |
    | `metadata.json` | versions, and the SHA-256 of each other file |

    Args:
        folder: the folder to write.
        prepared: `Prepared`, what the model was trained on. The parameters of its preparation are
            saved as `model.preparation`, but not where the log was; and with them its
            `item_features.json`, if the model has item features.
        rules: mapping that JSON can hold, in place of `prepared`: your own account of how events
            were made, which becomes `model.preparation`.
        feature_encoder: `ItemFeatureEncoder` that made the model's item features.
        optimizer_state: bool. Whether training can go on where it was. Without it, the folder of
            a model trained with Adam has a third of the size.
        overwrite: bool. Whether to replace a preset that is there.

    Raises:
        FileExistsError: the folder is there, unless it is a preset and `overwrite` is true.
        TypeError: `rules` that JSON cannot hold; `prepared` of another type.
        ValueError: weights that are not finite; both `prepared` and `rules`; prepared data of
            another vocabulary; an encoder
            of another number of features than the model's.

    Example:

    >>> vocabulary = keras_negrec.data.Vocabulary(["intro", "verse", "outro"])
    >>> model = keras_negrec.build_model("sasrec", vocabulary=vocabulary)
    >>> folder = model.save_to_preset("sasrec_preset", rules={"skip": "less than 30 s"})
    >>> loaded = keras_negrec.from_preset("sasrec_preset")
    >>> loaded.vocabulary.items.tolist(), loaded.preparation
    (['intro', 'verse', 'outro'], {'skip': 'less than 30 s'})
    """
    folder = Path(folder).absolute()
    if folder.exists() and not (overwrite and _is_preset(folder)):
        raise FileExistsError(
            "`save_to_preset` writes a new folder, or with overwrite=True replaces a preset. "
            f"Received: {folder}"
        )
    check_finite(model)
    features = {embedding.num_features or 0 for embedding, _ in model.item_columns}
    if prepared is not None:
        if rules is not None:
            raise ValueError("Give `prepared` or `rules`. Received: both.")
        if not isinstance(prepared, Prepared):
            raise TypeError(
                "`prepared` is what `keras_negrec.data.load_prepared(folder)` opens. Received one "
                f"of type {type(prepared).__name__}."
            )
        prepared.check_catalogue(model.num_items, model.vocabulary)
        rules = _rules_of(prepared)
        fitted = prepared.folder / "item_features.json"
        if feature_encoder is None and features != {0} and fitted.exists():
            feature_encoder = ItemFeatureEncoder.load(fitted)
    if rules is not None:
        try:
            model.preparation = json.loads(json.dumps(rules, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"`rules` must hold what JSON can: {error}. Received: {rules!r:.200}"
            ) from error
    if feature_encoder is not None:
        if (made := len(feature_encoder.columns)) not in features:
            raise ValueError(
                f"`feature_encoder` must make the model's {max(features)} item features. Received "
                f"one that makes {made}."
            )
        model.feature_encoder = feature_encoder
    with partial_folder(folder) as partial:
        model.save(partial, zipped=False)
        optimizer_state &= model.compiled and model.optimizer is not None and model.optimizer.built
        if not optimizer_state:
            _drop_optimizer_state(partial)
        names = [name for name in model.input if name in EVENT_COLUMNS]
        metadata = json.loads((partial / _METADATA).read_text("utf-8")) | {
            "keras_negrec_version": keras_negrec.__version__,
            "preset_version": _PRESET_VERSION,
            "backend": keras.config.backend(),
            "num_items": model.num_items,
            "parameter_count": model.count_params(),
            "event_columns": [dataclasses.asdict(EVENT_COLUMNS[name]) for name in names],
            "optimizer_state": optimizer_state,
            "files": {name: _sha256(partial / name) for name in _files_of(partial)},
        }
        text = json.dumps(metadata, indent=2, ensure_ascii=False)
        (partial / _METADATA).write_text(text + "\n", "utf-8")
        publish(partial, folder)
    return folder


def from_preset(folder: str | Path, *, compile: bool = True) -> Recommender:
    """The model in a folder that `save_to_preset` wrote.

    It runs on this process's backend, whatever the model was saved on, and knows its vocabulary,
    item features, ranking weights, `preparation` and `feature_encoder`. Nothing in the folder is
    run: there is no pickle, Keras loads it in its safe mode even where that is switched off, and
    classes are those that are registered here. A class of your own has to be imported before.

    Args:
        folder: what `save_to_preset` has written. A `README.md` may have been added.
        compile: bool. Whether the model is compiled as it was, so that `fit` goes on.

    Raises:
        FileNotFoundError: no such folder, or a file of it is missing.
        ValueError: a folder that is no preset, or one of a later version; a file that is not the
            one that was written, or that was added; a class or an event column that is not
            registered; something that would run code.

    Example: see `save_to_preset`.
    """
    folder = Path(folder).absolute()
    metadata = _read_metadata(folder)
    _check_files(folder, metadata["files"])
    for column in metadata["event_columns"]:
        if EVENT_COLUMNS.get(column.name) != column:
            raise ValueError(
                f"The model of {folder} reads the event column {column.name!r}. Make it known: "
                f"keras_negrec.data.register_event_column({column.name!r}, log_column="
                f"{column.log_column!r}, dtype={column.dtype!r}, input_dtype="
                f"{column.input_dtype!r}, masked={column.masked!r}). Received: "
                f"{EVENT_COLUMNS.get(column.name, 'no such column')}"
            )
    config = _read_json(folder / "config.json")
    for name, module in _custom_classes(config):
        if keras.saving.get_registered_object(name) is None:
            raise ValueError(
                f"{folder / 'config.json'} names {name!r} of the module {module!r}, which is not "
                "registered with Keras here. Import the module that defines it, under "
                "@keras.saving.register_keras_serializable(...), before `from_preset`. "
                f"Received: {name}"
            )
    with SafeModeScope(True), warnings.catch_warnings():
        if not (compile and metadata["optimizer_state"]):
            warnings.filterwarnings("ignore", "Skipping variable loading for optimizer")
        return keras.saving.load_model(folder, compile=compile)


def _rules_of(prepared: Prepared) -> dict[str, Any]:
    """What makes the same events of another log, `parameters` being arguments of `prepare`."""
    parameters = dict(prepared.manifest["parameters"])
    columns = parameters.pop("event_columns", {})
    return {"parameters": parameters, "event_columns": columns}


def _is_preset(folder: Path) -> bool:
    try:
        return "preset_version" in json.loads((folder / _METADATA).read_text("utf-8"))
    except (OSError, ValueError):
        return False


def _files_of(folder: Path) -> list[str]:
    """The files that make the preset, by their paths in it: no hidden ones, no README."""
    names = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    ours = [name for name in names if not any(part.startswith(".") for part in name.parts)]
    return sorted(
        name.as_posix() for name in ours if name.as_posix() not in (_METADATA, "README.md")
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _drop_optimizer_state(folder: Path) -> None:
    """Copies the weights: HDF5 files do not become smaller when something in them is deleted."""
    path, smaller = folder / "model.weights.h5", folder / "smaller"
    with h5py.File(path) as old, h5py.File(smaller, "w") as new:
        new.attrs.update(old.attrs)
        for name in old:
            if name != "optimizer":
                old.copy(name, new)
    smaller.replace(path)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as JSON. Received: {error}") from error


def _read_metadata(folder: Path) -> dict[str, Any]:
    path = folder / _METADATA
    if not path.is_file():
        what = f"{path} is not there" if folder.is_dir() else "it is a file"
        what = what if folder.exists() else "there is no such folder"
        raise FileNotFoundError(
            f"`from_preset` takes a folder that `model.save_to_preset(folder)` wrote: {what}. "
            f"Received: {folder}"
        )
    metadata = _read_json(path)
    given = metadata.get("preset_version") if isinstance(metadata, dict) else None
    if given != _PRESET_VERSION:
        raise ValueError(
            f"{path} must have preset_version {_PRESET_VERSION}, as `save_to_preset` of this "
            f"version of keras_negrec writes it. Received: {given!r}"
        )
    for name, kind in (("files", dict), ("event_columns", list), ("optimizer_state", bool)):
        if not isinstance(metadata.get(name), kind):
            raise ValueError(
                f"{path}: `{name}` must be a {kind.__name__}. Received: {metadata.get(name)!r:.100}"
            )
    try:
        metadata["event_columns"] = [EventColumn(**each) for each in metadata["event_columns"]]
    except TypeError as error:
        raise ValueError(
            f"{path}: `event_columns` must list event columns. Received: "
            f"{metadata['event_columns']!r:.200}"
        ) from error
    return metadata


def _check_files(folder: Path, digests: dict[str, str]) -> None:
    there = _files_of(folder)
    for name in sorted({"config.json", "model.weights.h5", *digests} - {*there}):
        raise FileNotFoundError(f"The preset is not whole. This file is missing: {folder / name}")
    for name in there:
        if name not in digests:
            raise ValueError(
                f"{folder / name} is no file of this preset, which {_METADATA} lists. Take it out."
            )
        if (received := _sha256(folder / name)) != digests[name]:
            raise ValueError(
                f"{folder / name} is not the file that was written: its SHA-256 must be "
                f"{digests[name]}. Received: {received}"
            )


def _custom_classes(config: Any) -> Iterator[tuple[str, str | None]]:
    """The registered name and the module of what is not of Keras itself, wherever it is."""
    if isinstance(config, dict):
        module, name = config.get("module"), config.get("registered_name")
        of_keras = module in ("keras", "builtins") or str(module).startswith("keras.")
        if "class_name" in config and name and not of_keras:
            yield name, module
    for each in config.values() if isinstance(config, dict) else config:
        if isinstance(each, dict | list):
            yield from _custom_classes(each)
