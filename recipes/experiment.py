"""What the recipes share: options turned into configurations, compared by `kn.compare`."""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import tempfile
from pathlib import Path

import quiet as quiet  # first: it loads Keras without the lines that TensorFlow writes

# isort: split
import item_columns
import keras_negrec as kn
from outcome import write_comparison, write_model
from progress import doing, say
from trade_offs import write_trade_offs
from training import Trainings, best_run, loss_names, ranks_by_keep


def parser(description: str, *, data: str | None = None, **defaults) -> argparse.ArgumentParser:
    """The options that all recipes have. `data` says what `--data` is, `defaults` override."""
    options = argparse.ArgumentParser(description=description, usage="%(prog)s [options]")
    if data is not None:
        options.add_argument("--data", required=True, type=Path, help=data)

    group = options.add_argument_group("what is compared")
    add = adder(group)
    add("--model", ["sasrec"], "encoders")
    losses = "none, or losses that build_model knows, each a configuration; no name: keep"
    add("--negative-loss", ["none", "keep"], losses, nargs="*", metavar="LOSS")
    no_loss = {"action": "store_const", "const": ["none"], "dest": "negative_loss"}
    group.add_argument("--no-negative-loss", **no_loss, help="as --negative-loss none")
    add("--context", ["hidden"], "of the contrastive loss: hidden, item")
    one_more = (
        "one more, by keywords of build_model as JSON, and by the other options where it has none"
    )
    add("--configuration", labelled, one_more, action="append", metavar='LABEL={"encoder": ...}')
    weights = (
        "rank by models with the keep loss at each of these, or at one that validation chooses, "
        "with more hits and fewer skips than without the loss (default: 1)"
    )
    add("--keep-weight", keep_weight, weights, nargs="+", metavar="NUMBER|chosen")
    add("--cooccurrence-weight", 0.0, "also rank by each model and item co-occurrence with this")
    add("--ensemble", False, "also rank by the models of all seeds as one, and export these")
    add("--start-from", Path, "train this .keras model on, without the options that make a model")
    add("--baseline", str, "label; default: the first configuration")
    add("--exclude-seen", True, "whether items of the history are taken out of the ranking")
    add("--sampled", False, "also rank among sampled candidates, as papers do")

    item_columns.add_options(options)

    add = adder(options.add_argument_group("models"))
    add("--negative-weight", 0.25, "of the loss that learns from skips")
    add("--feedback-inputs", True, "whether the encoder sees how each event was received")
    add("--embedding-dim", 64, "width of the vectors")
    add("--num-layers", int, "default: the encoder's own")
    add("--num-heads", int, "default: the encoder's own")
    add("--max-length", 50, "events of a history")
    add("--dropout", 0.2, "share of activations that is dropped")
    add("--num-sampled-negatives", int, "sampled softmax; default: full softmax")
    keywords = """further keywords of build_model, as JSON: '{"objective": "gbce"}'"""
    add("--model-arguments", json_object, keywords, metavar="{...}")

    add = adder(options.add_argument_group("training"))
    add("--epochs", 30, "the most")
    add("--patience", 3, "validations without a better NDCG@10 after which it ends")
    add("--every", 1, "validate after the first epoch and every n after it")
    add(
        "--refit", False, "train anew on all before the test targets, for the best number of epochs"
    )
    add("--seed", [0], "one training for each")
    add("--batch-size", 128, "sessions of a step")
    add("--learning-rate", 1e-3, "of Adam")
    add("--devices", 1, "of this machine, which share each batch")
    add("--shard-items", False, "each of the devices holds a part of the item table (JAX)")
    add("--max-minutes", float, "all trainings end after these, and what they reached is evaluated")

    add = adder(options.add_argument_group("results"))
    add("--out", Path, "folder for the results", required="out" not in defaults)
    resume = "keep finished runs in OUT/runs, do none again, and go on in one that was killed"
    add("--resume", False, resume)
    add("--export", True, "save the best model by validation, and export it for TF Serving")
    options.set_defaults(**defaults)
    return options


def adder(group):
    """A function that adds an option to the group, with the type of its default.

    In place of a default there may be a type, for an option that can be left out.
    """

    def add(name: str, default, help: str, **more) -> None:
        if callable(default):
            group.add_argument(name, **{"type": default, "help": help} | more)
            return
        if isinstance(default, bool):
            more["action"] = argparse.BooleanOptionalAction
        elif isinstance(default, list):
            more = {"nargs": "+", "type": type(default[0])} | more
        else:
            more["type"] = type(default)
        group.add_argument(name, default=default, help=f"{help} (default: %(default)s)", **more)

    return add


