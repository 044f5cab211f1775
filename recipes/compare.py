"""Which loss is better, and is it luck? Models and losses, over seeds, with tests and a report.

Every combination of --model, --negative-loss and --context is trained with every seed, and so is
each --configuration. Runs that are finished are kept in OUT/runs and never done again: after an
interruption, or to add a seed or a loss, call again. Early stopping looks at validation
alone. OUT/report.html says what came out.
"""

import argparse
import functools
import json
from pathlib import Path

import experiment
import keras_negrec
import kuairand
import movielens
import quickstart
import sequences
from keras_negrec import data
from keras_negrec.models.negative_loss_names import negative_loss_names


def load_prepared(path: Path) -> tuple[data.Split, data.Vocabulary]:
    prepared = data.load_prepared(path)
    return prepared.split(), prepared.vocabulary


READERS = {
    "kuairand": kuairand.load,
    "movielens": movielens.load,
    "prepared": load_prepared,
    "sequences": sequences.load,
}


def parse_args() -> argparse.Namespace:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    options.add_argument("--data", required=True, help="a file, a prepared folder, or simulator")
    options.add_argument("--format", choices=READERS, help="of the file or folder")
    options.add_argument("--sessions", type=int, default=8000, help="how many are simulated")
    options.add_argument("--data-seed", type=int, default=0, help="of the simulator")
    options.add_argument(
        "--model", nargs="+", help="encoders; default: sasrec, or none with --configuration"
    )
    options.add_argument(
        "--negative-loss",
        nargs="+",
        default=["none", "contrastive"],
        help="none, or names that build_model knows",
    )
    options.add_argument("--context", nargs="+", default=["hidden"], help="hidden, item")
    options.add_argument(
        "--configuration",
        action="append",
        default=[],
        metavar="LABEL={...}",
        help="one more, with any keywords of build_model as JSON, such as "
        """'light={"name": "sasrec", "negative_loss": true, "negative_weight": 0.1}'; """
        "keywords that it leaves out come from the other options",
    )
    options.add_argument(
        "--keep-weight",
        type=float,
        nargs="+",
        metavar="STRENGTH",
        help="rank by models with the keep loss at each of these strengths, which are trained once "
        "for all and stopped early by their own",
    )
    options.add_argument(
        "--sampled",
        action="store_true",
        help="also rank among sampled candidates, as papers do",
    )
    options.add_argument("--baseline", help="label; default: the first configuration")
    options.add_argument("--out", type=Path, default=Path("saved_models/compare"))
    experiment.add_training_options(options)
    args = options.parse_args()
    if (args.data == "simulator") == (args.format is not None):
        options.error("--format is needed with a file as --data, and has no use with simulator")
    try:
        args.configurations = configurations(args)
    except ValueError as error:
        options.error(str(error))
    known = [*args.configurations, *ready_scorers(args)]
    if args.baseline is not None and args.baseline not in known:
        options.error(f"--baseline must be one of {', '.join(known)}. Received: {args.baseline}")
    return args


def configurations(args) -> dict[str, dict]:
    """By label, the keywords of `build_model` under "model" and maybe a "keep_weight"."""
    found: dict[str, dict] = {}

    def add(label: str, settings: dict) -> None:
        model = experiment.model_settings(args, **settings)
        if not settings.get("negative_loss"):
            model.pop("negative_weight")  # says nothing, and must not make it another run
        check(label, model)
        labelled = {label: {"model": model}}
        if args.keep_weight and "keep" in negative_loss_names(settings.get("negative_loss")):
            labelled = {
                f"{label} (strength {strength:g})": {"model": model, "keep_weight": strength}
                for strength in args.keep_weight
            }
        for name, configuration in labelled.items():
            if name in found or name in ready_scorers(args):
                raise ValueError(f"Each configuration needs a label of its own. Received: {name!r}")
            found[name] = configuration

    for model in args.model or ([] if args.configuration else ["sasrec"]):
        for loss in args.negative_loss:
            if loss == "none":
                add(model, {"name": model, "negative_loss": False})
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


def check(label: str, settings: dict) -> None:
    """A `ValueError` for keywords that `build_model` refuses, before anything is trained."""
    try:
        keras_negrec.build_model(**{"num_items": 2} | settings)
    except (TypeError, ValueError) as error:
        raise ValueError(f"build_model refuses the configuration {label!r}: {error}") from error


def ready_scorers(args) -> list[str]:
    return ["popularity", "oracle"] if args.data == "simulator" else ["popularity"]


def main():
    args = parse_args()
    scorers = {}
    if args.data == "simulator":
        split, vocabulary, oracle = quickstart.simulate(args.sessions, args.data_seed)
        scorers["oracle"] = oracle
    else:
        split, vocabulary = READERS[args.format](Path(args.data))
    scorers["popularity"] = keras_negrec.models.Popularity(split.train, len(vocabulary))
    print(split.summary(), f"catalogue: {len(vocabulary)} items", sep="; ", flush=True)

    names = ("epochs", "patience", "every", "refit", "batch_size")
    training = {name: getattr(args, name) for name in names}
    fingerprints = {
        "train": split.train.fingerprint(),
        "validation": split.validation.fingerprint(),
    }

    @functools.lru_cache(maxsize=1)
    def trained(model_settings, seed):
        model_settings = json.loads(model_settings)
        title = f"{model_settings['name']}, seed {seed}"
        return experiment.train(args, split, vocabulary, model_settings, seed, title)[0]

    def train(settings, seed):
        model = trained(json.dumps(settings["model"]), seed)
        if "keep_weight" in settings:
            model.keep_weight = settings["keep_weight"]
        figures = keras_negrec.evaluate(model, split.validation, exclude_seen=args.exclude_seen)
        print("validation:", *experiment.readable(figures), sep="  ", flush=True)
        return model

    comparison = keras_negrec.compare(
        train,
        {
            label: {**configuration, "training": training, "data": fingerprints}
            for label, configuration in args.configurations.items()
        },
        split.test,
        folder=args.out / "runs",
        seeds=args.seed,
        scorers=scorers,
        exclude_seen=args.exclude_seen,
        sampled=args.sampled,
    )
    baseline = args.baseline or comparison.labels[0]
    table = comparison.table(baseline)
    table.to_csv(args.out / "table.csv")
    print(table.xs("hr@10", level="metric").to_string(float_format="{:.4f}".format))
    report = comparison.report(args.out, baseline)
    print(f"report: {report}\nall figures: {args.out / 'table.csv'}")


if __name__ == "__main__":
    main()
