"""Ratings as sessions: MovieLens, with ratings below 4 as negative feedback.

Leave one out: the last film of each user rated 4 or more is the target.

Data: https://grouplens.org/datasets/movielens (ratings.dat, ratings.csv or u.data), or a
RecBole .inter file.
"""

from pathlib import Path

import experiment
from keras_negrec import data


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
    args = options.parse_args()
    events = data.read_movielens(args.data, positive_from=args.positive_from)
    vocabulary = data.Vocabulary.from_items(events["item"])
    sessions = data.Sessions.from_events(events, vocabulary)
    experiment.run(args, data.leave_one_out(sessions), vocabulary)


if __name__ == "__main__":
    main()
