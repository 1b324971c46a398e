"""The page on which a person and a model write, in Chromium, with a model whose words are written down."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from launch.report_page.page import report_page
from tandem.authors import Authors
from tandem.config.schema import Config
from tandem.person import BY_HAND
from tandem.records.run_record import read_run
from tandem.replay import replay
from tandem.rollout import JUNIOR, SENIOR, Problem
from tests.support.browser import chromium
from tests.support.scripted_model import Page, scripted_page

pytestmark = pytest.mark.seconds

HOSTILE = "<img src=x onerror=\"document.title='hurt'\"> <script>document.title='hurt'</script>"
PROBLEM = Problem("p", f"Mia has 46 pens. eats 3, sells 3. How many? {HOSTILE}", "40")
WORDS = f"Start with 46. {HOSTILE}\nTake 3: 46 - 3 = 43.\nTake 3: 43 - 3 = 40.\nThe answer is near.\n"
FIRST, SECOND, _, _ = (f"{line}\n" for line in WORDS.splitlines())
ANSWER = "The answer is \\boxed{40}."

Serve = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture
def serve(config: Config, authors: Authors, tmp_path: Path) -> Iterator[Serve]:
    with ExitStack() as stack:
        yield lambda *, person=JUNIOR, words=WORDS: stack.enter_context(
            scripted_page(config, authors, tmp_path, words, PROBLEM, person=person)
        )


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Open the page; a message in the console or a request to another host fails the test."""
    complaints: list[str] = []
    contexts = []

    def opened(served: Page, **options: Any) -> Any:
        contexts.append(browser.new_context(viewport={"width": 1000, "height": 800}, **options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request", lambda request: None if request.url.startswith((served.url, "data:")) else complaints.append(request.url)
        )
        page.goto(served.url)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def turns(page: Any) -> list[tuple[str, str]]:
    """Return the author and the words of each turn that the page shows."""
    shown = page.locator("#text .turn").all()
    return [(turn.get_attribute("data-author"), turn.locator(".words").text_content()) for turn in shown]


def wait_for_turn(page: Any) -> None:
    """Wait until the page asks the person to write."""
    page.wait_for_selector("#status:has-text('Your turn')")


def test_person_and_model_solve_problem_by_keyboard_alone(
    serve: Serve, open_page: Callable[..., Any], browser: Any, tmp_path: Path
) -> None:
    served = serve()
    page = open_page(served)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    wait_for_turn(page)
    assert turns(page) == [("senior", FIRST)]
    page.keyboard.press("Enter")  # nothing is written: the model goes on
    page.wait_for_selector("#text:has-text('= 43.')")
    wait_for_turn(page)
    assert turns(page) == [("senior", FIRST + SECOND)]
    page.keyboard.type("Take 3: 43 - 3 = 40.<b>")
    page.keyboard.press("Enter")
    page.locator("#text .turn").nth(2).wait_for()
    wait_for_turn(page)
    page.keyboard.type(ANSWER)
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#end >> text=✓ correct")
    written = turns(page)
    assert written == [
        ("senior", FIRST + SECOND),
        ("junior", "Take 3: 43 - 3 = 40.<b>\n"),
        ("senior", "Take 3: 43 - 3 = 40.\n"),
        ("junior", ANSWER),
    ]
    assert page.text_content("#question") == PROBLEM.question
    assert page.locator("img, #text b, #text script").count() == 0 and page.title() == "Write together"
    spoken = [line.text_content() for line in page.locator("#spoken p").all()]
    assert spoken == [f"senior: {words}" for words in (FIRST, SECOND, written[2][1])]
    assert f"python launch/report.py {served.folder.path} shows it" in page.text_content("#end")

    (kept,) = read_run(served.folder.path).samples
    shown = [(turn["author"], turn["text"]) for turn in kept["turns"]]
    assert shown[:3] == written[:3] and shown[3][1].startswith(ANSWER) and len(shown) == 4
    assert (kept["verdict"], kept["person"], kept["gold"], kept["extracted"]) == ("correct", "junior", "40", "40")
    assert {None} == {value for turn in kept["turns"] if turn["author"] == "junior" for value in turn["logprobs"]}
    (report := tmp_path / "report.html").write_text(report_page([read_run(served.folder.path)]))
    in_report = browser.new_page()
    in_report.goto(f"{report.as_uri()}#transcripts")
    assert [turn.text_content() for turn in in_report.locator(".transcript .turn").all()] == [words for _, words in shown]
    in_report.close()


def test_kept_text_replays(serve: Serve, open_page: Callable[..., Any], authors: Authors) -> None:
    served = serve(person=SENIOR)
    page = open_page(served)
    page.click("#begin")
    wait_for_turn(page)
    assert page.is_disabled("#go-on"), "the senior begins"
    page.fill("#step", "Start with 46.")
    page.click("#hand-over")
    page.wait_for_selector("#text .turn.junior")
    page.keyboard.press("Escape")
    wait_for_turn(page)
    interrupted = turns(page)[-1][1]
    assert FIRST.startswith(interrupted) and interrupted != FIRST
    page.fill("#step", ANSWER)
    page.click("#finish")
    page.wait_for_selector("#end >> text=✓ correct")
    assert [author for author, _ in turns(page)] == ["senior", "junior", "senior"]
    (kept,) = read_run(served.folder.path).samples
    ids = [token for turn in kept["turns"] for token in turn["token_ids"]]
    mask = [int(turn["author"] == "senior") for turn in kept["turns"] for _ in turn["token_ids"]]
    breaks = [at in kept["breaks"] for at in range(len(ids))]
    assert replay(BY_HAND, authors.boundaries, kept["seed"], ids, breaks).authorship.tolist() == mask


def test_author_is_marked_by_more_than_color(serve: Serve, open_page: Callable[..., Any]) -> None:
    served = serve()
    backgrounds = set()
    for scheme in ("light", "dark"):
        page = open_page(served, color_scheme=scheme)
        page.click("#begin")
        wait_for_turn(page)
        page.fill("#step", "Take 3.")
        page.keyboard.press("Enter")
        page.wait_for_selector("#text .turn.junior")
        style = "(node) => [getComputedStyle(node).borderBottomStyle, getComputedStyle(node, '::before').content]"
        marks = [page.eval_on_selector(f"#text .turn.{author}", style) for author in ("senior", "junior")]
        assert marks == [["solid", '"S"'], ["dashed", '"J"']]
        backgrounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert page.locator("textarea:not([id]), button:empty").count() == 0
        assert page.get_by_label("Your step").count() == 1
    assert len(backgrounds) == 2


def test_closed_page_cancels_its_text(serve: Serve, open_page: Callable[..., Any]) -> None:
    served = serve()
    page = open_page(served)
    page.click("#begin")
    wait_for_turn(page)
    assert served.pool.writing == 1
    page.click("#begin")
    wait_for_turn(page)
    assert turns(page) == [("senior", FIRST)] and page.text_content("#place") == "problem 1 of 1"
    page.close()
    with httpx.Client(base_url=served.url) as client:
        while served.pool.writing:  # the test's own timeout ends the wait
            client.get("/")
    assert served.folder.texts == 0


def test_routes_refuse_what_is_not_the_pages(serve: Serve) -> None:
    served = serve()
    with httpx.Client(base_url=served.url) as client:
        policy = client.get("/").headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and not re.search(r"https?:", policy)
        assert client.get("/", headers={"Host": "example.org"}).status_code == 403
        assert client.get("/texts?problem=0", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
        assert client.post("/texts/none/step", json={"text": "1"}).status_code == 409
        assert client.post("/texts/none/step", json={"text": "1", "person": "me"}).status_code == 400
        assert client.post("/texts/none/step", json={"text": "1" * 20_001}).status_code == 400
        assert client.get("/texts?problem=x").status_code == 400
