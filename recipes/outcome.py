"""What a recipe writes at its end: table, report, metrics, and the model with its answers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

import keras_negrec as kn
from progress import doing, duration, say
from quiet import tf

COLUMNS = {
    "hr@10": "HR@10",
    "ndcg@10": "NDCG@10",
    "skip_hr@10": "skip HR@10",
    "feedback_auc": "feedback AUC",
}
HEADS = {
    "hr@10": "next kept\nin top 10\n(HR@10)",
    "ndcg@10": "\n\nNDCG@10",
    "skip_hr@10": "next skip\nin top 10\n(less!)",
    "feedback_auc": "kept one\nabove skip\n(AUC)",
}


def readable(metrics: dict[str, float]) -> list[str]:
    """Those of the metrics that the table has, as text."""
    return [
        f"{title} {metrics[name]:.4f}"
        for name, title in COLUMNS.items()
        if not np.isnan(metrics.get(name, np.nan))
    ]


def print_table(comparison, title: str) -> None:
    """One line for each label, oracles first; in 80 columns, whatever the terminal."""
    labels = sorted(comparison.labels, key=lambda label: not label.endswith("oracle"))
    metrics = {label: comparison.seed_metrics(label) for label in labels}
    names = [name for name in COLUMNS if metrics[labels[0]][name].notna().any()]
    table = Table(title=title, box=box.SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("", ratio=1)
    for name in names:
        table.add_column(HEADS[name], justify="right", no_wrap=True)
    table.add_column("\n\ntraining", justify="right", no_wrap=True)
    for label in labels:
        means, spreads = metrics[label].mean(), metrics[label].std()
        seconds = [run.seconds for run in comparison.runs[label] if run.seconds]
        table.add_row(
            label,
            *(_cell(name, means[name], spreads[name]) for name in names),
            duration(np.mean(seconds)) if seconds else "",
        )
    console = Console(width=80)
    with console.capture() as lines:
        console.print(table)
    say(lines.get().rstrip())


def _cell(name: str, mean: float, spread: float) -> str:
    """The mean, and under it the standard deviation over several seeds."""
    if name == "ndcg@10":
        return f"{mean:.4f}" + ("" if np.isnan(spread) else f"\n±{spread:.4f}")
    return f"{mean:.1%}" + ("" if np.isnan(spread) else f"\n±{spread:.1%}")


def write_comparison(args, comparison, stopped: list[str]) -> None:
    """Prints the table and how the configurations differ; writes report, table and metrics."""
    baseline = args.baseline or comparison.labels[0]
    seeds = f", seeds {', '.join(map(str, args.seed))}" if len(args.seed) > 1 else ""
    print_table(comparison, f"{len(comparison.examples):,} held-out histories{seeds}")
    for run in stopped:
        say(f"stopped by --max-minutes {args.max_minutes:g}: {run}")
    with doing("resampling the histories for intervals and tests"):
        table = comparison.table(baseline)
        report = comparison.report(args.out, baseline)
    table.to_csv(args.out / "table.csv", float_format="%.6g")
    found = {
        label: {
            "metrics": comparison.seed_metrics(label).to_dict("records"),
            "seconds": [run.seconds for run in runs if run.seed is not None],
        }
        for label, runs in comparison.runs.items()
    }
    options = {name: str(value) for name, value in vars(args).items()}
    (args.out / "results.json").write_text(
        json.dumps({"options": options, "results": found}, indent=1), "utf-8"
    )
    say(f"what changed against {baseline}, and whether it is luck: {report}")
    say(f"all metrics: {args.out / 'table.csv'}, by seed: {args.out / 'results.json'}")


def write_model(args, model, label: str, metrics: dict[str, float], split, vocabulary) -> None:
    """Saves and exports the best model, and shows what it recommends."""
    data = getattr(args, "data", None)
    source = "Simulated sessions" if data in (None, "simulator") else Path(data).name
    with doing("saving and exporting the best model"):
        model.save(args.out / "model.keras")
        version = kn.export(model, args.out, metrics=metrics, data=f"{source}. {split.summary()}")
        say(f"best model by validation ({label}): {args.out / 'model.keras'}")
        say(f"exported for TF Serving: {version}")
        kn.serving.write_sample(args.out, split.test.histories, vocabulary)
        show_recommendations(version, model, split, vocabulary)


def show_recommendations(version: Path, model, split, vocabulary) -> None:
    """Asks the exported model for one held-out listener and prints the answer."""
    serve = tf.saved_model.load(str(version)).signatures["serving_default"]
    listener = split.test.take([0])
    items = vocabulary.decode(listener.histories.item_ids).tolist()
    feedback = listener.histories.feedback.tolist()
    inputs = serve.structured_input_signature[1]
    columns = {name: listener.histories.columns[name].tolist() for name in {*inputs} - {"item_ids"}}
    asked = {"item_ids": items, **columns}
    answer = serve(
        **{
            name: tf.constant(np.array([asked[name]], spec.dtype.as_numpy_dtype))
            for name, spec in inputs.items()
        }
    )
    signs = {1: "+", 0: " ", -1: "-"}
    newest = [f"{signs[int(np.sign(f))]}{i}" for i, f in zip(items, feedback, strict=True)][-5:]
    say(f"\nlistener {listener.histories.keys[0]}, newest events (+ kept, - skipped):")
    say("  " + " ".join(newest))
    say("recommended by the exported model:")
    asked_of_model = {name: [values] for name, values in columns.items()}
    [best] = kn.recommend(model, [items], k=5, **asked_of_model)
    found, scores = (answer[name][0].numpy().tolist() for name in ("item_ids", "scores"))
    for item, score, (expected, _) in zip(found, scores, best, strict=False):
        item = item.decode() if isinstance(item, bytes) else item
        note = "" if item == expected else f"  (recommend says {expected})"
        say(f"  {item}  {score:.4f}{note}")
    say(f"what the listener kept next: {vocabulary.decode(listener.targets).tolist()[0]}")
