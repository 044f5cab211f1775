import base64
import re
import sys
from dataclasses import replace
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
            run = ComparisonRun(label, {}, seed, *identity, ranks, curves=of_seed)
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
    assert f"{before:.4f} → {row['mean']:.4f} (by {row['low']:+.4f}" in sentences["good"]
    p = f"{row['p_sessions_holm']:.3f}"
    skips = table["mean"].xs("skip_hr@10", level="metric")
    skips_p = table.loc[("good", "skip_hr@10"), "p_sessions_holm"]
    assert markdown.split("\n\n")[1] == (
        "**good is clearly better than old**: it finds more "
        f"(HR@10 {100 * before:.1f} → {100 * row['mean']:.1f} %, p {p}) "
        "with skips that did not clearly change "
        f"(skip HR@10 {100 * skips['old']:.1f} → {100 * skips['good']:.1f} %, p {skips_p:.3f})."
    )
    assert re.search(rf"HR@10 +good .* {p} higher", str(comparison))
    assert max(map(len, str(comparison).splitlines())) <= 80


HOSTILE = [
    "**a** *b* __c__ _d_ ~~e~~",
    "| a \\| b \\\\| `c` ``d",
    "# a [b](c) ![d](e) <b>f</b> &lt; <!--",
    "two\nlines\n\n- and a list",
    "\\* $x_$ $$",
    "_",
]


def contents(page):
    """All texts of headings, paragraphs, items and cells, and which of them are bold."""
    found = []
    for block in page.iter():
        if block.tag in ("h1", "h2", "p", "li", "td", "th") and block.find("img") is None:
            for line_break in block.iter("br"):
                line_break.text = "\n"
            bold = [
                "".join(piece.itertext()) for piece in [*block.iter("strong"), *block.iter("b")]
            ]
            found.append((block.tag, "".join(block.itertext()).strip(), bold))
    return found


def test_html_is_one_file_with_the_same_content(tmp_path):
    """Also with labels that mean something in Markdown, in HTML or to matplotlib."""
    markdown_it = pytest.importorskip("markdown_it")  # Rich brings it, and Keras brings Rich
    comparison = make({"old": 0, **{label: -9 + 5 * i for i, label in enumerate(HOSTILE)}})
    markdown = report(comparison, tmp_path, baseline=HOSTILE[3])
    page = ElementTree.parse(tmp_path / "report.html").getroot()  # every tag is closed
    parser = markdown_it.MarkdownIt().enable("table")
    parsed = ElementTree.fromstring(f"<body>{parser.render(markdown)}</body>")
    found = contents(page.find("body"))
    assert found == contents(parsed)
    for label in set(HOSTILE) - {HOSTILE[3]}:
        assert ("td", label, []) in found
        assert any(tag == "li" and bold[:1] == [label] for tag, _, bold in found)
    assert ("h2", f"What changed against {HOSTILE[3]}", []) in found
    sources = [image.get("src") for image in page.iter("img")]
    pngs = [(tmp_path / image.get("src")).read_bytes() for image in parsed.iter("img")]
    assert [
        base64.b64decode(source.removeprefix("data:image/png;base64,")) for source in sources
    ] == pngs
    assert len(pngs) == 4 and all(png.startswith(b"\x89PNG") for png in pngs)


def test_what_was_run(tmp_path):
    comparison = make({"old": 0, "new": 0, "ready": 0})
    own = {"old": {"negative_loss": None}, "new": {"negative_loss": "keep", "dropout": 0.1}}
    for label, model in own.items():
        model = {"encoder": "sasrec"} | model
        settings = {"model": model, "training": {"batch_size": 64}, "data": {"train": "0a" * 8}}
        runs = comparison.runs[label]
        versions = {"keras_negrec": "0.1.0"}
        runs[:] = [replace(run, settings=settings, seconds=3.0, versions=versions) for run in runs]
    text = report(comparison, tmp_path).partition("## What was run\n\n")[2]
    assert text.splitlines() == [
        "|  | negative loss | dropout | training, s |",
        "|---|---|---|---:|",
        "| old | none |  | 3 |",
        "| new | keep | 0.1 | 3 |",
        "",
        "All trained models have in common: encoder sasrec, batch size 64, seeds 0, 1, versions "
        "keras\\_negrec 0.1.0.",
        "",
        "Scorers that were ready, without training: ready.",
    ]


