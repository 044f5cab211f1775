import base64
import html.parser
import re
import sys

import numpy as np
import pytest

from keras_negrec.data import Examples, Sessions
from keras_negrec.evaluation import Comparison, ComparisonRun

NUM_EXAMPLES = 120


@pytest.fixture
def make():
    def make(effects, seeds=(0, 1), with_skips=True, curves=True, k=(1, 10)):
        """Runs whose targets are `effects[label]` places lower than those of others."""
        skips = np.where(np.arange(NUM_EXAMPLES) < 80, 2, 0) * with_skips
        feedback = [[-1] * (i % 5) + [1] * (5 - i % 5) for i in range(NUM_EXAMPLES)]
        sessions = Sessions.from_lists([[3, 4, 5, 6, 7]] * NUM_EXAMPLES, feedback)
        examples = Examples(sessions, np.ones(NUM_EXAMPLES, "int32"), skips)
        rng = np.random.default_rng(0)
        base = rng.integers(1, 30, NUM_EXAMPLES)
        skip = np.where(skips > 0, rng.integers(1, 60, NUM_EXAMPLES), np.nan)
        runs = {}
        for label, effect in effects.items():
            runs[label] = []
            for seed in [None] if label == "ready" else seeds:
                target = np.maximum(1, base + effect + rng.integers(-1, 2, NUM_EXAMPLES))
                preference = np.where(skips > 0, target < skip, np.nan)
                ranks = {"target": target * 1.0, "skip_target": skip, "preference": preference}
                curve = {"loss": [2.0, 1.0], "val_ndcg@10": [0.1, 0.2]}
                runs[label].append(
                    ComparisonRun(
                        label,
                        {"text": "a|b <i>"},
                        seed,
                        examples.fingerprint(),
                        True,
                        ranks,
                        curves=curve if curves and seed is not None else {},
                    )
                )
        return Comparison(runs, examples, k=k)

    return make


class Page(html.parser.HTMLParser):
    """Checks that tags are balanced and collects what matters."""

    def __init__(self, text):
        super().__init__()
        self.open, self.images, self.rows, self.text = [], [], [], ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            self.images.append(dict(attributes)["src"])
        elif tag != "meta":
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1].append(data)


def test_report_says_what_happened(make, tmp_path):
    comparison = make({"old": 0, "good": -12, "bad": 9, "same": 0, "ready": 0})
    path = comparison.report(tmp_path / "new" / "report", baseline="old")
    assert path == tmp_path / "new" / "report" / "report.html"
    markdown = (path.parent / "report.md").read_text("utf-8")
    sentences = dict(re.findall(r"^- \*\*(\w+)\*\*: (.*)$", markdown, flags=re.M))
    assert list(sentences) == ["good", "bad", "same", "ready"]
    assert "HR@10 is **better**" in sentences["good"]
    assert "feedback AUC is **better**" in sentences["good"]
    assert "2 of 2 seeds agree" in sentences["good"]
    assert "HR@10 is **worse**" in sentences["bad"]
    assert "HR@10 is **not clearly different**" in sentences["same"]
    assert all("skip HR@10 is **not clearly different**" in s for s in sentences.values())

    table = comparison.table("old", metrics=["hr@10", "ndcg@10", "mrr"])
    row = table.loc[("good", "hr@10")]
    before = table.loc[("old", "hr@10"), "mean"]
    assert f"{before:.4f} → {row['mean']:.4f} ({row['difference']:+.4f}" in sentences["good"]


def test_html_is_one_file_with_the_same_content(make, tmp_path):
    path = make({"old": 0, "good": -6, "ready": 3}).report(tmp_path)
    page = Page(path.read_text("utf-8"))
    pngs = sorted(p.read_bytes() for p in tmp_path.glob("*.png"))
    assert sorted(base64.b64decode(src.split(",")[1]) for src in page.images) == pngs
    assert len(pngs) == 4 and all(png.startswith(b"\x89PNG") for png in pngs)
    assert not re.search(r"(src|href)=['\"](?!data:)", path.read_text("utf-8"))
    markdown = (tmp_path / "report.md").read_text("utf-8")
    for name in re.findall(r"\]\(([^)]+)\)", markdown):
        assert (tmp_path / name).exists()
    lines = [line for line in markdown.splitlines() if line.startswith("| ")]
    cells = [
        [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in lines
    ]
    assert [[c for c in row if c] for row in cells] == page.rows
    assert '{"text": "a|b <i>"}' in page.text


def test_skip_metrics_get_their_direction_right(make, tmp_path):
    comparison = make({"old": 0, "new": 0})
    for run in comparison.runs["new"]:
        run.ranks["skip_target"] = run.ranks["skip_target"] + 8
    comparison.report(tmp_path)
    assert "skip HR@10 is **better**" in (tmp_path / "report.md").read_text("utf-8")


def test_a_difference_that_depends_on_the_seed_is_not_sold_as_better(make, tmp_path):
    comparison = make({"old": 0, "new": 0})
    for run, shift in zip(comparison.runs["new"], [-12, 2], strict=True):
        run.ranks["target"] = np.maximum(1, run.ranks["target"] + shift)
    comparison.report(tmp_path)
    text = (tmp_path / "report.md").read_text("utf-8")
    assert "HR@10 is **better on average, but not for every seed**" in text
    assert "1 of 2 seeds agree" in text


@pytest.mark.parametrize(
    ("arguments", "charts"),
    [
        ({}, {"hr_curves", "trade_off", "skip_share", "training"}),
        ({"with_skips": False}, {"hr_curves", "skip_share", "training"}),
        ({"curves": False}, {"hr_curves", "trade_off", "skip_share"}),
        ({"seeds": (0,), "k": (3,)}, {"hr_curves", "trade_off", "skip_share", "training"}),
    ],
)
def test_charts_without_data_are_left_out(make, tmp_path, arguments, charts):
    make({"old": 0, "new": 1}, **arguments).report(tmp_path)
    assert {path.stem for path in tmp_path.glob("*.png")} == charts
    text = (tmp_path / "report.md").read_text("utf-8")
    assert "nan" not in text
    assert ("feedback AUC" in text) == arguments.get("with_skips", True)
    assert ("HR@3" in text) == ("k" in arguments)


def test_one_configuration_alone(make, tmp_path):
    make({"old": 0}).report(tmp_path)
    assert "What changed" not in (tmp_path / "report.md").read_text("utf-8")
    assert {path.stem for path in tmp_path.glob("*.png")} == {"hr_curves", "trade_off", "training"}


def test_a_baseline_that_is_not_there(make, tmp_path):
    with pytest.raises(ValueError, match="`baseline` must be one of 'old'"):
        make({"old": 0}).report(tmp_path, baseline="new")


def test_without_matplotlib(make, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"needs matplotlib: pip install 'keras-negrec\[plot\]'"):
        make({"old": 0}).report(tmp_path)
