"""What an exported model is, for the person who finds it."""

from __future__ import annotations

import datetime
import importlib
import inspect
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_negrec.data import Sessions, Vocabulary
from keras_negrec.models.ensemble import Ensemble
from keras_negrec.models.weighted_hybrid import WeightedHybrid
from keras_negrec.serving.recommend import further_inputs
from keras_negrec.serving.servable import ItemTable, Servable

_TIMES = (
    "Times are seconds since 1970. `request_timestamps` is when the items are asked for, one value "
    "a history; 0 stands for the time of the newest event. A history whose `timestamps` are all 0 "
    "has none: its events then count as evenly spaced."
)


def model_card(
    model, vocabulary: Vocabulary, servable: Servable, version: Path, *, metrics, data, trained_on
) -> str:
    """A page in Markdown: the model, its data and metrics, how it is called, what made it."""
    configuration = _configuration(model)
    if isinstance(model, WeightedHybrid):
        model = model.exported_parts()[0]
    stored = f"Item vectors are stored as {servable.item_dtype}."
    if servable.item_dtype != "float32":
        stored += (
            f" Of the {min(servable.k, model.num_items)} best items after histories of one item, "
            f"{table_recall(model, servable.table, servable.k):.2%} are the same as with float32."
        )
    figures = [(key, f"{value:.5g}") for key, value in (metrics or {}).items()]
    signatures = [_describe(name, function) for name, function in servable.functions.items()]
    padding, cast = ('""', "") if vocabulary.is_string else ("-1", ", tf.int64")
    further = further_inputs(model)
    also_send = "".join(f"`{column.name}` [[0]], " for column in further)
    zeros = "".join(f", {c.name}=tf.zeros([1, 1], tf.{c.input_dtype})" for c in further)
    versions = [("training backend", trained_on)]
    for package in ("keras_negrec", "keras", "tensorflow", "numpy"):
        versions.append((package, importlib.import_module(package).__version__))
    parts = [
        f"# {version.parent.name}, version {version.name}",
        f"Exported {datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC.",
        *("## Model", _table(("", "value"), configuration), stored),
        *("## Data", data or "Not given."),
        *("## Metrics", _table(("", "value"), figures) if figures else "Not given."),
        *("## Signatures", _table(("signature", "inputs", "outputs"), signatures)),
        "Over gRPC, TF Serving fills in inputs that have a default. In TensorFlow and over REST "
        f"send them: `feedback` [[1]] (all kept), {also_send}`k` {servable.k}, the lists of ids "
        f"[[{padding}]] (no ids). {padding} also pads shorter histories. For example:",
        f"    serve = tf.saved_model.load('{version.parent.name}/{version.name}')"
        ".signatures['serving_default']\n"
        f"    serve(item_ids=tf.constant([{vocabulary.items[:1].tolist()}]{cast}), "
        f"feedback=tf.constant([[1]]){zeros})",
        *([_TIMES] if any(column.is_time for column in further) else []),
        *("## Versions", _table(("", "version"), versions)),
    ]
    return "\n\n".join(parts) + "\n"


def table_recall(model, table: ItemTable, k: int, *, num_histories: int = 256) -> float:
    """The mean share of the model's k best items that are among the k best by `table`, too.

    Histories are of one kept item, left in, and encoded with the model's own vectors.
    """
    k = min(k, model.num_items)
    ids = np.unique(np.linspace(1, model.num_items, num_histories).astype("int32"))
    columns = {"item_ids": ids, "feedback": np.ones(len(ids))}
    columns |= {column.name: np.zeros(len(ids)) for column in further_inputs(model)}
    vectors = model.history_vectors(Sessions(columns, np.arange(len(ids) + 1), ids))
    tables = ItemTable(model.item_vectors().numpy()), table
    shares = []
    for some in np.array_split(vectors, -(-len(ids) // 16)):  # 16 rows of scores at a time
        scores = (each.scores(some, 0, model.num_items) for each in tables)
        best = [tf.math.top_k(each, k).indices.numpy() for each in scores]
        shares += [len(np.intersect1d(*pair)) / k for pair in zip(*best, strict=True)]
    return float(np.mean(shares))


def _configuration(model) -> list[tuple[str, str]]:
    if isinstance(model, WeightedHybrid):
        trained, of_trained, counted, of_counted = model.exported_parts()
        joined = f"the model {of_trained:g}, ItemCooccurrence {of_counted:g}, standardized"
        names = ("window", "directed", "shrinkage", "decay", "skip_weight", "num_neighbors")
        of_counts = [(f"ItemCooccurrence: {n}", str(getattr(counted, n))) for n in names]
        return [*_configuration(trained), ("weights in the ranking", joined), *of_counts]
    rows = [("model", type(model).__name__), ("parameters", f"{model.count_params():,}")]
    if isinstance(model, Ensemble):
        for i, part in enumerate(model.models, start=1):
            rows += [(f"model {i}: {name}", value) for name, value in _configuration(part)]
        return rows
    return rows + sorted(
        (name, _plain(value)) for name, value in model.get_config().items() if name != "dtype"
    )


def _plain(value) -> str:
    """A part of a model as code would write it, and anything else as it is."""
    if isinstance(value, list):
        return ", ".join(map(_plain, value)) or "none"
    if isinstance(value, dict) and "class_name" in value:
        arguments = (f"{name}={_plain(each)}" for name, each in value["config"].items())
        return f"{value['class_name']}({', '.join(arguments)})"
    return str(value)


def _describe(name: str, function) -> tuple[str, str, str]:
    inputs = [
        f"`{each.name}` {_shape(spec)}" + " (has a default)" * (each.default is not each.empty)
        for each, spec in zip(
            inspect.signature(function.python_function).parameters.values(),
            function.input_signature,
            strict=True,
        )
    ]
    outputs = function.get_concrete_function().structured_outputs.items()
    return f"`{name}`", ", ".join(inputs), ", ".join(f"`{key}` {_shape(v)}" for key, v in outputs)


def _shape(spec) -> str:
    sizes = ", ".join("any" if size is None else str(size) for size in spec.shape)
    return f"{spec.dtype.name} ({sizes})"


def _table(header, rows) -> str:
    lines = ["| " + " | ".join(map(str, cells)) + " |" for cells in (header, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(header), *lines[1:]])
