"""A training that was broken off and called anew ends as one that was not."""

import errno
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from small_models import build, numpy
from toy_sessions import toy_sessions

from keras_negrec.callbacks import BackupAndResume, RankingEvaluation, backup_file
from keras_negrec.data import leave_one_out

SPLIT = leave_one_out(toy_sessions(48, length=16))
EXACT = keras.config.backend() != "jax"  # on JAX to 1e-6


class BreakOff(keras.callbacks.Callback):
    """Ends a training the hard way, after so many steps."""

    def __init__(self, after):
        super().__init__()
        self.after = after

    def on_train_batch_end(self, batch, logs=None):
        self.after -= 1
        if self.after < 0:
            raise InterruptedError


class CountsSteps(keras.callbacks.Callback):
    """A callback with a state of its own."""

    steps = 0

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1

    def get_state(self):
        return {"steps": self.steps}

    def set_state(self, state):
        self.steps = state["steps"]


def train(
    folder, every="epoch", broken_after=None, keep=False, epochs=4, seed=3, first=(), **model
):
    """What a program does that may be killed: all that is found at its end."""
    keras.utils.set_random_seed(1)
    options = {"dropout": 0.3, "num_sampled_negatives": 4, "event_dropout": 0.1} | model
    recommender = build("bert4rec", **options)
    ranking = RankingEvaluation(SPLIT.validation, monitor="ndcg@10", every=2, patience=9)
    rates = keras.callbacks.ReduceLROnPlateau(monitor="loss", patience=1, min_delta=1.0)
    counts = CountsSteps()
    backup = BackupAndResume(folder, every, delete_when_done=not keep)
    callbacks = [*first, ranking, backup, rates, counts]
    if broken_after is not None:
        callbacks.append(BreakOff(broken_after))
    validation = recommender.training_dataset(SPLIT.validation.sessions(), batch_size=16)
    history = recommender.fit(
        recommender.training_dataset(SPLIT.train, batch_size=8, seed=seed),
        validation_data=validation,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=callbacks,
    )
    variables = [*recommender.variables, *recommender.optimizer.variables]
    found = {"history": history.history, "weights": list(map(numpy, variables))}
    found |= {"best": ranking.best, "metrics": dict(ranking.metrics), "wait": rates.wait}
    assert recommender.history.epoch == list(range(epochs))
    return found | {"steps": counts.steps, "best_epoch": ranking.best_epoch}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return train(tmp_path_factory.mktemp("whole") / "backup")


def assert_same(found, expected):
    if EXACT:
        keras.tree.map_structure(np.testing.assert_array_equal, found, expected)
        return
    keras.tree.map_structure(
        lambda one, other: np.testing.assert_allclose(one, other, atol=1e-6), found, expected
    )


@pytest.mark.parametrize(("every", "after"), [(2, 10), ("epoch", 16)])
def test_it_goes_on_as_if_it_had_not_been_broken_off(whole, tmp_path, every, after):
    folder = tmp_path / "backup"
    with pytest.raises(InterruptedError):
        train(folder, every, broken_after=after)
    assert 1 <= len(list(folder.iterdir())) <= 2
    assert_same(train(folder, every), whole)
    assert not folder.exists()  # done


@pytest.mark.thorough
def test_broken_off_twice_and_then_done(whole, tmp_path):
    folder = tmp_path / "backup"
    for after in (4, 8):  # the second one counts the steps that are only drawn
        with pytest.raises(InterruptedError):
            train(folder, every=3, broken_after=after)
    found = train(folder, every=3, keep=True)
    assert_same(found, whole)
    # What is done is given again at once: no step is taken.
    assert_same(train(folder, every=3, keep=True, first=[BreakOff(0)]), whole)


@pytest.fixture(scope="module")
def two_backups(tmp_path_factory):
    folder = tmp_path_factory.mktemp("broken") / "backup"
    with pytest.raises(InterruptedError):
        train(folder, every=2, broken_after=5)
    assert len(backup_file.backup_files(folder)) == 2
    return folder


