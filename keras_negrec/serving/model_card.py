"""What an exported model is, for the person who finds it."""

from __future__ import annotations

import datetime
import importlib

from keras_negrec.data import Vocabulary
from keras_negrec.models.ensemble import Ensemble
from keras_negrec.serving.further_inputs import further_inputs

PACKAGES = ("keras_negrec", "keras", "tensorflow", "numpy")


def model_card(
    model,
    model_items: Vocabulary,
    *,
    name: str,
    version: int,
    signatures: dict,
    k: int,
    item_dtype: str,
    recall: float | None,
    metrics: dict[str, float] | None,
    data: str | None,
    trained_on: str,
) -> str:
    """A page in Markdown: the model, its data and figures, how it is called, what made it.

    Args:
        model: the model that is exported.
        model_items: its vocabulary.
        name, version: under what it is exported.
        signatures: `tf.function`s by name.
        k: how many items are recommended where the request does not say.
        item_dtype: how the item vectors are stored.
        recall: share of the k best items that storing them so keeps, None for all.
        metrics: figures of an evaluation.
        data: what it was trained on.
        trained_on: Keras's backend that trained it.
    """
    is_string = model_items.is_string
    padding, dtype = ('""', "") if is_string else ("-1", ", tf.int64")
    further = "".join(f"`{column.name}` [[0]], " for column in further_inputs(model))
    example = model_items.items[:1].tolist()
    more = "".join(
        f", {column.name}=tf.zeros([1, 1], tf.{column.input_dtype})"
        for column in further_inputs(model)
    )
    lines = [f"# {name}, version {version}", ""]
    lines += [f"Exported {datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC.", ""]
    lines += ["## Model", ""]
    lines += _table(("", "value"), _configuration(model))
    stored = f"Item vectors are stored as {item_dtype}."
    if recall is not None:
        stored += (
            f" Of the {min(k, model.num_items)} best items after histories of one item, "
            f"{recall:.2%} are the same as with float32."
        )
    lines += ["", stored]
    lines += ["", "## Data", "", data or "Not given."]
    lines += ["", "## Figures", ""]
    if metrics:
        lines += _table(("", "value"), [(key, f"{value:.5g}") for key, value in metrics.items()])
    else:
        lines += ["Not given."]
    lines += ["", "## Signatures", ""]
    lines += _table(("signature", "inputs", "outputs"), map(_describe, signatures.items()))
    lines += [
        "",
        "Over gRPC, TF Serving fills in inputs that have a default. In TensorFlow and over REST "
        f"send them: `feedback` [[1]] (all kept), {further}`k` {k}, the lists of ids "
        f"[[{padding}]] (no ids). {padding} also pads shorter histories. For example:",
        "",
        f"    serve = tf.saved_model.load('{name}/{version}').signatures['serving_default']",
        f"    serve(item_ids=tf.constant([{example}]{dtype}), feedback=tf.constant([[1]]){more})",
    ]
    lines += ["", "## Versions", ""]
    versions = [("training backend", trained_on)]
    for package in PACKAGES:
        versions.append((package, importlib.import_module(package).__version__))
    lines += _table(("", "version"), versions)
    return "\n".join(lines) + "\n"


def _configuration(model) -> list[tuple[str, str]]:
    rows = [("encoder", type(model).__name__), ("parameters", f"{model.count_params():,}")]
    if isinstance(model, Ensemble):
        for i, part in enumerate(model.models, start=1):
            rows += [(f"model {i}: {name}", value) for name, value in _configuration(part)]
        return rows
    config = {name: str(value) for name, value in model.get_config().items() if name != "dtype"}
    return rows + sorted(config.items())


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
