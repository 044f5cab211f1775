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
import torch
from pytorch_lightning import seed_everything
from rectools import Columns
from rectools.dataset import Dataset
from rectools.fast_transformers import FlatSASRecNet, SequenceBatchDataset, build_sequences
from rectools.models import BERT4RecModel, HSTUModel, SASRecModel

MODELS = {"sasrec": SASRecModel, "bert4rec": BERT4RecModel, "hstu": HSTUModel}


def lightning_model(settings: dict, trainer):
    return MODELS[settings["model"]](
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


class FlatSASRec:
    """RecTools' `FlatSASRecNet`, trained in the plain loop that its module leaves to the user."""

    require_recommend_context = False

    def __init__(self, events: pd.DataFrame, settings: dict):
        self.settings = settings
        users, items = (
            torch.tensor(events[name].to_numpy()) for name in (Columns.User, Columns.Item)
        )
        order = torch.arange(len(events))  # they are in order of time
        x, y, self.items, self.users = build_sequences(users, items, order, settings["max_length"])
        self.histories = torch.cat([x[:, 1:], y[:, -1:]], dim=1)
        self.batches = torch.utils.data.DataLoader(
            SequenceBatchDataset(x, y), batch_size=settings["batch_size"], shuffle=True
        )
        shape = ("embedding_dim", "num_layers", "num_heads", "max_length", "dropout")
        self.net = FlatSASRecNet(len(self.items), *(settings[name] for name in shape))
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=settings["learning_rate"])

    def fit_partial(self, dataset, min_epochs: int, max_epochs: int) -> None:
        self.net.train()
        for _ in range(max_epochs):
            for batch in self.batches:
                logits, targets = self.net(batch).flatten(0, 1), batch["y"].flatten() - 1
                loss = torch.nn.functional.cross_entropy(logits, targets, ignore_index=-1)
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()

    def recommend(self, users, dataset, k: int, **options) -> pd.DataFrame:
        self.net.eval()
        with torch.no_grad():
            scores = self.net.encode_last(self.histories) @ self.net.all_item_embeddings().T
        for row, history in enumerate(self.histories):
            scores[row, history[history > 0] - 1] = -torch.inf
        best = self.items[scores.topk(k).indices].flatten()
        return pd.DataFrame({Columns.User: self.users.repeat_interleave(k), Columns.Item: best})


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

    if settings["model"] == "flat_sasrec":
        model = FlatSASRec(events, settings)
    else:
        model = lightning_model(settings, trainer)
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