def test_skip_metrics_get_their_direction_right(tmp_path):
    comparison = make({"old": 0, "new": 0})
    for run in comparison.runs["new"]:
        run.ranks["skip_target"] = run.ranks["skip_target"] + 8
    text = report(comparison, tmp_path)
    assert "skip HR@10 is **better**" in text
    verdict = text.split("\n\n")[1]
    assert verdict.startswith("**new is clearly better than old**: it shows fewer skips, at hits")


def test_the_verdict_is_of_trained_models_and_prefers_fewer_skips(tmp_path):
    comparison = make({"old": 0, "more": -12, "both": -9, "ready": -14})
    for run in comparison.runs["both"]:
        run.ranks["skip_target"] = run.ranks["skip_target"] + 8
    verdict = report(comparison, tmp_path).split("\n\n")[1]
    assert verdict.startswith("**both is clearly better than old**: it finds more (HR@10 ")
    assert " and shows fewer skips (skip HR@10 " in verdict


def test_fewer_skips_are_not_better_where_hits_are_fewer(tmp_path):
    comparison = make({"old": 0, "nothing": 0, "less": 0})
    for label, more in (("nothing", np.inf), ("less", 9)):
        for run in comparison.runs[label]:
            for name in ("target", "skip_target"):
                run.ranks[name] = run.ranks[name] + more
    text = report(comparison, tmp_path)
    sentences = dict(re.findall(r"^- \*\*(\w+)\*\*: (.*)$", text, flags=re.M))
    for label in ("nothing", "less"):
        assert "; skip HR@10 is **lower, but so is HR@10**, " in sentences[label]
    assert "kept share@10 says nothing, as it finds neither" in sentences["nothing"]
    assert "shows fewer" not in text and "| skip MRR | better |" not in text
    assert "nan" not in text


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


def test_examples_with_skips_alone(tmp_path):
    comparison = make({"old": 0, "new": 0})
    skips = np.full(NUM_EXAMPLES, 2)
    examples = Examples(comparison.examples.histories, np.zeros(NUM_EXAMPLES, "int32"), skips)
    unknown = dict.fromkeys(("target", "preference"), np.full(NUM_EXAMPLES, np.nan))
    for runs in comparison.runs.values():
        ranks = unknown | {"skip_target": np.arange(NUM_EXAMPLES) + 1.0}
        runs[:] = [replace(run, ranks=ranks, examples=examples.fingerprint()) for run in runs]
    text = report(Comparison(comparison.runs, examples), tmp_path)
    assert text.split("\n\n")[1].startswith("**Nothing says which is better**")
    assert {path.stem for path in tmp_path.glob("*.png")} == {"training"}


def test_examples_with_either_a_target_or_a_skip(tmp_path):
    comparison = make({"old": 0, "new": 1})
    unknown, odd = np.full(NUM_EXAMPLES, np.nan), np.arange(NUM_EXAMPLES) % 2 == 1
    targets = (np.where(odd, 1, 0), np.where(odd, 0, 2))
    examples = Examples(comparison.examples.histories, *targets)
    for runs in comparison.runs.values():
        for i, run in enumerate(runs):
            ranks = {
                "target": np.where(odd, run.ranks["target"], unknown),
                "skip_target": np.where(odd, unknown, np.arange(NUM_EXAMPLES) + 1.0),
                "preference": unknown,
            }
            runs[i] = replace(run, ranks=ranks, examples=examples.fingerprint())
    comparison = Comparison(comparison.runs, examples, k=(10,))
    assert "HR@10" in report(comparison, tmp_path)
    found = comparison.intervals("new").loc["hr_difference@10"]
    hits = comparison.intervals("new").loc[["hr@10", "skip_hr@10"], "mean"]
    assert found["mean"] == pytest.approx(hits["hr@10"] - hits["skip_hr@10"])
    assert found["low"] < found["mean"] < found["high"]


def test_without_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"needs matplotlib: pip install 'keras-negrec\[plot\]'"):
        make({"old": 0}).report(tmp_path)
