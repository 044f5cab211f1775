import base64
import html
import re
import sys
from xml.etree import ElementTree

import numpy as np
import pytest

from keras_negrec.data import Examples, Sessions
from keras_negrec.evaluation import Comparison, ComparisonRun

NUM_EXAMPLES = 120


def make(effects, seeds=(0, 1), with_skips=True, curves=True, k=(1, 10)):
    """Runs whose targets are `effects[label]` places lower than those of others."""
    skips = np.where(np.arange(NUM_EXAMPLES) < 80, 2, 0) * with_skips
    feedback = [[-1] * (i % 5) + [1] * (5 - i % 5) for i in range(NUM_EXAMPLES)]
    sessions = Sessions.from_lists([[3, 4, 5, 6, 7]] * NUM_EXAMPLES, feedback)
    examples = Examples(sessions, np.ones(NUM_EXAMPLES, "int32"), skips)
    rng = np.random.default_rng(0)
    base = rng.integers(1, 30, NUM_EXAMPLES)
    skip = np.where(skips > 0, rng.integers(1, 60, NUM_EXAMPLES), np.nan)
    identity = (examples.fingerprint(), True)
    curve = {"loss": [2.0, 1.0], "val_ndcg@10": [0.1, 0.2]} if curves else {}
    runs = {}
    for label, effect in effects.items():
        runs[label] = []
        for seed in [None] if label == "ready" else seeds:
            target = np.maximum(1, base + effect + rng.integers(-1, 2, NUM_EXAMPLES))
            preference = np.where(skips > 0, target < skip, np.nan)
            ranks = {"target": target * 1.0, "skip_target": skip, "preference": preference}
            of_seed = {} if seed is None else curve
            settings = {"text": "a|b <i>"}
            run = ComparisonRun(label, settings, seed, *identity, ranks, curves=of_seed)
            runs[label].append(run)
    return Comparison(runs, examples, k=k)


def report(comparison, folder, **arguments):
    """The Markdown."""
    return comparison.report(folder, **arguments).with_suffix(".md").read_text("utf-8")


def test_report_says_what_happened(tmp_path):
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

    table = comparison.table("old", metrics=comparison.report_metrics())
    row = table.loc[("good", "hr@10")]
    before = table.loc[("old", "hr@10"), "mean"]
    assert f"{before:.4f} → {row['mean']:.4f} ({row['difference']:+.4f}" in sentences["good"]
    against, p = f"{row['mean']:.4f} against {before:.4f} of old", f"{row['p_sessions_holm']:.3f}"
    assert markdown.split("\n\n")[1] == f"**good is best** by HR@10: {against}, p {p}."
    assert re.search(rf"HR@10 +good .* {p} higher", str(comparison))
    assert max(map(len, str(comparison).splitlines())) <= 80


def test_html_is_one_file_with_the_same_content(tmp_path):
    markdown = report(make({"old": 0, "good <b>|": -6, "ready": 3}), tmp_path)
    page = ElementTree.parse(tmp_path / "report.html")  # every tag is closed
    sources = [image.get("src") for image in page.iter("img")]
    pngs = [(tmp_path / name).read_bytes() for name in re.findall(r"\]\(([^)]+)\)", markdown)]
    assert [
        base64.b64decode(source.removeprefix("data:image/png;base64,")) for source in sources
    ] == pngs
    assert len(pngs) == 4 and all(png.startswith(b"\x89PNG") for png in pngs)
    rows = [
        [html.unescape(c.strip().replace("\\|", "|")) for c in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in markdown.splitlines()
        if line.startswith("| ")
    ]
    assert [[cell.text or "" for cell in row] for row in page.iter("tr")] == rows
    assert rows[-2][:2] == ["good <b>|", '{"text": "a|b <i>"}']


def test_skip_metrics_get_their_direction_right(tmp_path):
    comparison = make({"old": 0, "new": 0})
    for run in comparison.runs["new"]:
        run.ranks["skip_target"] = run.ranks["skip_target"] + 8
    text = report(comparison, tmp_path)
    assert "skip HR@10 is **better**" in text
    assert text.split("\n\n")[1] == "**Nothing is clearly better than old** by HR@10."


def test_a_difference_that_depends_on_the_seed_is_not_sold_as_better(tmp_path):
    comparison = make({"old": 0, "new": 0})
    for run, shift in zip(comparison.runs["new"], [-12, 2], strict=True):
        run.ranks["target"] = np.maximum(1, run.ranks["target"] + shift)
    text = report(comparison, tmp_path)
    assert "HR@10 is **better on average, but not for every seed**" in text
    assert "1 of 2 seeds agree" in text and "**Nothing is clearly better" in text


@pytest.mark.parametrize(
    ("arguments", "charts"),
    [
        ({"with_skips": False}, {"hr_curves", "skip_share", "training"}),
        ({"curves": False}, {"hr_curves", "trade_off", "skip_share"}),
        ({"seeds": (0,), "k": (3,)}, {"hr_curves", "trade_off", "skip_share", "training"}),
    ],
)
def test_charts_without_data_are_left_out(tmp_path, arguments, charts):
    text = report(make({"old": 0, "new": 1}, **arguments), tmp_path)
    assert {path.stem for path in tmp_path.glob("*.png")} == charts
    assert "nan" not in text
    assert ("feedback AUC" in text) == arguments.get("with_skips", True)
    assert ("HR@3" in text) == ("k" in arguments)


def test_one_configuration_alone(tmp_path):
    text = report(make({"old": 0}), tmp_path)
    assert "What changed" not in text and "better than" not in text
    assert {path.stem for path in tmp_path.glob("*.png")} == {"hr_curves", "trade_off", "training"}


def test_without_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"needs matplotlib: pip install 'keras-negrec\[plot\]'"):
        make({"old": 0}).report(tmp_path)
