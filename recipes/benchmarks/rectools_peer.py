"""The other side of peer_benchmark.py: trains RecTools' models for it.

Runs in a Python that has `rectools[torch]`, and not keras_negrec. Reads JSON from standard input,
a line each: first the settings, then `{"epochs": n}` for every training of so many epochs more,
which it answers with the seconds, at last `{"recommend": k}`, which it answers with the best items
of each user.
"""

import json
import logging
import sys
import time
import warnings

import pandas as pd
import pytorch_lightning
from pytorch_lightning import seed_everything
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import BERT4RecModel, HSTUModel, SASRecModel

MODELS = {"sasrec": SASRecModel, "bert4rec": BERT4RecModel, "hstu": HSTUModel}


def main():
    answers = sys.stdout
    sys.stdout = sys.stderr  # the trainer prints
    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    settings = json.loads(sys.stdin.readline())
    events = pd.read_csv(settings["events"])
    events[Columns.Weight] = 1
    # Events of the same second stay in their order.
    seconds = events.pop("timestamp") + events.pop("position") / 1e4
    events[Columns.Datetime] = pd.Timestamp(0) + pd.to_timedelta(seconds, unit="s")
    asked = pd.to_timedelta(events.pop("request_timestamp"), unit="s") + pd.Timestamp(0)
    context = events[[Columns.User]].assign(**{Columns.Datetime: asked})
    context = context.drop_duplicates(Columns.User, keep="last")
    dataset = Dataset.construct(events)
    seed_everything(settings["seed"], verbose=False)

    def trainer():
        return pytorch_lightning.Trainer(
            accelerator="cpu",
            max_epochs=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )

    model = MODELS[settings["model"]](
        n_blocks=settings["num_layers"],
        n_heads=settings["num_heads"],
        n_factors=settings["embedding_dim"],
        dropout_rate=settings["dropout"],
        session_max_len=settings["max_length"],
        batch_size=settings["batch_size"],
        lr=settings["learning_rate"],
        loss="softmax",
        get_trainer_func=trainer,
        **settings["options"],
    )
    for line in sys.stdin:
        command = json.loads(line)
        if "epochs" in command:
            started = time.perf_counter()
            model.fit_partial(dataset, min_epochs=command["epochs"], max_epochs=command["epochs"])
            answer = time.perf_counter() - started
        else:
            users = events[Columns.User].unique()
            found = model.recommend(
                users,
                dataset,
                k=command["recommend"],
                filter_viewed=True,
                context=context if model.require_recommend_context else None,
            )
            answer = found.groupby(Columns.User)[Columns.Item].agg(list).to_dict()
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
