"""What the recipes share: options turned into configurations, compared by `kn.compare`."""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from pathlib import Path

import keras_negrec as kn
from outcome import write_comparison, write_model
from progress import doing, say
from training import Trainings, best_run, loss_names


def parser(description: str, *, data: str | None = None, **defaults) -> argparse.ArgumentParser:
    """The options that all recipes have. `data` says what `--data` is, `defaults` override."""
    options = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    if data is not None:
        options.add_argument("--data", required=True, type=Path, help=data)
    _add_comparison_options(options.add_argument_group("what is compared"))
    _add_model_options(options.add_argument_group("models"))
    _add_training_options(options.add_argument_group("training"))
    _add_result_options(options.add_argument_group("results"), "out" not in defaults)
    options.set_defaults(**defaults)
    return options


def _add_comparison_options(group) -> None:
    group.add_argument("--model", nargs="+", default=["sasrec"], help="encoders")
    group.add_argument(
        "--negative-loss",
        nargs="*",
        default=["none", "contrastive"],
        metavar="LOSS",
        help="none, or losses that build_model knows, each a configuration; "
        "without any name: contrastive",
    )
    group.add_argument(
        "--no-negative-loss", action="store_const", const=["none"], dest="negative_loss"
    )
    group.add_argument("--context", nargs="+", default=["hidden"], help="hidden, item")
    group.add_argument(
        "--configuration",
        action="append",
        default=[],
        metavar="LABEL={...}",
        help="one more, with any keywords of build_model as JSON, such as "
        """'light={"name": "sasrec", "negative_loss": true, "negative_weight": 0.1}'; """
        "keywords that it leaves out come from the other options",
    )
    group.add_argument(
        "--keep-weight",
        type=float,
        nargs="+",
        metavar="WEIGHT",
        help="rank by models with the keep loss at each of these weights; they are trained once",
    )
    group.add_argument(
        "--cooccurrence-weight",
        type=float,
        default=0.0,
        help="also rank by each model and the item co-occurrence with this weight, as one "
        "(WeightedHybrid); 0: do not",
    )
    group.add_argument(
        "--ensemble",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="also rank by the models of all seeds as one, and export these in place of the best",
    )
    group.add_argument(
        "--start-from",
        type=Path,
        metavar="MODEL.keras",
        help="train this saved model on, in place of a new one: with the options of training, "
        "and without those that make a model",
    )
    group.add_argument("--baseline", help="label; default: the first configuration")
    group.add_argument(
        "--exclude-seen",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="whether items of the history are taken out of the ranking",
    )
    group.add_argument(
        "--sampled",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="also rank among sampled candidates, as papers do",
    )


def _add_model_options(group) -> None:
    group.add_argument(
        "--negative-weight", type=float, default=0.25, help="of the loss that learns from skips"
    )
    group.add_argument(
        "--feedback-inputs",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="whether the encoder sees how each event was received",
    )
    group.add_argument("--embedding-dim", type=int, default=64, help="width of the vectors")
    group.add_argument("--num-layers", type=int, help="default: the encoder's own")
    group.add_argument("--num-heads", type=int, help="default: the encoder's own")
    group.add_argument("--max-length", type=int, default=50, help="events of a history")
    group.add_argument("--dropout", type=float, default=0.2, help="share of dropped activations")
    group.add_argument(
        "--num-sampled-negatives", type=int, help="sampled softmax; default: full softmax"
    )
    group.add_argument(
        "--model-arguments",
        type=json_object,
        default={},
        metavar="{...}",
        help="""any further keywords of build_model, as JSON, such as '{"objective": "gbce"}'""",
    )


def _add_training_options(group) -> None:
    group.add_argument("--epochs", type=int, default=30, help="the most")
    group.add_argument(
        "--patience",
        type=int,
        default=3,
        help="validations without a better NDCG@10 before it ends",
    )
    group.add_argument(
        "--every", type=int, default=1, help="validate after the first epoch and every n after it"
    )
    group.add_argument(
        "--refit",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="then train anew on all events before the test targets, for the best number of epochs",
    )
    group.add_argument("--seed", type=int, nargs="+", default=[0], help="one training for each")
    group.add_argument("--batch-size", type=int, default=128, help="sessions of a step")
    group.add_argument("--learning-rate", type=float, default=1e-3, help="of Adam")
    group.add_argument(
        "--devices", type=int, default=1, help="of this machine, which share each batch"
    )
    group.add_argument(
        "--shard-items",
        action="store_true",
        help="each of the devices holds a part of the item table (JAX)",
    )
    group.add_argument(
        "--max-minutes",
        type=float,
        help="all trainings end after these minutes, each with an equal share of them; what they "
        "have reached is evaluated, written and exported",
    )


