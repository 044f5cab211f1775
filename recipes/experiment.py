"""What the recipes share: their options, training, the table and the chart."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import keras
import matplotlib
import numpy as np
from rich.console import Console
from rich.table import Table

import keras_negrec
from devices import over_devices
from keras_negrec.data import Sessions, Split, Vocabulary
from keras_negrec.models.negative_loss_names import negative_loss_names

matplotlib.use("Agg")
import matplotlib.pyplot as plt

COLUMNS = {
    "hr@1": "HR@1",
    "hr@5": "HR@5",
    "hr@10": "HR@10",
    "hr@20": "HR@20",
    "ndcg@10": "NDCG@10",
    "mrr": "MRR",
    "skip_hr@10": "skip HR@10",
    "skip_mrr": "skip MRR",
    "feedback_auc": "feedback AUC",
}
LEGEND = """\
Every item of the catalogue is ranked after each held-out history.
HR@K, NDCG@K, MRR: how high the next KEPT item stands (higher is better).
skip HR@10, skip MRR: how high the next SKIPPED item stands (lower is better).
feedback AUC: how often the next kept item outranks the next skipped one (0.5 is chance).
± is the standard deviation over the seeds; train s: seconds of training.
popularity ranks by how often items were kept, for everyone alike{oracle}."""
ORACLE = "; the oracle knows how the\nsimulated listeners choose, and no model can beat it"
COOCCURRENCE = """\
co-occurrence ranks by how often items were kept soon after those of the history;
"+ co-occurrence" by the model and, with a weight of {weight}, by these counts together."""


@dataclass
class Result:
    """The figures of one configuration, one dict a seed."""

    label: str
    metrics: list[dict[str, float]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def mean(self, name: str) -> float:
        return float(np.mean([metrics[name] for metrics in self.metrics]))

    def spread(self, name: str) -> float:
        """Standard deviation over the seeds (0 for one seed)."""
        values = [metrics[name] for metrics in self.metrics]
        return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def parser(description: str, *, data: str | None = None, **defaults) -> argparse.ArgumentParser:
    """The options that all recipes have. `data` says what `--data` is, `defaults` override."""
    options = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    if data is not None:
        options.add_argument("--data", required=True, type=Path, help=data)
    options.add_argument(
        "--model",
        nargs="+",
        choices=["bert4rec", "caser", "gru4rec", "sasrec"],
        default=["sasrec"],
        help="encoders",
    )
    options.add_argument(
        "--negative-loss",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="train with, or without, the contrastive negative-feedback loss; neither: both",
    )
    options.add_argument("--context", choices=["hidden", "item"], default="hidden")
    options.add_argument(
        "--ensemble",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="also rank by the models of all seeds as one, and export these in place of the best",
    )
    options.add_argument(
        "--cooccurrence-weight",
        type=float,
        default=0.0,
        help="also rank by each model and the item co-occurrence with this weight, as one "
        "(WeightedHybrid); 0: do not",
    )
    options.add_argument(
        "--start-from",
        type=Path,
        metavar="MODEL.keras",
        help="train this saved model on, in place of a new one: with the options of training, "
        "and without those that make a model",
    )
    add_training_options(options)
    options.add_argument(
        "--out", type=Path, required="out" not in defaults, help="folder for the results"
    )
    options.set_defaults(**defaults)
    return options


def add_training_options(options: argparse.ArgumentParser) -> None:
    """The options of models and training that do not say what is compared."""
    options.add_argument("--negative-weight", type=float, default=0.25, help="alpha of that loss")
    options.add_argument(
        "--feedback-inputs",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="whether the encoder sees how each event was received",
    )
    options.add_argument("--epochs", type=int, default=30, help="at most so many")
    options.add_argument(
        "--patience",
        type=int,
        default=3,
        help="stop after so many validations without a better NDCG@10",
    )
    options.add_argument(
        "--every", type=int, default=1, help="validate after the first epoch and each so many more"
    )
    options.add_argument(
        "--refit",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="then train anew on all events before the test targets, for the best number of epochs",
    )
    options.add_argument("--seed", type=int, nargs="+", default=[0], help="one training for each")
    options.add_argument("--batch-size", type=int, default=128)
    options.add_argument("--learning-rate", type=float, default=1e-3)
    options.add_argument("--embedding-dim", type=int, default=64)
    options.add_argument("--num-layers", type=int, help="default: the encoder's own")
    options.add_argument("--num-heads", type=int, help="default: the encoder's own")
    options.add_argument("--max-length", type=int, default=50)
    options.add_argument("--dropout", type=float, default=0.2)
    options.add_argument(
        "--num-sampled-negatives",
        type=int,
        default=None,
        help="sampled softmax; default: full softmax",
    )
    options.add_argument(
        "--model-arguments",
        type=json_object,
        default={},
        metavar="{...}",
        help="""any further keywords of build_model, as JSON, such as '{"objective": "gbce"}'""",
    )
    options.add_argument(
        "--devices", type=int, default=1, help="of this machine, which share each batch"
    )
    options.add_argument(
        "--shard-items",
        action="store_true",
        help="each of the devices holds a part of the item table (JAX)",
    )
    options.add_argument(
        "--exclude-seen",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="whether items of the history are taken out of the ranking",
    )


def run(
    args: argparse.Namespace,
    split: Split,
    vocabulary: Vocabulary,
    *,
    top: dict | None = None,
    has_feedback: bool = True,
) -> None:
    """Trains what the options ask for, prints the table, writes chart, figures and export.

    Args:
        args: what `parser` parsed.
        split: `Split` of the data.
        vocabulary: `Vocabulary` of the data.
        top: scorers, by label, for the top of the table.
        has_feedback: whether there is any negative feedback to learn from.
    """
    print(split.summary(), f"catalogue: {len(vocabulary)} items", sep="; ", flush=True)
    args.out.mkdir(parents=True, exist_ok=True)
    results = []
    for label, scorer in (top or {}).items():
        results.append(Result(label, [evaluate(scorer, split, args)]))

    if args.cooccurrence_weight:
        counted = cooccurrence(split.before_test() if args.refit else split.train, vocabulary)
    negative_losses = [False, True] if args.negative_loss is None else [args.negative_loss]
    if not has_feedback or args.start_from is not None:
        negative_losses = [False]
    best_model, best_value, best_metrics = None, -1.0, {}
    for name in args.model:
        for negative_loss in negative_losses:
            label = f"{name}, trained on" if args.start_from else name
            result = Result(f"{label} + negative loss" if negative_loss else label)
            results.append(result)
            if args.cooccurrence_weight:
                hybrids = Result(f"{result.label} + co-occurrence")
                results.append(hybrids)
            models = []
            for seed in args.seed:
                started = time.monotonic()
                settings = model_settings(
                    args, name=name, negative_loss=negative_loss, context=args.context
                )
                model, value = train(
                    args, split, vocabulary, settings, seed, f"{result.label}, seed {seed}"
                )
                result.seconds.append(time.monotonic() - started)
                result.metrics.append(evaluate(model, split, args))
                print_figures(f"{result.label}, seed {seed}, test:", result.metrics[-1])
                if args.cooccurrence_weight:
                    hybrids.metrics.append(evaluate(hybrid(args, model, counted), split, args))
                    print_figures(f"{hybrids.label}, seed {seed}, test:", hybrids.metrics[-1])
                if args.ensemble:
                    models.append(model)
                if value > best_value:
                    best_model, best_value, best_metrics = model, value, result.metrics[-1]
            if args.ensemble:
                together = keras_negrec.models.Ensemble(models, name=f"{name}_ensemble")
                metrics = evaluate(together, split, args)
                results.append(Result(f"{result.label}, {len(models)} models as one", [metrics]))
                print_figures(f"{results[-1].label}, test:", metrics)
                if best_model in models:
                    best_model, best_metrics = together, metrics
    if args.cooccurrence_weight:
        results.append(Result("co-occurrence", [evaluate(counted, split, args)]))
    popularity = keras_negrec.models.Popularity(split.train, len(vocabulary))
    results.append(Result("popularity", [evaluate(popularity, split, args)]))

    print_table(results, f"{len(split.test)} held-out histories, {len(args.seed)} seed(s)")
    print(LEGEND.format(oracle=ORACLE if "oracle" in (top or {}) else ""))
    if args.cooccurrence_weight:
        print(COOCCURRENCE.format(weight=args.cooccurrence_weight))
    chart = args.out / "table.png"
    save_chart(results, chart)
    figures = {
        result.label: {"metrics": result.metrics, "seconds": result.seconds} for result in results
    }
    options = {name: str(value) for name, value in vars(args).items()}
    (args.out / "results.json").write_text(
        json.dumps({"options": options, "results": figures}, indent=1), "utf-8"
    )
    best_model.save(args.out / "model.keras")
    version = keras_negrec.export(
        best_model, args.out, metrics=best_metrics, data=data_description(args, split)
    )
    print(f"chart: {chart}\nfigures: {args.out / 'results.json'}")
    how = "by validation, all seeds" if args.ensemble else "by validation"
    print(f"best model ({best_model.name}, {how}): {args.out / 'model.keras'}")
    print(f"exported for TF Serving: {version}")
    show_recommendations(version, best_model, split, vocabulary)


def data_description(args, split: Split) -> str:
    """What the model card says of the data."""
    source = getattr(args, "data", None)
    return f"{source.name if source else 'Simulated sessions'}. {split.summary()}"


def json_object(text: str) -> dict:
    """A JSON object as a dict, for argparse."""
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"no JSON ({error}): {text}") from error
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError(f"no JSON object: {text}")
    return found


def model_settings(args, **settings) -> dict:
    """What `build_model` is called with: the given settings, and the options for the others.

    Options that were not given leave `build_model` its defaults.
    """
    from_options = {
        name: getattr(args, name)
        for name in (
            "max_length",
            "embedding_dim",
            "num_layers",
            "num_heads",
            "dropout",
            "negative_weight",
            "num_sampled_negatives",
            "feedback_inputs",
            "learning_rate",
        )
        if getattr(args, name) is not None
    }
    return from_options | args.model_arguments | settings


def train(args, split: Split, vocabulary: Vocabulary, settings: dict, seed: int, title: str):
    """Fits one model with early stopping; returns it and its best validation NDCG@10.

    Its `history` is that of the training that was validated, also where another one followed.
    """
    print(f"\n== {title}", flush=True)
    model = build(args, vocabulary, settings, seed)
    validation = keras_negrec.callbacks.RankingEvaluation(
        split.validation,
        exclude_seen=args.exclude_seen,
        every=args.every,
        monitor="ndcg@10",
        patience=args.patience,
    )
    fit(args, model, split.train, seed, args.epochs, [validation])
    if getattr(args, "cooccurrence_weight", 0):
        scorer = hybrid(args, model, cooccurrence(split.train, vocabulary))
        figures = keras_negrec.evaluate(scorer, split.validation, exclude_seen=args.exclude_seen)
        print_figures(f"{title} + co-occurrence, validation:", figures)
    if args.refit:
        epochs = validation.best_epoch + 1
        print(f"-- {title}: again on all events before the test targets, {epochs} epochs")
        history, model = model.history, build(args, vocabulary, settings, seed)
        fit(args, model, split.before_test(), seed, epochs, [])
        model.history = history
    return model, validation.best


def cooccurrence(sessions: Sessions, vocabulary: Vocabulary):
    return keras_negrec.models.ItemCooccurrence(sessions, vocabulary=vocabulary)


def hybrid(args, model, counted):
    """A model and what was counted in the sessions it was trained on, as one scorer."""
    return keras_negrec.models.WeightedHybrid([model, counted], [1.0, args.cooccurrence_weight])


def build(args, vocabulary: Vocabulary, settings: dict, seed: int):
    keras.utils.set_random_seed(seed)
    if getattr(args, "start_from", None) is not None:
        return saved_model(args, vocabulary, settings["name"])
    needs_logits = (
        settings.get("num_sampled_negatives")
        or settings.get("objective", "softmax") != "softmax"
        or "not_to_recommend" in negative_loss_names(settings.get("negative_loss", False))
    )
    settings = {"fused_softmax": not needs_logits} | settings
    with over_devices(args.devices, args.shard_items, num_items=len(vocabulary)):
        return keras_negrec.build_model(vocabulary=vocabulary, **settings)


def saved_model(args, vocabulary: Vocabulary, encoder: str):
    """The model of `--start-from`, ready to be trained on."""
    with over_devices(args.devices, args.shard_items, num_items=len(vocabulary)):
        model = keras.saving.load_model(args.start_from)
    if type(model).__name__.lower() != encoder:
        raise SystemExit(f"{args.start_from} is a {type(model).__name__}, and --model is {encoder}")
    if model.vocabulary != vocabulary:
        raise SystemExit(f"{args.start_from} was trained on another vocabulary than that of --data")
    model.optimizer.learning_rate = args.learning_rate
    return model


def fit(args, model, sessions: Sessions, seed: int, epochs: int, callbacks: list):
    model.fit(
        model.training_dataset(sessions, batch_size=args.batch_size, seed=seed),
        epochs=epochs,
        shuffle=False,  # the dataset shuffles itself
        verbose=1 if sys.stdout.isatty() else 2,
        callbacks=callbacks,
    )


def print_figures(title: str, figures: dict[str, float]) -> None:
    print(title, *readable(figures), sep="  ", flush=True)


def readable(figures: dict[str, float]) -> list[str]:
    """Those of the figures that the table has, as text."""
    return [
        f"{COLUMNS[name]} {value:.4f}"
        for name, value in figures.items()
        if name in COLUMNS and not np.isnan(value)
    ]


def evaluate(scorer, split: Split, args) -> dict[str, float]:
    return keras_negrec.evaluate(scorer, split.test, exclude_seen=args.exclude_seen)


def print_table(results: list[Result], title: str) -> None:
    names = [name for name in COLUMNS if not np.isnan(results[0].mean(name))]
    table = Table(title=title)
    table.add_column("")
    for name in names:
        table.add_column(COLUMNS[name], justify="right")
    table.add_column("train s", justify="right")
    for result in results:
        cells = []
        for name in names:
            spread = f" ±{result.spread(name):.4f}" if len(result.metrics) > 1 else ""
            cells.append(f"{result.mean(name):.4f}{spread}")
        seconds = f"{np.mean(result.seconds):.0f}" if result.seconds else ""
        table.add_row(result.label, *cells, seconds)
    width = None if sys.stdout.isatty() else 170
    Console(width=width).print(table)


def save_chart(results: list[Result], path: Path) -> None:
    names = ["hr@10", "ndcg@10", "skip_hr@10", "feedback_auc"]
    names = [name for name in names if not np.isnan(results[0].mean(name))]
    figure, axes = plt.subplots(1, len(names), figsize=(4 * len(names), 0.5 * len(results) + 1.6))
    labels = [result.label for result in results]
    for axis, name in zip(np.atleast_1d(axes), names, strict=True):
        values = [result.mean(name) for result in results]
        errors = [result.spread(name) for result in results]
        colors = ["tab:orange" if "negative" in label else "tab:blue" for label in labels]
        bars = axis.barh(labels, values, xerr=errors, color=colors)
        axis.bar_label(bars, fmt="%.4f", padding=3)
        axis.invert_yaxis()
        axis.margins(x=0.25)
        direction = "lower is better" if name.startswith("skip") else "higher is better"
        axis.set_title(f"{COLUMNS[name]} ({direction})", fontsize=10)
        if axis is not np.atleast_1d(axes)[0]:
            axis.set_yticklabels([])
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def show_recommendations(version: Path, model, split: Split, vocabulary: Vocabulary) -> None:
    """Asks the exported model for one held-out listener and prints the answer."""
    import tensorflow as tf

    serve = tf.saved_model.load(str(version)).signatures["serving_default"]
    listener = split.test.take([0])
    items = vocabulary.decode(listener.histories.item_ids).tolist()
    feedback = listener.histories.feedback.tolist()
    answer = serve(
        item_ids=tf.constant([items], tf.string if vocabulary.is_string else tf.int64),
        feedback=tf.constant([feedback], tf.int32),
    )
    signs = {1: "+", 0: " ", -1: "-"}
    newest = [f"{signs[int(np.sign(f))]}{i}" for i, f in zip(items, feedback, strict=True)][-10:]
    print(f"\nlistener {listener.histories.keys[0]}, newest events (+ kept, - skipped):")
    print("  " + " ".join(newest))
    print("recommended by the exported model:")
    [best] = keras_negrec.recommend(model, [items], k=5, feedback=[feedback])
    for item, score, (expected, _) in zip(
        answer["item_ids"][0].numpy(), answer["scores"][0].numpy(), best, strict=False
    ):
        item = item.decode() if isinstance(item, bytes) else int(item)
        note = "" if item == expected else f"  (recommend says {expected})"
        print(f"  {item}  {score:.3f}{note}")
    target = vocabulary.decode(listener.targets).tolist()[0]
    print(f"what the listener kept next: {target}")
