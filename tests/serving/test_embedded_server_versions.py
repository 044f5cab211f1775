"""Versions that come and go while the server is asked."""

import json
import os
import shutil
import threading
import time

import numpy as np
import pytest
from embedded_server import Caller, serving
from small_model import ITEMS, K, build

import keras_negrec


@pytest.fixture(scope="module")
def other():
    """A model with other answers."""
    model = build("sasrec", feedback_inputs=True, negative_loss="contrastive")
    table = model.item_embedding.embeddings
    table.assign(-np.array(table))
    return model


@pytest.fixture(scope="module")
def other_version(other, tmp_path_factory):
    return keras_negrec.export(other, tmp_path_factory.mktemp("exports") / "radio", k=K)


@pytest.fixture
def folder(tmp_path, version):
    shutil.copytree(version, tmp_path / "radio" / "1")
    return tmp_path


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


class Callers:
    """Eight threads that ask, each answer compared with those that `recommend` gives.

    Attributes:
        asked: how many answers came.
        wrong: what was no answer, or that of no model.
        answered_by: for each caller, which model its last answer was of.
    """

    def __init__(self, server, models, histories):
        self.asked, self.wrong, self.answered_by = 0, [], {}
        self._histories = histories
        feedback = [[1, -1, 2, 1][: len(history)] for history in histories]
        self._feedback = feedback
        self._expected = [
            [
                [item for item, _ in row]
                for row in keras_negrec.recommend(model, histories, K, feedback=feedback)
            ]
            for model in models
        ]
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask, args=(server, i)) for i in range(8)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, server, number):
        caller, random = Caller(server), np.random.default_rng(number)
        ask = caller.rest if number % 2 else caller.grpc
        while not self._over.is_set():
            i = random.integers(len(self._histories))
            inputs = {"item_ids": [self._histories[i]], "feedback": [self._feedback[i]]}
            try:
                status, outputs = ask("radio", "", inputs)
                [items] = outputs["item_ids"]
                by = [expected[i] for expected in self._expected].index(items)
            except Exception as error:
                self.wrong.append((error, status))
                continue
            with self._lock:
                self.asked += 1
                self.answered_by[number] = by
        caller.close()


HISTORIES = [[ITEMS[(7 * i + j * j) % 30] for j in range(1 + i % 4)] for i in range(40)]


def switch(folder, version, number):
    """A version appears as `export` lets it appear."""
    shutil.copytree(version, folder / ".partial")
    os.rename(folder / ".partial", folder / str(number))


def test_a_new_version_takes_over_under_load(folder, model, other, other_version):
    with serving(folder) as server, Callers(server, [model, other], HISTORIES) as callers:
        until(lambda: callers.asked > 50)
        assert set(callers.answered_by.values()) == {0}
        switch(folder / "radio", other_version, 2)
        until(lambda: set(callers.answered_by.values()) == {1})
        before = callers.asked
        until(lambda: callers.asked > before + 50)
        states = {}
        caller = Caller(server)
        until(lambda: states.update(status(caller)) or states == {2: "AVAILABLE", 1: "END"})
        caller.close()
    assert callers.wrong == []
    assert "radio: version 2 is served instead of 1" in server.said


def status(caller):
    found = json.loads(caller.http("GET", "/v1/models/radio")[1])["model_version_status"]
    return {int(one["version"]): one["state"] for one in found}


@pytest.mark.thorough
def test_ten_thousand_requests_while_versions_are_exported(folder, model, other):
    """Each version is served within five seconds, and no answer is missing or wrong."""
    with serving(folder) as server, Callers(server, [model, other], HISTORIES) as callers:
        for new in (1, 0, 1, 0):
            keras_negrec.export([model, other][new], folder / "radio", k=K)
            exported = time.monotonic()
            until(lambda new=new: set(callers.answered_by.values()) == {new})
            assert time.monotonic() - exported < 5
        until(lambda: callers.asked >= 10_000, 300)
    assert callers.wrong == []


def test_a_version_that_cannot_be_loaded_leaves_the_old_one(folder, other_version):
    with serving(folder) as server:
        caller = Caller(server)
        broken = folder / "radio" / "2"
        broken.mkdir()
        (broken / "saved_model.pb").write_bytes(b"not a model")
        until(lambda: any("version 2 cannot be loaded" in line for line in server.said))
        assert caller.rest("radio", "embed", {"item_ids": [["a"]], "feedback": [[1]]})[0] == 200
        [reason] = [line for line in server.said if "cannot be loaded" in line]
        found = json.loads(caller.http("GET", "/v1/models/radio/versions/2")[1])
        [state] = found["model_version_status"]
        assert state["state"] == "END" and state["status"]["error_message"] in reason
        # Made whole, it is served; removed, the one before is served again.
        shutil.copytree(other_version, broken, dirs_exist_ok=True)
        until(lambda: status(caller)[2] == "AVAILABLE")
        shutil.rmtree(broken)
        until(lambda: status(caller) == {1: "AVAILABLE", 2: "END"})
        assert sum("cannot be loaded" in line for line in server.said) == 1
        caller.close()


def test_models_that_appear_and_disappear(tmp_path, version):
    with serving(tmp_path) as server:
        caller = Caller(server)
        inputs = {"item_ids": [["a"]], "feedback": [[1]]}
        assert "There is no model in" in " ".join(server.said)
        assert caller.rest("radio", "embed", inputs)[0] == 404
        shutil.copytree(version, tmp_path / ".new" / "1")
        os.rename(tmp_path / ".new", tmp_path / "radio")
        until(lambda: caller.rest("radio", "embed", inputs)[0] == 200)
        os.rename(tmp_path / "radio", tmp_path / ".old")
        until(lambda: caller.rest("radio", "embed", inputs)[0] == 404)
        assert status(caller) == {1: "END"}
        assert server.said[-1] == "radio: no version is left; 1 is no longer served"
        caller.close()