def json_object(text: str) -> dict:
    """A JSON object as a dict, for argparse."""
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"no JSON ({error}): {text}") from error
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError(f"no JSON object: {text}")
    return found


def keep_weight(text: str) -> float | str:
    """A number, or "chosen", for argparse."""
    return text if text == "chosen" else float(text)


def labelled(text: str) -> tuple[str, dict]:
    """LABEL={...} with the model's name in the object, for argparse."""
    label, _, keywords = text.partition("=")
    settings = json_object(keywords)
    if not label.strip() or "encoder" not in settings:
        raise argparse.ArgumentTypeError(
            f'it must be LABEL={{...}}, with the model under "encoder". Received: {text}'
        )
    return label.strip(), settings


def parse(options: argparse.ArgumentParser, *, scorers: tuple[str, ...] = ()) -> argparse.Namespace:
    """The options of the command line, and under `configurations` what they compare.

    All that can be refused is refused here, before data are read and models trained.

    `scorers` are the labels that `run` will be given scorers for.
    """
    args = options.parse_args()
    item_columns.check(options, args)
    if args.start_from and not args.start_from.is_file():
        options.error(f"--start-from must be a .keras file. Received: {args.start_from}")
    scorers = (*scorers, "popularity", *(["co-occurrence"] if args.cooccurrence_weight else []))
    try:
        args.configurations = configurations(args, scorers)
    except ValueError as error:
        options.error(str(error))
    labels = [*args.configurations, *scorers]
    if args.baseline is not None and args.baseline not in labels:
        options.error(f"--baseline must be one of {', '.join(labels)}. Received: {args.baseline}")
    return args


def configurations(args, taken: tuple[str, ...] = ()) -> dict[str, dict]:
    """By label, the keywords of `build_model` under "model", and how else it is ranked by."""
    found: dict[str, dict] = {}
    known_of_items = item_columns.fingerprint(args)

    def add(label: str, keywords: dict) -> None:
        add_one(label, keywords)
        if known_of_items:
            add_one(f"{label} with features", keywords | {"item_features": known_of_items})

    def add_one(label: str, keywords: dict) -> None:
        model = model_settings(args, **keywords)
        if not keywords.get("negative_loss"):
            model.pop("negative_weight")  # says nothing, and must not make it another run
        if not args.start_from:
            check(label, model)
        labelled = {label: {"model": model}}
        if args.keep_weight and "keep" in loss_names(keywords.get("negative_loss")):
            labelled = {
                label if weight == "chosen" else f"{label} (weight {weight:g})": {
                    "model": model,
                    "keep_weight": weight,
                }
                for weight in args.keep_weight
            }
        for label, settings in labelled.items():
            if label in found or label in taken:
                raise ValueError(
                    f"Each configuration needs a label of its own. Received: {label!r}"
                )
            found[label] = settings
            if args.cooccurrence_weight:
                weight = {"cooccurrence_weight": args.cooccurrence_weight}
                found[f"{label} + co-occurrence"] = settings | weight

    losses = ["none"] if args.start_from else args.negative_loss or ["keep"]
    for model in args.model or ([] if args.configuration else ["sasrec"]):
        for loss in losses:
            if loss == "none":
                label = f"{model}, trained on" if args.start_from else model
                add(label, {"encoder": model, "negative_loss": False})
                continue
            keywords = {"encoder": model, "negative_loss": loss}
            if loss != "contrastive":
                add(f"{model} + {loss}", keywords)
                continue
            for context in args.context:
                label = f"{model} + {loss}" + (f" ({context})" if len(args.context) > 1 else "")
                add(label, keywords | {"context": context})
    for label, keywords in args.configuration or ():
        add(label, keywords)
    if args.refit and "chosen" in (args.keep_weight or ()):
        raise ValueError(
            "--keep-weight chosen needs --no-refit: once trained on the validation items, a model "
            "cannot be judged by them."
        )
    models = [one["model"] for one in found.values()]
    plain = {model["encoder"] for model in models if not model.get("negative_loss")}
    for label, one in found.items():
        if one.get("keep_weight") == "chosen" and one["model"]["encoder"] not in plain:
            raise ValueError(
                f"--keep-weight chosen needs the same model without a loss beside {label!r}, "
                "by --negative-loss none keep."
            )
    return found


