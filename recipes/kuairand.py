"""Short-video sessions with real negative feedback: KuaiRand-Pure.

The events of each user's history train; the first video watched long after it is the target,
the first one not watched long the skip target. A tenth of the users, drawn at random, serve for
early stopping, the others for the figures. With --timed, only events whose time is known count,
those of the file's history not among them: of each user the events of the validation period train.

Data: https://kuairand.com (Gao et al., CIKM 2022), as a labelled Parquet file with the columns
user_id, position, item_id, long_view, is_like, is_hate and split, and for --timed time_ms.
"""

from pathlib import Path

import numpy as np
import pandas as pd

import experiment
from keras_negrec import data
from progress import doing


def load(path: Path, timed: bool = False) -> tuple[data.Split, data.Vocabulary]:
    with doing(f"reading {path}"):
        events = data.read_kuairand(path)
        if timed:
            columns = {"user_id": "session", "position": "position", "time_ms": "timestamp"}
            times = pd.read_parquet(path, columns=list(columns)).rename(columns=columns).dropna()
            events = events.merge(times, on=["session", "position"])
        vocabulary = data.Vocabulary.from_items(events["item"])
        sessions = data.Sessions.from_events(events, vocabulary)
        before = "validation" if timed else "history"
        in_history = events["split"].eq(before).groupby(events["session"]).sum()
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
    options.add_argument("--timed", action="store_true", help="only events whose time is known")
    args = experiment.parse(options)
    experiment.run(args, *load(args.data, args.timed))


if __name__ == "__main__":
    main()
