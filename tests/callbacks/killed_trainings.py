"""Trains once, and then again and again: killed at a random moment, and called anew.

    python killed_trainings.py FOLDER memory|streamed KILLS SEED [full]

Each training is a process of its own, forked from this one, which only imports. With `full` the
disk is full, as far as the killed training can see, from a random backup on. The last line is how
many of the trainings ended as the one that was not killed, to the bit.
"""

import hashlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path

import keras
from prepared_folder import write_prepared
from toy_sessions import toy_sessions

import keras_negrec as kn


class Started(keras.callbacks.Callback):
    """Tells the other process that training has started."""

    def __init__(self, file):
        super().__init__()
        self.file = file

    def on_train_begin(self, logs=None):
        self.file.touch()


class FullDisk(keras.callbacks.Callback):
    """From a step on, until training ends, no file can be longer than a few bytes."""

    def __init__(self, step):
        super().__init__()
        self.steps_left = step

    def on_train_batch_begin(self, batch, logs=None):
        self.steps_left -= 1
        if self.steps_left == 0:
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))

    def on_train_end(self, logs=None):
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)


def train(folder: Path, name: str, full_from: int | None = None) -> None:
    keras.utils.set_random_seed(1)
    prepared = kn.data.load_prepared(folder / "prepared")
    split = prepared.split()
    model = kn.build_model(
        "bert4rec",
        vocabulary=prepared.vocabulary,
        embedding_dim=8,
        num_layers=1,
        max_length=8,
        dropout=0.3,
        num_sampled_negatives=4,
        negative_loss="keep",
    )
    assert isinstance(model.optimizer, kn.optimizers.LazyAdam)
    data = split.train if STREAMED == "memory" else prepared
    ranking = kn.callbacks.RankingEvaluation(split.validation, monitor="ndcg@10", patience=20)
    callbacks = [ranking, kn.callbacks.BackupAndResume(folder / name / "backup", every=2)]
    if full_from is not None:
        callbacks.append(FullDisk(full_from))
    dataset = model.training_dataset(data, batch_size=8, seed=3)
    (folder / name).mkdir(exist_ok=True)
    callbacks.append(Started(folder / name / "started"))
    fit = {"epochs": 8, "callbacks": callbacks, "verbose": 0, "shuffle": False}
    history = model.fit(dataset, **fit).history
    (folder / name / "ended").touch()
    digest = hashlib.sha256()
    for variable in [*model.variables, *model.optimizer.variables]:
        digest.update(keras.ops.convert_to_numpy(variable).tobytes())
    found = [history, ranking.best, ranking.best_epoch, ranking.metrics, digest.hexdigest()]
    (folder / name / "result.json").write_text(json.dumps(found))


def in_process(folder: Path, name: str, kill_after=None, full_from=None) -> tuple[float, bool]:
    """Seconds of the training, and whether it was killed so many seconds after its start."""
    for file in ("started", "ended"):
        (folder / name / file).unlink(missing_ok=True)
    if (child := os.fork()) == 0:
        try:
            train(folder, name, full_from)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    while not (folder / name / "started").exists():
        assert os.waitpid(child, os.WNOHANG) == (0, 0)
        time.sleep(0.01)
    started = time.monotonic()
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL), status
    return time.monotonic() - started, not (folder / name / "ended").exists()


if __name__ == "__main__":
    folder, STREAMED, kills = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    chance = random.Random(int(sys.argv[4]))
    sessions = toy_sessions(64, length=16)
    write_prepared(folder / "prepared", sessions, rows_per_shard=20, rows_per_group=5)
    seconds, _ = in_process(folder, "whole")
    expected = json.loads((folder / "whole" / "result.json").read_text())
    same = 0
    for number in range(kills):
        name = f"killed-{number}"
        full_from = chance.randrange(3, 60) if "full" in sys.argv else None
        was_killed = False
        while not was_killed:  # before it had come to its end
            shutil.rmtree(folder / name, ignore_errors=True)
            moment = seconds * chance.random()
            _, was_killed = in_process(folder, name, moment, full_from)
        backups = sorted(path.name for path in (folder / name).glob("backup/*.npz"))
        in_process(folder, name)
        found = json.loads((folder / name / "result.json").read_text())
        same += found == expected
        left = (folder / name / "backup").exists()
        about = f"full from step {full_from}" if full_from else ""
        print(f"{moment:.2f} of {seconds:.2f} s {about} {backups}: {found == expected}, {left=}")
        sys.stdout.flush()  # or children write it again
    print(f"{same} of {kills}")