def model_settings(args, **settings) -> dict:
    """What `build_model` is called with: the given settings, and the options for the others.

    Options that were not given leave `build_model` its defaults.
    """
    names = ("max_length", "embedding_dim", "num_layers", "num_heads", "dropout")
    names += ("negative_weight", "num_sampled_negatives", "feedback_inputs", "learning_rate")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    return given | (args.model_arguments or {}) | settings


def check(label: str, settings: dict) -> None:
    """A `ValueError` for keywords that `build_model` refuses, before anything is trained."""
    features = {"item_features": [[0], [0]]} if "item_features" in settings else {}
    try:
        kn.build_model(**{"num_items": 2} | settings | features)
    except (TypeError, ValueError) as error:
        raise ValueError(f"build_model refuses the configuration {label!r}: {error}") from error


def run(args, split, vocabulary, *, scorers: dict | None = None) -> None:
    """Compares what the options ask for; prints the table, writes report, metrics and export.

    `scorers`, by label, are compared beside the models, without training.
    """
    say(f"{split.summary()}; catalogue: {len(vocabulary)} items")
    args.out.mkdir(parents=True, exist_ok=True)
    training = {name: getattr(args, name) for name in ("epochs", "patience", "every", "refit")}
    training["batch_size"] = args.batch_size
    if args.max_minutes is not None:
        training["max_minutes"] = args.max_minutes
    if args.devices > 1:
        training |= {"devices": args.devices, "shard_items": args.shard_items}
    if args.start_from is not None:
        training["start_from"] = hashlib.sha256(args.start_from.read_bytes()).hexdigest()[:12]
    data = {name: getattr(split, name).fingerprint() for name in ("train", "validation")}
    settings = {
        label: one | {"training": training, "data": data}
        for label, one in args.configurations.items()
    }
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.out if args.resume else Path(temporary)
        needs_models = args.export or args.ensemble or any(map(ranks_by_keep, settings.values()))
        models = folder / "models" if needs_models else None
        unfinished = args.out / "unfinished" if args.resume else None
        features = item_columns.features(args, vocabulary)
        trainings = Trainings(args, split, vocabulary, settings, features, models, unfinished)

        def compare(scorers=None, verbose=True):
            return kn.compare(
                trainings,
                settings,
                split.test,
                folder=folder / "runs",
                seeds=args.seed,
                scorers=scorers,
                exclude_seen=args.exclude_seen,
                sampled=args.sampled,
                verbose=verbose,
            )

        with doing("comparing"):
            comparison = compare()
            scorers = dict(scorers or {})
            ensembles = _ensembles(args, settings, trainings)
            scorers |= ensembles
            if args.cooccurrence_weight:
                scorers["co-occurrence"] = trainings.cooccurrence(args.refit)
            scorers["popularity"] = kn.models.Popularity(split.train, len(vocabulary))
            comparison = compare(scorers, verbose=False)
            if unfinished is not None:
                shutil.rmtree(unfinished, ignore_errors=True)  # all runs are stored
        write_comparison(args, comparison, trainings.stopped)
        gains = write_trade_offs(args, comparison, trainings, split)
        if args.export:
            label, seed = best_run(comparison, settings)
            ensemble = ensembles.get(_of_all_seeds(args, label))
            if ensemble is not None:
                label, seed = _of_all_seeds(args, label), None
            model = ensemble or trainings.model(settings[label], seed)
            metrics = comparison.seed_metrics(label).loc[[seed]].iloc[0].to_dict()
            write_model(args, model, label, metrics, split, vocabulary)
        for line in gains:
            say(line)
        if args.export:
            say(f"to try the model on a page: python -m keras_negrec.serving {args.out.parent}")


def _of_all_seeds(args, label: str) -> str:
    return f"{label}, {len(args.seed)} models as one"


def _ensembles(args, settings: dict, trainings: Trainings) -> dict:
    if not args.ensemble:
        return {}
    return {
        _of_all_seeds(args, label): kn.models.Ensemble(
            [trainings.model(one, seed) for seed in args.seed],
            name=f"{one['model']['encoder']}_ensemble",
        )
        for label, one in settings.items()
        if "cooccurrence_weight" not in one
    }