def _add_result_options(group, out_is_required: bool) -> None:
    group.add_argument("--out", type=Path, required=out_is_required, help="folder for the results")
    group.add_argument(
        "--resume",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="keep finished runs in OUT/runs, and do none again that is there",
    )
    group.add_argument(
        "--export",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="save the model that is best on validation data, and export it for TF Serving",
    )


def json_object(text: str) -> dict:
    """A JSON object as a dict, for argparse."""
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"no JSON ({error}): {text}") from error
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError(f"no JSON object: {text}")
    return found


def parse(options: argparse.ArgumentParser, *, scorers: tuple[str, ...] = ()) -> argparse.Namespace:
    """The options of the command line, and under `configurations` what they compare.

    All that can be refused is refused here, before data are read and models trained.

    `scorers` are the labels that `run` will be given scorers for.
    """
    args = options.parse_args()
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

    def add(label: str, keywords: dict) -> None:
        model = model_settings(args, **keywords)
        if not keywords.get("negative_loss"):
            model.pop("negative_weight")  # says nothing, and must not make it another run
        if not args.start_from:
            check(label, model)
        labelled = {label: {"model": model}}
        if args.keep_weight and "keep" in loss_names(keywords.get("negative_loss")):
            labelled = {
                f"{label} (weight {weight:g})": {"model": model, "keep_weight": weight}
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

    losses = ["none"] if args.start_from else args.negative_loss or ["contrastive"]
    for model in args.model or ([] if args.configuration else ["sasrec"]):
        for loss in losses:
            if loss == "none":
                label = f"{model}, trained on" if args.start_from else model
                add(label, {"name": model, "negative_loss": False})
                continue
            for context in args.context:
                label = f"{model} + {loss}" + (f" ({context})" if len(args.context) > 1 else "")
                add(label, {"name": model, "negative_loss": loss, "context": context})
    for text in args.configuration:
        label, _, keywords = text.partition("=")
        try:
            settings = json.loads(keywords)
        except json.JSONDecodeError as error:
            raise ValueError(
                f"--configuration must be LABEL={{...}} with JSON after the first equals sign "
                f"({error}). Received: {text}"
            ) from error
        if not label.strip() or not isinstance(settings, dict) or "name" not in settings:
            raise ValueError(
                "--configuration must be LABEL={...}, a JSON object with the model's name under "
                f'"name". Received: {text}'
            )
        add(label.strip(), settings)
    return found


def model_settings(args, **settings) -> dict:
    """What `build_model` is called with: the given settings, and the options for the others.

    Options that were not given leave `build_model` its defaults.
    """
    names = ("max_length", "embedding_dim", "num_layers", "num_heads", "dropout")
    names += ("negative_weight", "num_sampled_negatives", "feedback_inputs", "learning_rate")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    return given | args.model_arguments | settings


def check(label: str, settings: dict) -> None:
    """A `ValueError` for keywords that `build_model` refuses, before anything is trained."""
    try:
        kn.build_model(**{"num_items": 2} | settings)
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
        models = folder / "models" if args.export or args.ensemble else None
        trainings = Trainings(args, split, vocabulary, settings, models)

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

        with doing("ranking all items after the test histories"):
            comparison = compare()
            scorers = dict(scorers or {})
            ensembles = _ensembles(args, settings, trainings)
            scorers |= ensembles
            if args.cooccurrence_weight:
                scorers["co-occurrence"] = trainings.cooccurrence(args.refit)
            scorers["popularity"] = kn.models.Popularity(split.train, len(vocabulary))
            comparison = compare(scorers, verbose=False)
        write_comparison(args, comparison, trainings.stopped)
        if args.export:
            label, seed = best_run(comparison, settings)
            ensemble = ensembles.get(_of_all_seeds(args, label))
            if ensemble is not None:
                label, seed = _of_all_seeds(args, label), None
            model = ensemble or trainings.model(settings[label], seed)
            metrics = comparison.seed_metrics(label).loc[[seed]].iloc[0].to_dict()
            write_model(args, model, metrics, split, vocabulary)


def _of_all_seeds(args, label: str) -> str:
    return f"{label}, {len(args.seed)} models as one"


def _ensembles(args, settings: dict, trainings: Trainings) -> dict:
    if not args.ensemble:
        return {}
    return {
        _of_all_seeds(args, label): kn.models.Ensemble(
            [trainings.model(one, seed) for seed in args.seed],
            name=f"{one['model']['name']}_ensemble",
        )
        for label, one in settings.items()
        if "cooccurrence_weight" not in one
    }
