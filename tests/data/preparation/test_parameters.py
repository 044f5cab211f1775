"""Parameters are checked, and a rule that was changed is another parameter."""

import functools
import importlib
import subprocess
import sys

import numpy as np
import pytest
from prepare_log import log, prepare_log

from keras_negrec.data.preparation.parameters import CHOICES, as_json

COUNTS = ("min_item_count", "min_session_length", "k_core", "max_length", "num_shards")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        *(({name: "other"}, f"`{name}` must be one of") for name in CHOICES),
        *(({name: 0}, f"`{name}` must be a positive integer") for name in COUNTS),
        ({"min_item_count": None}, "`min_item_count` must be a positive integer"),
        ({"session_gap": 0}, "`session_gap` must be above 0"),
        ({"test_share": 1}, "`test_share` must be at least 0 and below 1"),
        ({"test_share": 0.5, "validation_share": 0.5}, "leave something to train on"),
        ({"test_from": 5}, 'for split="time", and go together'),
        ({"split": "time", "test_from": 5}, "go together"),
        ({"split": "time", "validation_from": 6, "test_from": 5}, "must not be after `test_from`"),
        ({"engine": "pandas"}, "`engine` must be"),
        ({"format": "excel"}, "`format` must be one of 'frame'.* Received: format='excel'"),
        ({"group_by": "user"}, 'group_by="user" needs a log with a column `user`'),
        ({"session_gap": 5}, "`session_gap` needs a log with a column `timestamp`"),
        ({"split": "time"}, 'split="time" needs a log with a column `timestamp`'),
    ],
    ids=str,
)
def test_wrong_arguments(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        prepare_log(log(("s", "a+ b- c+ d+")), tmp_path / "out", **settings)
    assert list(tmp_path.iterdir()) == []


BASE = """
import functools

THRESHOLD = 30

def helper(plays, least=1):
    return plays.seconds < THRESHOLD * least

def middle(plays):
    return helper(plays)

def rule(plays, *, low=-1, high=1):
    return [middle(play).ifelse(low, high) for play in plays if play in {"a", "b", "c"}]
"""


def rule_of(tmp_path, text):
    """`rule` of a module of this text, in a folder of its own as a user may have it."""
    namespace = {"__name__": "rules"}
    exec(compile(text, str(tmp_path / "rules.py"), "exec"), namespace)
    return namespace["rule"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("THRESHOLD * least", "THRESHOLD + least"),  # a helper's helper
        ("least=1", "least=2"),  # its default
        ("THRESHOLD = 30", "THRESHOLD = 20"),  # a constant
        ("low=-1", "low=-2"),  # a default of a keyword
        ('"c"}', '"d"}'),
        ("return helper(plays)", "return functools.partial(helper, least=3)(plays)"),
    ],
)
def test_a_change_is_seen(tmp_path, before, after):
    assert before in BASE
    rule, changed = rule_of(tmp_path, BASE), rule_of(tmp_path, BASE.replace(before, after))
    assert as_json(rule) == as_json(rule_of(tmp_path, "\n\n# elsewhere\n" + BASE))
    assert as_json(changed) != as_json(rule)


def test_partials_closures_methods_and_callables():
    def rule(plays, threshold):
        return rule(plays - 1, threshold) if plays else 0

    def closed(threshold):
        return lambda plays: plays < threshold

    class Rule:
        def __init__(self, threshold):
            self.threshold = threshold

        def __call__(self, plays):
            return plays < self.threshold

        def apply(self, plays):
            return self(plays)

    kinds = [
        lambda n: functools.partial(rule, threshold=n),
        lambda n: functools.partial(functools.partial(rule), n),
        closed,
        Rule,
        lambda n: Rule(n).apply,
        lambda n: closed(np.arange(n)),
    ]
    for kind in kinds:
        assert as_json(kind(1)) == as_json(kind(1)) != as_json(kind(2))
    assert as_json(kinds[0](1)) != as_json(kinds[1](1))


def test_a_digest_is_the_same_in_every_process(tmp_path, monkeypatch):
    (tmp_path / "rules.py").write_text(BASE)
    monkeypatch.syspath_prepend(tmp_path)
    code = "import rules; from keras_negrec.data.preparation.parameters import as_json; "
    found = subprocess.run(
        [sys.executable, "-c", code + "print(as_json(rules.rule))"],
        env={"PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == as_json(importlib.import_module("rules").rule)


def test_other_values():
    # As JSON and the command write it, True is "true".
    assert as_json({True: -1, False: 1}) == as_json({"true": -1, "false": 1})
    assert as_json({"a": (1, None, "x"), 2: np.arange(2)}) == {"a": [1, None, "x"], "2": [0, 1]}
