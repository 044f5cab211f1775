"""What an exported model is, for the person who finds it."""

from __future__ import annotations

import datetime
import importlib

from keras_negrec.models.ensemble import Ensemble
from keras_negrec.serving.further_inputs import further_inputs
from keras_negrec.serving.servable import Servable

PACKAGES = ("keras_negrec", "keras", "tensorflow", "numpy")


def model_card(
    model, servable: Servable, *, name, version, recall, metrics, data, trained_on
) -> str:
    """A page in Markdown: the model, its data and metrics, how it is called, what made it.

    `recall` is the share of the k best items that a smaller item table keeps, or None; the other
    arguments are those of `export`.
    """
    is_string = servable.id_dtype == "string"
    padding, dtype = ('""', "") if is_string else ("-1", ", tf.int64")
    further = further_inputs(model)
    also_send = "".join(f"`{column.name}` [[0]], " for column in further)
    also_sent = "".join(
        f", {column.name}=tf.zeros([1, 1], tf.{column.input_dtype})" for column in further
    )
    stored = f"Item vectors are stored as {servable.item_dtype}."
    if recall is not None:
        stored += (
            f" Of the {min(servable.k, model.num_items)} best items after histories of one item, "
            f"{recall:.2%} are the same as with float32."
        )
    figures = [(key, f"{value:.5g}") for key, value in (metrics or {}).items()]
    versions = [("training backend", trained_on)]
    for package in PACKAGES:
        versions.append((package, importlib.import_module(package).__version__))
    lines = [
        *(f"# {name}, version {version}", ""),
        *(f"Exported {datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC.", ""),
        *("## Model", "", *_table(("", "value"), _configuration(model)), "", stored, ""),
        *("## Data", "", data or "Not given.", ""),
        *("## Metrics", "", *(_table(("", "value"), figures) if figures else ["Not given."]), ""),
        *("## Signatures", ""),
        *_table(("signature", "inputs", "outputs"), map(_describe, servable.functions.items())),
        "",
        "Over gRPC, TF Serving fills in inputs that have a default. In TensorFlow and over REST "
        f"send them: `feedback` [[1]] (all kept), {also_send}`k` {servable.k}, the lists of ids "
        f"[[{padding}]] (no ids). {padding} also pads shorter histories. For example:",
        "",
        f"    serve = tf.saved_model.load('{name}/{version}').signatures['serving_default']",
        f"    serve(item_ids=tf.constant([{servable.example}]{dtype}), "
        f"feedback=tf.constant([[1]]){also_sent})",
        "",
        *("## Versions", "", *_table(("", "version"), versions)),
    ]
    return "\n".join(lines) + "\n"


def _configuration(model) -> list[tuple[str, str]]:
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


def _describe(item) -> tuple[str, str, str]:
    name, function = item
    concrete = function.get_concrete_function()
    defaults = function.function_spec.fullargspec.defaults or ()
    specs = function.input_signature
    names = function.function_spec.arg_names[-len(specs) :]
    required = len(names) - len(defaults)
    inputs = [
        f"`{argument}` {_shape(spec)}" + (" (has a default)" if i >= required else "")
        for i, (argument, spec) in enumerate(zip(names, specs, strict=True))
    ]
    outputs = [f"`{key}` {_shape(value)}" for key, value in concrete.structured_outputs.items()]
    return f"`{name}`", ", ".join(inputs), ", ".join(outputs)


def _shape(spec) -> str:
    sizes = ", ".join("any" if size is None else str(size) for size in spec.shape)
    return f"{spec.dtype.name} ({sizes})"


def _table(header, rows) -> list[str]:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