@pytest.fixture
def broken_off(tmp_path, two_backups):
    """A folder with two backups of a training of its own."""
    return Path(shutil.copytree(two_backups, tmp_path / "backup"))


def test_damaged_backups_are_named(whole, broken_off):
    older, newest = backup_file.backup_files(broken_off)
    content = newest.read_bytes()
    newest.write_bytes(content[: len(content) // 2])
    (broken_off / ".backup-000009.npz.77.partial").touch()  # of one that was killed as it wrote
    with pytest.warns(UserWarning, match=f"{newest.name} is damaged.*goes on from .*{older.name}"):
        assert_same(train(broken_off, every=2, keep=True), whole)
    for path in backup_file.backup_files(broken_off):
        path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"backup-\d+.npz is damaged: .* delete .* to train anew"):
        train(broken_off)
    assert not list(broken_off.glob(".*"))


def test_any_other_bit_is_seen(tmp_path):
    state = {"numbers": np.arange(50.0), "half": np.ones((), "bfloat16"), "text": ["é", None, 0.1]}
    backup_file.write_backup(tmp_path, state)
    [path] = backup_file.backup_files(tmp_path)
    content = path.read_bytes()
    _, found = backup_file.read_backup(tmp_path)
    assert found["half"].dtype == "bfloat16" and found["text"] == state["text"]
    chance, seen = random.Random(0), 0
    for _ in range(200):
        changed = bytearray(content)
        changed[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        path.write_bytes(changed)
        try:
            _, found = backup_file.read_backup(tmp_path)
        except ValueError as error:
            assert path.name in str(error)
            seen += 1
        else:  # a date, or the like
            assert np.array_equal(found["numbers"], state["numbers"])
            assert found["text"] == state["text"]
    assert seen > 150


def test_a_full_disk_costs_nothing_but_the_backup(whole, broken_off, monkeypatch):
    before = {path: path.read_bytes() for path in backup_file.backup_files(broken_off)}

    def full(file, **arrays):
        file.write(b"some of it")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(np, "savez", full)
        with (
            pytest.warns(UserWarning, match="No backup could be written in .*No space left"),
            pytest.raises(InterruptedError),
        ):
            train(broken_off, every=2, broken_after=14)
    assert {path: path.read_bytes() for path in broken_off.iterdir()} == before
    assert_same(train(broken_off, every=2), whole)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"seed": 4}, r"data, seed\. It must be 3\. Received: 4\. Give .BackupAndResume. another"),
        ({"embedding_dim": 12}, r"variables of the model.*\(10, 8\).*\(10, 12\)"),
        ({"optimizer": "sgd", "learning_rate": None}, "optimizer"),
        ({"learning_rate": 0.5}, r"optimizer, config, learning_rate\. It must be 0\.0"),
        ({"first": [CountsSteps()]}, "callbacks that have a state"),
    ],
)
def test_the_backup_of_another_training_is_refused(broken_off, other, message):
    with pytest.raises(ValueError, match=f"npz is the backup of another training.*{message}"):
        train(broken_off, every=2, **other)


def test_what_cannot_be_taken_up_is_refused(tmp_path):
    model = build("caser")
    for options in ({"repeat": True}, {"start_step": 1}, {}):
        dataset = model.training_dataset(SPLIT.train, batch_size=8, **options)
        with pytest.raises(ValueError, match=r"leave out `repeat`, .*Received a dataset of \d"):
            model.fit(dataset, steps_per_epoch=2, callbacks=[BackupAndResume(tmp_path)], verbose=0)
    unbuilt = keras.Sequential([keras.layers.Dense(1)])
    unbuilt.compile("sgd", "mse")
    callback = BackupAndResume(tmp_path)
    callback.set_model(unbuilt)
    with pytest.raises(ValueError, match="needs a model that is built"):
        callback.on_train_begin()
    for every in (0, "step", 1.5):
        with pytest.raises(
            ValueError, match=r'`every` must be (a positive int|"epoch" or a number)'
        ):
            BackupAndResume(tmp_path, every)


