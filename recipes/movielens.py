"""Ratings as sessions: MovieLens, with ratings below 4 as negative feedback.

Leave one out: the last film of each user rated 4 or more is the target.

Data: https://grouplens.org/datasets/movielens (ratings.dat, ratings.csv or u.data), or a
RecBole .inter file.
"""

from pathlib import Path

import experiment
from keras_negrec import data
from progress import doing


def load(path: Path, positive_from: float = 4) -> tuple[data.Split, data.Vocabulary]:
    with doing(f"reading {path}"):
        events = data.read_movielens(path, positive_from=positive_from)
        vocabulary = data.Vocabulary.from_items(events["item"])
        sessions = data.Sessions.from_events(events, vocabulary)
        return data.leave_one_out(sessions), vocabulary


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
    args = experiment.parse(options)
    experiment.run(args, *load(args.data, args.positive_from))


if __name__ == "__main__":
    main()
