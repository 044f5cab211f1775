"""A service that trains every night: append the day's log, update the model, export what is better.

Each night the log of the day is appended to a prepared folder, of which nothing else is read.
Yesterday's model goes on training on the newest day, with a replay of older rows; tracks that are
new start beside their neighbors, and tracks that left are retired. Before that, the day that has
just ended judges it: the model that is served, and the updated one, which has not seen that day,
rank every event that was kept. The updated one is exported where it finds no less. Beside it a
model is trained from nothing on all days before, every `--retrain-every` days, for comparison.

Without `--data` the days are simulated: tastes drift, and tracks come and go. With a MovieLens
file its second half is cut into days of equally many ratings.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

import quiet as quiet  # first: it loads Keras without the lines that TensorFlow writes

# isort: split
import keras_negrec as kn
from keras_negrec import data
from keras_negrec.models.encoders import ENCODERS
from progress import doing, duration, say
from quiet import keras

COLUMNS = {"session": "session", "item": "item", "feedback": "feedback", "position": "position"}


class Day(NamedTuple):
    """What happened on a day: events with the columns of `COLUMNS`, and items that left."""

    events: pd.DataFrame
    retired: list


def simulated_days(
    num_days: int, first: int, a_day: int, num_items: int, seed: int
) -> Iterator[Day]:
    """A first day of `first` sessions, and days of `a_day` sessions after it.

    Seven tenths of the tracks are there from the start; the others come evenly over the days, and
    half as many of the first ones leave. Over all days what is liked turns by a third of the way
    to something else, moods and tracks alike.
    """
    simulation = data.simulate_sessions(first + num_days * a_day, num_items, seed=seed)
    other = data.simulate_sessions(1, num_items, seed=seed + 1).truth
    truth, random = simulation.truth, np.random.default_rng([seed, 3])
    order = random.permutation(num_items)
    old, new = np.split(order, [int(0.7 * num_items)])
    begins, ends = np.zeros(num_items), np.full(num_items, num_days + 1)
    begins[new] = np.linspace(1, num_days, len(new)).astype(int)
    leaving = old[: len(new) // 2]
    ends[leaving] = np.linspace(1, num_days, len(leaving)).astype(int)
    names = truth.items["item"].to_numpy()
    start = 0
    for day in range(num_days + 1):
        stop = start + (a_day if day else first)
        angle = np.pi / 6 * day / num_days
        turned = {
            name: np.cos(angle) * one + np.sin(angle) * two
            for name, one, two in (
                ("match", truth.match, other.match),
                ("appeal", truth.items["appeal"].to_numpy(), other.items["appeal"].to_numpy()),
            )
        }
        is_there = (begins <= day) & (day < ends)
        today = dataclasses.replace(
            truth,
            items=truth.items.assign(
                weight=truth.items["weight"] * is_there, appeal=turned["appeal"].astype("float32")
            ),
            match=turned["match"].astype("float32"),
            sessions=truth.sessions.iloc[start:stop].assign(user=np.arange(stop - start)),
        )
        events = data.Simulation(today, seed * 1000 + day, has_users=False).events
        events["session"] += start
        yield Day(events[list(COLUMNS)], names[ends == day].tolist())
        start = stop


def movielens_days(path: Path, num_days: int) -> Iterator[Day]:
    """The first half of the ratings as the first day, and the second half in as many as asked."""
    events = data.read_movielens(path).sort_values("timestamp", kind="stable")
    half = len(events) // 2
    bounds = [0, *np.linspace(half, len(events), num_days + 1).astype(int)]
    for first, stop in itertools.pairwise(bounds):
        day = events.iloc[first:stop].copy()
        day["position"] = day.groupby("session").cumcount()
        yield Day(day[list(COLUMNS)], [])


def held_out(day: Day, vocabulary: data.Vocabulary) -> data.Examples:
    """Every event that a listener of the day kept, among the items that are known before it."""
    known = day.events[day.events["item"].isin(vocabulary.items)]
    return data.Examples.every_prefix(data.Sessions.from_events(known, vocabulary))


def knowing(model, vocabulary: data.Vocabulary):
    """The model, which also knows what is new, as untrained as it is there."""
    new = vocabulary.items[model.num_items :]
    return kn.grow_vocabulary(model, new) if len(new) else model


def fresh_model(args, vocabulary: data.Vocabulary):
    keras.utils.set_random_seed(args.seed)
    return kn.build_model(
        args.model,
        vocabulary=vocabulary,
        negative_loss="keep",
        feedback_inputs=True,
        max_length=args.max_length,
        dropout=0.1,
        fused_softmax=True,
    )


def main():
    options = argparse.ArgumentParser(description=__doc__)
    add = options.add_argument
    add("--data", type=Path, help="a MovieLens file; default: simulated")
    add("--days", type=int, default=30, help="after the first one (30)")
    add("--first", type=int, default=10_000, help="simulated sessions of the first day (10000)")
    add("--sessions", type=int, default=2000, help="simulated sessions of each other day (2000)")
    add("--items", type=int, default=1000, help="simulated tracks (1000)")
    add("--model", choices=[*ENCODERS], default="sasrec", help="encoder (sasrec)")
    add("--max-length", type=int, default=32, help="events of a history (32)")
    add("--epochs", type=int, default=10, help="of a training from nothing (10)")
    add("--update-epochs", type=int, default=2, help="of an update (2)")
    add("--replay", type=float, default=5.0, help="older events for each new one (5)")
    add("--retrain-every", type=int, default=10, help="days; 0: never (10)")
    add("--batch-size", type=int, default=32, help="sessions of a step (32)")
    add("--seed", type=int, default=0, help="of data and models (0)")
    out = Path("saved_models/nightly")
    add(
        "--out", type=Path, default=out, help="folder of prepared/, model/ and nights.csv, replaced"
    )
    args = options.parse_args()
    for name, least in (("days", 1), ("items", 60), ("first", 1), ("sessions", 1)):
        if (given := getattr(args, name)) < least:
            options.error(f"--{name} must be at least {least}. Received: {given}")
    if args.data is None:
        days = simulated_days(args.days, args.first, args.sessions, args.items, args.seed)
    else:
        days = movielens_days(args.data, args.days)
    for name in ("prepared", "model"):
        shutil.rmtree(args.out / name, ignore_errors=True)
    args.out.mkdir(parents=True, exist_ok=True)
    folder = args.out / "prepared"
    table = pd.DataFrame(nights(args, days, folder))
    table.to_csv(args.out / "nights.csv", index=False)
    both = table[table["day"] > 1]  # on day 1 nothing has been updated yet
    if "retrained" in both and both["retrained"].notna().any():
        both = both.dropna(subset="retrained")
        hits, seconds = (
            (both["updated"] / both["retrained"]).mean(),
            both["retrain s"] / both["update s"],
        )
        say(f"on days {both['day'].tolist()} the updated model finds {hits:.3f} times what the one")
        say(f"trained from nothing finds, in 1/{seconds.mean():.1f} of the time")


def nights(args, days: Iterator[Day], folder: Path) -> list[dict]:
    """What happened each night, a row a day; all of it is said while it happens."""
    first = next(days)
    data.prepare(first.events, folder, format_options=COLUMNS, split=None, verbose=False)
    prepared = data.load_prepared(folder)
    model = fresh_model(args, prepared.vocabulary)
    with doing("training on the first day"):
        trained = fit(args, model, prepared)
    say(f"trained on the first day, {prepared}, in {duration(trained)}")
    served, rows, updated_in = None, [], 0.0
    for number, day in enumerate(days, start=1):
        with doing(f"day {number}"):
            examples = held_out(day, prepared.vocabulary)
            after = kn.evaluate(model, examples, k=[10])
            served = knowing(served or model, prepared.vocabulary)
            before = kn.evaluate(served, examples, k=[10])
            row = {"day": number, "served": before["hr@10"], "updated": after["hr@10"]}
            row |= {"update s": updated_in}
            if args.retrain_every and number % args.retrain_every == 0:
                other = fresh_model(args, prepared.vocabulary)
                other.vocabulary = model.vocabulary  # which knows what is retired
                row["retrain s"] = fit(args, other, prepared)
                row["retrained"] = kn.evaluate(other, examples, k=[10])["hr@10"]
            if after["hr@10"] >= before["hr@10"]:
                last = "the first day" if number == 1 else f"day {number - 1}"
                changes = f"Trained on all days up to {last}: {prepared}."
                kn.export(model, args.out / "model", metrics=after, data=changes)
                served = model
            row["exported"] = served is model
            known = len(prepared.vocabulary)
            appended = time.perf_counter()
            data.append(day.events, folder, format_options=COLUMNS, verbose=False)
            prepared = data.load_prepared(folder)
            row |= {"append s": time.perf_counter() - appended}
            row |= {"new": len(prepared.vocabulary) - known, "retired": len(day.retired)}
            gone = [item for item in day.retired if item in prepared.vocabulary.items]
            started = time.perf_counter()
            model = kn.update(
                model,
                prepared.newest(replay=args.replay, seed=number),
                retired=gone,
                epochs=args.update_epochs,
                batch_size=args.batch_size,
                seed=args.seed + number,
                fit_options={"verbose": 0},
            )
            updated_in = time.perf_counter() - started
        rows.append(row)
        say(as_text(row))
    return rows


def as_text(row: dict) -> str:
    """A night in a few lines."""
    text = f"day {row['day']}: HR@10 {row['updated']:.4f}"
    if row["update s"]:
        text += f" updated in {duration(row['update s'])}, {row['served']:.4f} served before"
    text += ", exported" if row["exported"] else ", not exported"
    if "retrained" in row:
        text += f"\n  {row['retrained']:.4f} from nothing, in {duration(row['retrain s'])}"
    return f"{text}\n  then {row['new']} new items, {row['retired']} retired"


def fit(args, model, prepared) -> float:
    """Trains on all that the folder holds, and returns the seconds."""
    started = time.perf_counter()
    dataset = model.training_dataset(prepared, batch_size=args.batch_size, seed=args.seed)
    model.fit(dataset, epochs=args.epochs, shuffle=False, verbose=0)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
