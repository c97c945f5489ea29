"""The page of `report` in Chromium: nothing foreign runs or is loaded, and its controls work."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.chromium import PROGRAM, Chromium, Tab
from tests.unit import reports
from tests.unit.reports import ATTACK, RAN, rendered, write_file

pytestmark = [
    pytest.mark.skipif(PROGRAM is None, reason="needs Chromium (Debian: chromium)"),
    pytest.mark.xdist_group("browser"),
]
LATE = "[data-track='1']"
"""The row of rank 1."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("chromium")) as running:
        yield running


@pytest.fixture
def tab(browser: Chromium, tmp_path: Path) -> Tab:
    """The page of a run in which rank 1 reads data first, and then hangs."""
    file = write_file(tmp_path / "hang.dsray", reports.changing())
    return opened(browser, tmp_path, rendered(reports.report(file)))


def opened(browser: Chromium, folder: Path, html: str) -> Tab:
    page = folder / "page.html"
    page.write_text(html)
    return browser.open(page)


def row(tab: Tab) -> str:
    return tab.text(LATE)


def _slide(number: int) -> str:
    return (
        f"(() => {{ const one = document.getElementById('moment'); one.value = {number};"
        "one.dispatchEvent(new Event('input')); })()"
    )


def test_nothing_is_loaded_and_nothing_complains(tab: Tab) -> None:
    assert [url.partition("://")[0] for url in tab.requests()] == ["file"]
    assert tab.complaints() == []
    assert tab.run("document.querySelectorAll('.without-script').length") == 0


