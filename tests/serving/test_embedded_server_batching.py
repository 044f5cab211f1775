"""Requests that are answered together get the answers that they get alone."""

import numpy as np
import pytest
from embedded_server import Caller, serving
from small_model import INTEGERS, ITEMS, NUM_ITEMS

from keras_negrec.serving.embedded.loaded_version import LoadedVersion
from keras_negrec.serving.embedded.serving_error import ServingError


class Counting(LoadedVersion):
    """Knows how often the model was run."""

    runs = 0

    def _run(self, *arguments):
        self.runs += 1
        return super()._run(*arguments)

    def answers(self, requests, together):
        """What each request gets, asked one after the other, or so that all of them wait."""
        self.runs = 0
        checked = [(s, s.checked(i)) for s, i in ((self.signatures[n], i) for n, i in requests)]
        if together:
            with self._changed:
                futures = [self.predict(*request) for request in checked]
        else:
            futures = []
            for request in checked:
                futures.append(self.predict(*request))
                futures[-1].exception()
        return [future.exception() or future.result() for future in futures]


@pytest.fixture(scope="module", params=["strings", "integers"])
def loaded(request, version, integers_version):
    loaded = Counting({"strings": version, "integers": integers_version}[request.param], 100)
    yield loaded
    loaded.close().join()


def some_requests(loaded, random):
    """Of every signature, with histories, lists and defaults of all shapes."""
    is_string = loaded.signatures["embed"].inputs["item_ids"].dtype.kind == "O"
    items = [item.encode() for item in ITEMS] if is_string else INTEGERS.items.tolist()
    items = [*items[: NUM_ITEMS // 2], *([b"", b"unknown"] if is_string else [-1, 10**12])]
    dtype = object if is_string else "int64"

    def ids(rows, length):
        return np.array(random.choice(np.array(items, dtype), (rows, length)), dtype)

    for _ in range(60):
        signature = random.choice(["serving_default", "recommend", "score", "embed"])
        rows, length = random.integers(1, 4), random.integers(0, 9)
        inputs = {"item_ids": ids(rows, length)}
        if random.random() < 0.7:
            inputs["feedback"] = random.integers(-2, 3, (rows, length)).astype("int32")
        elif random.random() < 0.5:
            inputs["feedback"] = np.array([[-1]], "int32")
        if not is_string and random.random() < 0.5:
            inputs["session_ids"] = np.sort(random.integers(0, 5, (rows, length))).astype("int32")
        if signature == "score":
            inputs["candidate_ids"] = ids(random.choice([1, rows]), random.integers(0, 5))
        if signature == "recommend":
            inputs["k"] = np.array(random.choice([2, 3]), "int32")
            if random.random() < 0.3:
                inputs["blocked_item_ids"] = ids(random.choice([1, rows]), 3)
            if random.random() < 0.2:
                inputs["allowed_item_ids"] = ids(rows, random.choice([0, 12]))
        yield str(signature), inputs


@pytest.mark.parametrize("seed", range(3))
def test_answers_are_those_of_single_requests(loaded, seed):
    requests = list(some_requests(loaded, np.random.default_rng(seed)))
    alone = loaded.answers(requests, together=False)
    assert loaded.runs == len(requests)
    together = loaded.answers(requests, together=True)
    for one, other in zip(alone, together, strict=True):
        if isinstance(one, Exception):
            assert (type(one), one.message) == (type(other), other.message)
            continue
        assert set(one) == set(other)
        for name, values in one.items():
            assert values.shape == other[name].shape and values.dtype == other[name].dtype
            if name == "item_ids":
                np.testing.assert_array_equal(values, other[name])
            else:
                np.testing.assert_allclose(values, other[name], rtol=1e-5, atol=1e-5)


def test_requests_that_wait_are_answered_in_one_run(version):
    loaded = Counting(version, 100)
    histories = [np.array([ITEMS[i : i + 1 + i % 4]], object) for i in range(20)]
    requests = [("serving_default", {"item_ids": history}) for history in histories]
    loaded.answers(requests, together=True)
    assert loaded.runs == 1
    # One that is refused, and one with so few items left that all answers would be narrowed.
    wrong = ("serving_default", {"item_ids": histories[0], "feedback": np.array([[7]], "int32")})
    narrow = ("serving_default", {"item_ids": np.array([ITEMS[2:]], object)})
    for one, message in ((wrong, "`feedback` must hold"), (narrow, None)):
        *answers, last = loaded.answers([*requests, one], together=True)
        assert loaded.runs == 1 + 21
        assert all(answer["item_ids"].shape == (1, 5) for answer in answers)
        assert message in last.message if message else last["item_ids"].shape == (1, 2)
    loaded.close().join()


def test_a_full_queue_refuses_and_what_it_holds_is_answered_before_it_ends(version):
    loaded = LoadedVersion(version, 3)
    signature = loaded.signatures["embed"]
    inputs = signature.checked({"item_ids": np.array([["a"]], object)})
    with loaded._changed:
        futures = [loaded.predict(signature, inputs) for _ in range(3)]
        with pytest.raises(ServingError, match="queue to which this task was submitted is full"):
            loaded.predict(signature, inputs)
        futures[1].cancel()
        ending = loaded.close()
    ending.join()
    assert [future.cancelled() or future.result()["vectors"].shape for future in futures] == [
        (1, 8),
        True,
        (1, 8),
    ]


def test_a_server_that_is_busy_says_so(version):
    with serving(version.parents[1], waiting=0) as server:
        caller = Caller(server)
        inputs = {"item_ids": [["a"]], "feedback": [[1]]}
        for ask, code in ((caller.rest, 503), (caller.grpc, "UNAVAILABLE")):
            status, message = ask("radio", "embed", inputs)
            assert status == code and "is full" in message
        caller.close()