class Rows(keras.utils.PyDataset):
    def __len__(self):
        return 5

    def __getitem__(self, index):
        return X[8 * index : 8 * index + 8], Y[8 * index : 8 * index + 8]


X = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
Y = X.sum(axis=1, keepdims=True)


def sessions_as_floats():
    batches = SPLIT.train.batches(batch_size=10, max_length=16)
    return batches.map(lambda batch: (batch["item_ids"][:, -3:], batch["feedback"][:, -1:]))


@pytest.mark.parametrize("data", ["arrays", "arrays in order", "rows", "sessions"])
def test_any_keras_model(tmp_path, data):
    if data == "arrays" and keras.config.backend() == "tensorflow":
        pytest.skip("TensorFlow shuffles arrays by a state that cannot be read")

    def train(folder, broken_after=None):
        keras.utils.set_random_seed(2)
        layers = [keras.layers.Dense(4), keras.layers.Dropout(0.5), keras.layers.Dense(1)]
        model = keras.Sequential([keras.Input((3,)), *layers])
        model.compile("adam", "mse", metrics=["mae"])
        stopping = keras.callbacks.EarlyStopping("loss", patience=9, restore_best_weights=True)
        dataset, fit = sessions_as_floats(), {"epochs": 3, "verbose": 0}
        of_data = {
            "arrays": {"x": X, "y": Y, "batch_size": 8},
            "arrays in order": {"x": X, "y": Y, "batch_size": 8, "shuffle": False},
            "rows": {"x": Rows()},
            "sessions": {"x": dataset},
        }
        backup = BackupAndResume(folder, 2, data=dataset, callbacks=[stopping])
        if data != "sessions":
            backup = BackupAndResume(folder, 2, callbacks=[stopping])
        callbacks = [stopping, backup]
        callbacks += [] if broken_after is None else [BreakOff(broken_after)]
        history = model.fit(**of_data[data], **fit, callbacks=callbacks).history
        return history, stopping.best, list(map(numpy, model.weights))

    whole = train(tmp_path / "whole")
    for after in (3, 8):
        with pytest.raises(InterruptedError):
            train(tmp_path / "backup", broken_after=after)
    assert_same(train(tmp_path / "backup"), whole)


@pytest.mark.thorough
@pytest.mark.parametrize("disk", ["", "full"])
@pytest.mark.parametrize("data", ["memory", "streamed"])
def test_killed_at_random_moments(tmp_path, data, disk):
    program = Path(__file__).with_name("killed_trainings.py")
    command = [sys.executable, program, tmp_path, data, "20", "7", disk]
    root = Path(__file__).parents[2]
    path = os.pathsep.join(map(str, [root, root / "tests"]))
    environment = {**os.environ, "PYTHONPATH": path}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert ended.stdout.splitlines()[-1:] == ["20 of 20"], ended.stdout + ended.stderr


class Draws(keras.callbacks.Callback):
    """Draws at each step from the generators that everybody uses."""

    def on_train_batch_end(self, batch, logs=None):
        own = keras.random.uniform(()), np.random.random(), random.random()  # noqa: NPY002
        self.newest = [float(each) for each in own]


def test_draws_from_the_default_generators_go_on(tmp_path):
    x, newest = np.ones((12, 2), "float32"), []
    for after in (100, 6, 100):  # whole, broken off, taken up
        if after == 6 or not newest:
            keras.utils.set_random_seed(7)
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        draws = Draws()
        folder = tmp_path / ("backup" if newest else "whole")
        callbacks = [BackupAndResume(folder, every=2), draws, BreakOff(after)]
        try:
            options = {"batch_size": 3, "shuffle": False, "epochs": 2, "verbose": 0}
            model.fit(x, x[:, :1], callbacks=callbacks, **options)
        except InterruptedError:
            continue
        newest.append(draws.newest)
    assert newest[0] == newest[1]
