"""Ratings as sessions: MovieLens, with ratings below 4 as negative feedback.

Leave one out: the last film of each user rated 4 or more is the target. Or with --split time as in
PNFRec (arXiv 2508.14786): the last tenth of the ratings is held out, and the last film that a user
rated there is the target, or where its rating is below 4 the skip target; half of the users, drawn
at random, validate. `hr_difference@10` in the results is the paper's dHR.

Data: https://grouplens.org/datasets/movielens (ratings.dat, ratings.csv or u.data), or a
RecBole .inter file.
"""

from pathlib import Path

import numpy as np

import experiment
from keras_negrec import data
from progress import doing


def load(path: Path, positive_from: float = 4) -> tuple[data.Split, data.Vocabulary]:
    with doing(f"reading {path}"):
        events = data.read_movielens(path, positive_from=positive_from)
        vocabulary = data.Vocabulary.from_items(events["item"])
        sessions = data.Sessions.from_events(events, vocabulary)
        return data.leave_one_out(sessions), vocabulary


def load_by_time(
    path: Path, positive_from: float = 4, halves_seed: int = 42
) -> tuple[data.Split, data.Vocabulary]:
    with doing(f"reading {path}"):
        events = data.read_movielens(path, positive_from=positive_from)
        raters = events.groupby("item")["session"].transform("nunique")
        events = events[raters >= 5].sort_values(["session", "timestamp"], kind="stable")
        cut = events["timestamp"].quantile(0.9, interpolation="nearest")
        is_late = events["timestamp"] >= cut
        train, later = events[~is_late], events[is_late]
        later = later[later["item"].isin(train["item"]) & later["session"].isin(train["session"])]
        likes = later["feedback"].gt(0).groupby(later["session"]).transform("sum")
        later = later[likes >= 2]
        users = np.random.default_rng(halves_seed).permutation(later["session"].unique())
        validates = later["session"].isin(users[: len(users) // 2])
        vocabulary = data.Vocabulary.from_items(train["item"])
        halves = later[validates], later[~validates]
        split = data.Split.from_tables(train, *halves, vocabulary, predict="last", target="next")
        return split, vocabulary


def main():
    options = experiment.parser(
        __doc__,
        data="the ratings file",
        max_length=200,
        out=Path("saved_models/movielens"),
    )
    options.add_argument(
        "--positive-from", type=float, default=4, help="the lowest rating that is positive"
    )
    options.add_argument(
        "--split", choices=("leave-one-out", "time"), default="leave-one-out", help="see above"
    )
    options.add_argument(
        "--halves-seed", type=int, default=42, help="of the users that validate, with --split time"
    )
    args = experiment.parse(options)
    if args.split == "time":
        experiment.run(args, *load_by_time(args.data, args.positive_from, args.halves_seed))
    else:
        experiment.run(args, *load(args.data, args.positive_from))


if __name__ == "__main__":
    main()
