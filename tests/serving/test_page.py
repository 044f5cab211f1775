"""The page in a browser: what it shows is what `recommend` says."""

import json
import shutil
import urllib.error
import urllib.request

import numpy as np
import pytest
from embedded_server import served_folder, serving
from small_model import ITEMS, STRINGS, build

import keras_negrec

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
HISTORY, FEEDBACK = [3, 9, 14, 20, 8], [1, -1, 1, 2, 1]
NAMES = {item: f"Song <{number}> & more" for number, item in enumerate(ITEMS)}

needs_browser = pytest.mark.skipif(not CHROMIUM, reason="needs Debian's chromium, or Chrome")


@pytest.fixture(scope="module")
def model():
    return build("sasrec", feedback_inputs=True, negative_loss="keep")


@pytest.fixture(scope="module")
def server(model, integers_version, tmp_path_factory):
    version = keras_negrec.export(model, tmp_path_factory.mktemp("exports") / "named")
    folder = served_folder(tmp_path_factory.mktemp("page"), named=version, plain=integers_version)
    sessions = keras_negrec.data.Sessions.from_lists([[5, 4], HISTORY], [[1, 1], FEEDBACK])
    keras_negrec.serving.write_sample(folder / "named", sessions, STRINGS, item_names=NAMES)
    with serving(folder) as running:
        yield running


@pytest.fixture(scope="module")
def address(server):
    return f"http://127.0.0.1:{server.rest_api_port}"


@pytest.fixture
def page(address):
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(reduced_motion="reduce")
        faults = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda line: line.type == "error" and faults.append(line.text))
        page.goto(address)
        page.wait_for_selector("#ranking li")
        yield page
        browser.close()
        assert not faults


def ranked(model, feedback, history=HISTORY, **options):
    history = [ITEMS[number - 1] for number in history]
    [best] = keras_negrec.recommend(model, [history], feedback=[feedback], k=20, **options)
    return [NAMES[item] for item, _ in best]


def shown(page, of="#ranking"):
    return page.locator(f"{of} .name").all_text_contents()


def wait_for(page, names):
    for _ in range(100):  # a string of JavaScript is refused by the page's policy
        if shown(page) == names:
            return
        page.wait_for_timeout(50)
    assert shown(page) == names


@needs_browser
def test_one_skip_changes_the_ranking_as_recommend_says(page, model):
    assert shown(page) == ranked(model, FEEDBACK)
    assert shown(page, "#history") == [NAMES[ITEMS[number - 1]] for number in HISTORY[::-1]]
    page.focus("#history li:first-child [data-feedback='-1']")
    page.keyboard.press("Enter")
    after = ranked(model, [*FEEDBACK[:-1], -1])
    assert after != ranked(model, FEEDBACK)
    wait_for(page, after)
    before = ranked(model, FEEDBACK)
    for place, name in enumerate(after):
        change = page.locator("#ranking .change").nth(place).text_content()
        moved = before.index(name) - place if name in before else None
        expected = "new" if moved is None else f"▲ {moved}" if moved > 0 else f"▼ {-moved}"
        assert change == ("" if moved == 0 else expected)


@needs_browser
def test_a_recommended_track_joins_the_history(page, model):
    first = shown(page)[0]
    page.click("#ranking li:first-child [data-feedback='2']")
    number = list(NAMES.values()).index(first) + 1
    wait_for(page, ranked(model, [*FEEDBACK, 2], [*HISTORY, number]))
    assert shown(page, "#history")[0] == first
    page.click("#history li:first-child > button")
    wait_for(page, ranked(model, FEEDBACK))
    page.fill("#item", first)
    page.keyboard.press("Enter")
    wait_for(page, ranked(model, [*FEEDBACK, 1], [*HISTORY, number]))


@needs_browser
def test_the_slider_says_how_much_skips_count(page, model):
    slider = page.locator("#weights input")
    assert slider.input_value() == "1"
    before = page.locator("#ranking .score").first.text_content()
    for _ in range(20):
        slider.press("ArrowRight")
    assert page.text_content("#weights output") == "3"
    wait_for(page, ranked(model, FEEDBACK, ranking_weights={"keep": 3.0}))
    assert page.locator("#ranking .score").first.text_content() != before


@needs_browser
def test_why_shows_the_differences_of_scores(page, model):
    best = list(NAMES.values()).index(shown(page)[0])
    table = np.asarray(model.item_vectors()[best])

    def score(left_out=None):
        kept = [event for event in range(len(HISTORY)) if event != left_out]
        history = keras_negrec.data.Sessions.from_lists(
            [[HISTORY[event] for event in kept]], [[FEEDBACK[event] for event in kept]]
        )
        return float(model.history_vectors(history)[0] @ table)

    expected = {
        NAMES[ITEMS[HISTORY[event] - 1]]: score() - score(event) for event in range(len(HISTORY))
    }
    page.click("#ranking li:first-child > button")
    page.wait_for_selector("#why[open]")
    found = {}
    for row in page.locator("#reasons li").all():
        text = row.locator(".score").text_content().replace("\N{MINUS SIGN}", "-")
        found[row.locator(".name").text_content()] = float(text)
    assert found == pytest.approx(expected, abs=0.0006)
    assert list(found) == sorted(found, key=lambda name: -abs(found[name]))
    page.keyboard.press("Escape")
    page.wait_for_selector("#why", state="hidden")


@needs_browser
def test_integer_ids_without_a_sample(page, integers):
    page.select_option("#model", "plain")
    page.wait_for_selector("#history li", state="detached")
    page.fill("#item", "20")
    page.keyboard.press("Enter")
    expected = keras_negrec.recommend(integers, [[20]], k=20)[0]
    wait_for(page, [str(item) for item, _ in expected])


@needs_browser
def test_what_the_server_says_is_shown(page):
    page.evaluate("() => { fetch = () => Promise.reject(new Error('The server is away.')) }")
    page.click("#clear")
    page.wait_for_selector("#message.error")
    assert page.text_content("#message") == "The server is away."


def test_names_and_listeners_by_http(address):
    def answer(path):
        with urllib.request.urlopen(address + path) as response:
            return json.load(response)

    assert answer("/page") == {"models": ["named", "plain"]}
    told = answer("/page/named")
    assert told["has_names"] and dict(told["items"]) == NAMES
    assert told["listeners"][0]["feedback"] == FEEDBACK  # with a skip, so it comes first
    assert answer("/page/plain") == {"listeners": [], "items": [], "has_names": False}
    item = urllib.request.quote(ITEMS[3])
    assert answer(f"/page/named/names?item={item}&item=unknown") == {ITEMS[3]: NAMES[ITEMS[3]]}
    for path in ("/page/none", "/page/..", "/page/none/names"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            answer(path)