def test_no_name_runs(browser: Chromium, tmp_path: Path) -> None:
    file = write_file(tmp_path / "x.dsray", reports.hostile(), log=ATTACK)
    tab = opened(browser, tmp_path, rendered(reports.report(file)))
    tab.run("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert tab.run("document.body.innerText").count(RAN) > 5
    tab.run(_slide(0))
    tab.run(
        "document.querySelector('#flame .f:last-of-type').dispatchEvent(new MouseEvent("
        "'click', {bubbles: true}))"
    )
    assert tab.run("typeof window.ranOnThePage") == "undefined"
    assert tab.run("document.scripts.length") == 2
    assert tab.run("document.images.length") == 0
    assert (
        tab.run(
            "[...document.querySelectorAll('*')].filter(e => [...e.attributes].some(a => "
            "a.name.startsWith('on'))).length"
        )
        == 0
    )
    assert len(tab.requests()) == 1
    assert tab.complaints() == []


def test_markup_that_came_in_would_not_run_either(browser: Chromium, tmp_path: Path) -> None:
    """The policy is a second wall: here a name was not escaped."""
    file = write_file(tmp_path / "hang.dsray", reports.changing())
    hole = f"<main>{ATTACK}<style>body {{ display: none }}</style>"
    tab = opened(browser, tmp_path, rendered(reports.report(file)).replace("<main>", hole))
    assert tab.run("document.images.length") == 1
    assert tab.run("typeof window.ranOnThePage") == "undefined"
    assert tab.run("getComputedStyle(document.body).display") != "none"
    violations = [one for one in tab.complaints() if "Content Security Policy" in one]
    assert len(violations) >= 4
    refused = "(() => { try { document.body.innerHTML = '<b>'; } catch (e) { return e.name; } })()"
    assert tab.run(refused) == "TypeError"


def test_the_slider_shows_another_sample(tab: Tab) -> None:
    assert "load_batch" in row(tab)
    assert tab.text("#moment-number") == "sample 4 of 4"
    assert tab.text("#moment-verdict").startswith("HUNG: Rank 1")
    tab.run("document.getElementById('moment').focus()")
    tab.press("Home")
    assert "load_batch" not in row(tab)
    assert "data" in row(tab)
    assert tab.text("#moment-number") == "sample 1 of 4"
    assert not tab.text("#moment-verdict").startswith("HUNG")
    assert tab.text("#ranks-at") == "00:01:40.0"
    assert tab.run("document.querySelector('.cursor').getAttribute('x')") == "0%"
    tab.press("ArrowRight")
    assert tab.text("#moment-number") == "sample 2 of 4"


def test_the_keyboard_walks_the_flame_graph(tab: Tab) -> None:
    tab.run("document.getElementById('flame').focus()")
    assert tab.text("#flame-told").startswith("all ranks: 12.0 rank-seconds, 100.0%, ranks 0-2")
    tab.press("ArrowDown")
    tab.press("ArrowDown")
    assert tab.text("#flame-told").startswith("all_reduce (torch/distributed")
    tab.press("ArrowRight")
    tab.press("ArrowRight")
    assert tab.text("#flame-told") == (
        "load_batch (train.py), user: 2.0 rank-seconds, 16.7%, rank 1"
    )
    tab.press("Enter")
    wide = "[...document.querySelectorAll('.f:not(.hidden)')].map(one => one.getAttribute('width'))"
    assert tab.run(wide) == ["100%"] * 3
    assert tab.run("document.getElementById('flame-reset').disabled") is False
    tab.press("Escape")
    assert len(tab.run(wide)) == 5
    assert tab.run("document.getElementById('flame-reset').disabled") is True


def test_a_function_is_found(tab: Tab) -> None:
    tab.press("/")
    assert tab.run("document.activeElement.id") == "flame-search"

    for letter in "load":
        tab.press(letter)

    assert tab.run("document.getElementById('flame-search').value") == "load"
    assert tab.text("#flame-found") == "2 found"
    assert tab.run("document.querySelectorAll('.f.match').length") == 2
    tab.press("Escape")
    assert tab.run("document.querySelectorAll('.f.match').length") == 0


def test_the_theme_is_the_systems_until_another_one_is_wanted(tab: Tab) -> None:
    color = "getComputedStyle(document.body).backgroundColor"
    light, dark = "rgb(255, 255, 255)", "rgb(20, 23, 28)"
    tab.emulate(scheme="light")
    assert tab.run(color) == light
    tab.emulate(scheme="dark")
    assert tab.run(color) == dark
    tab.emulate(scheme="light")
    tab.press("t")
    assert tab.run(color) == dark
    tab.emulate(media="print", scheme="dark")
    assert tab.run(color) == light


def test_all_is_on_paper(tab: Tab) -> None:
    closed = "document.querySelectorAll('details:not([open])').length"
    assert tab.run(closed) > 0
    tab.run("dispatchEvent(new Event('beforeprint'))")
    assert tab.run(closed) == 0
    tab.run("dispatchEvent(new Event('afterprint'))")
    assert tab.run(closed) > 0
    tab.emulate(media="print")
    assert tab.run("getComputedStyle(document.querySelector('nav')).display") == "none"


@pytest.mark.parametrize("width", [1200, 360])
def test_no_part_is_wider_than_the_window(tab: Tab, width: int) -> None:
    tab.emulate(width=width)
    assert tab.run("document.documentElement.scrollWidth") <= width


def test_without_script_it_can_be_read(browser: Chromium, tmp_path: Path) -> None:
    file = write_file(tmp_path / "hang.dsray", reports.changing())
    html = rendered(reports.report(file)).replace("script-src 'sha256-", "script-src 'sha256-x")
    tab = opened(browser, tmp_path, html)
    assert "load_batch" in row(tab)
    shown = "getComputedStyle(document.getElementById('flame-search').parentElement).display"
    assert tab.run(shown) == "none"


def test_a_thousand_ranks_open(browser: Chromium, tmp_path: Path) -> None:
    document = reports.of_snapshots(*(reports.hung_ranks(1000, 100.0 + n) for n in range(8)))
    tab = opened(browser, tmp_path, rendered(document))
    assert tab.complaints() == []
    assert "125 processes" in tab.text("[data-track='0']")
