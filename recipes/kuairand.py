"""Short-video sessions with real negative feedback: KuaiRand-Pure.

The events of each user's history train; the first video watched long after it is the target,
the first one not watched long the skip target. A tenth of the users, drawn at random, serve for
early stopping, the others for the figures.

Data: https://kuairand.com (Gao et al., CIKM 2022), as a labelled Parquet file with the columns
user_id, position, item_id, long_view, is_like, is_hate and split.
"""

from pathlib import Path

import numpy as np

import experiment
from keras_negrec import data
from progress import doing


def load(path: Path) -> tuple[data.Split, data.Vocabulary]:
    with doing(f"reading {path}"):
        events = data.read_kuairand(path)
        vocabulary = data.Vocabulary.from_items(events["item"])
        sessions = data.Sessions.from_events(events, vocabulary)
        in_history = events["split"].eq("history").groupby(events["session"]).sum()
        split = data.split_at(sessions, in_history.loc[sessions.keys].to_numpy().astype(np.int64))
        return split, vocabulary


def main():
    options = experiment.parser(
        __doc__,
        data="the labelled Parquet file",
        batch_size=64,
        epochs=12,
        patience=2,
        out=Path("saved_models/kuairand"),
    )
    args = experiment.parse(options)
    experiment.run(args, *load(args.data))


if __name__ == "__main__":
    main()
