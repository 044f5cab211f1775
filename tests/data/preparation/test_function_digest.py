"""A rule that was changed is another parameter."""

import functools
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from prepare_log import once

from keras_negrec.data.preparation.function_digest import as_json

pytestmark = once


def rule_of(tmp_path, text):
    """`rule` of a module of this text, in a folder of its own as a user may have it."""
    namespace = {"__name__": "rules"}
    code = compile(textwrap.dedent(text), str(tmp_path / "rules.py"), "exec")
    exec(code, namespace)
    return namespace["rule"]


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
        return plays < threshold

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


def test_functions_that_call_themselves(tmp_path):
    def again(n):
        return again(n - 1) if n else 0

    assert as_json(again) == as_json(again)


def test_a_digest_is_the_same_in_every_process(tmp_path):
    (tmp_path / "rules.py").write_text(BASE)
    command = "import rules; from keras_negrec.data.preparation.function_digest import as_json; "
    found = {
        subprocess.run(
            [sys.executable, "-c", command + "print(as_json(rules.rule))"],
            env={"PYTHONPATH": ":".join([str(tmp_path), *sys.path]), "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


def test_other_values():
    assert as_json({"a": (1, None, "x"), 2: np.arange(2)}) == {"a": [1, None, "x"], "2": [0, 1]}
