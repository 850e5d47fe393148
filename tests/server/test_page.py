"""The page in a real browser: Debian's chromium, driven by selenium; skipped where there is none."""

from __future__ import annotations

import pathlib
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn

from jaxrec.server.run import application
from tests.server.conftest import LIMITS, Finished

webdriver = pytest.importorskip("selenium.webdriver")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver (Debian: chromium-driver)"),
]
MARKUP = "<script>document.title = 'broken'</script><b>bold</b>"


@pytest.fixture(scope="module")
def address(finished_run: Finished, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of two runs, one of whose items has markup for a title."""
    base = tmp_path_factory.mktemp("page")
    for method, name in (("META ID", "meta"), ("TokenRec", "token")):
        finished_run(method, base / name)
    config = uvicorn.Config(application([base / "meta", base / "token"], limits=LIMITS), port=0, log_level="error")
    sockets = [config.bind_socket()]
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=(sockets,))
    thread.start()
    yield f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(DRIVER)
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


def wait(holds: Callable[[], Any]) -> Any:
    """What `holds` returns when it is true, within a minute."""
    deadline = time.monotonic() + 60
    while not (value := holds()):
        assert time.monotonic() < deadline, "the page did not change"
        time.sleep(0.05)
    return value


def find(browser: Any, selector: str) -> list[Any]:
    return browser.find_elements("css selector", selector)


def opened(browser: Any, address: str, width: int) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(address)
    wait(lambda: find(browser, "#list-0 li") and find(browser, "#list-1 li") and find(browser, "#results li"))


def titles(browser: Any, number: int) -> list[str]:
    script = "return [...document.querySelectorAll(arguments[0])].map(e => e.firstChild.textContent)"
    return browser.execute_script(script, f"#list-{number} .what")


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
def test_a_history_is_clicked_together_and_both_lists_follow(browser, address, width) -> None:
    opened(browser, address, width)
    before = titles(browser, 0), titles(browser, 1)
    for clicks in (1, 2):
        find(browser, "#results button")[clicks].click()
        wait(lambda clicks=clicks: len(find(browser, "#history li")) == clicks)
        wait(lambda clicks=clicks: f"for {clicks} items" in find(browser, "#status")[0].text)
    after = titles(browser, 0), titles(browser, 1)
    assert before[0] != after[0]
    assert before[1] != after[1]
    assert all(len(rows) == 10 for rows in after)
    first = after[0][0]
    browser.execute_script("document.querySelectorAll('#list-0 button')[1].focus()")
    browser.switch_to.active_element.send_keys(" ")  # do not show it: by keyboard
    wait(lambda: first not in titles(browser, 0))
    assert browser.execute_script("return document.activeElement.closest('#list-0') !== null")
    overflow = browser.execute_script("return document.documentElement.scrollWidth - window.innerWidth")
    assert overflow <= 0
    assert [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []


def test_a_beam_search_is_shown_step_by_step(browser, address) -> None:
    opened(browser, address, 390)
    find(browser, "#details-0 summary")[0].send_keys(" ")
    wait(lambda: len(find(browser, "#steps-0 h3")) == 2)
    first, last = (heading.text for heading in find(browser, "#steps-0 h3"))
    assert first == "Step 1: 6 clusters tried, 6 kept"
    assert last == "Step 2: 48 items tried, 10 kept"
    shown = browser.execute_script("return [...document.querySelectorAll('#steps-0 .what')].map(e => e.textContent)")
    assert shown[6].startswith(titles(browser, 0)[0])
    assert not find(browser, "#details-1")  # TokenRec searches vectors
    assert browser.execute_script("return document.documentElement.scrollWidth - window.innerWidth") <= 0
    assert [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []


def test_a_user_of_the_data_is_picked(browser, address) -> None:
    opened(browser, address, 1280)
    find(browser, "#is-user")[0].click()
    find(browser, "#user")[0].send_keys("user07")
    wait(lambda: "for user07" in find(browser, "#status")[0].text)
    assert find(browser, "#history li")
    assert find(browser, "#list-0 .token")[0].text == "<Item>"


@pytest.mark.slow
def test_titles_are_text_whatever_they_hold(browser, address) -> None:
    script = """
    return fetch("/v1/events", {method: "POST", headers: {"content-type": "application/json"},
      body: JSON.stringify({events: [{user: "user03", item: "<img src=x onerror=alert(1)>", title: arguments[0]}]})
    }).then(answer => answer.status)"""
    opened(browser, address, 390)
    assert browser.execute_script(script, MARKUP) == 200
    opened(browser, address, 390)
    find(browser, "#search")[0].send_keys("broken")
    wait(lambda: MARKUP in find(browser, "#results")[0].text)
    find(browser, "#results button")[0].click()
    wait(lambda: MARKUP in find(browser, "#history")[0].text)
    assert "broken" not in browser.title
    assert not find(browser, "#history b, #history script, img")
    assert browser.execute_script("return document.documentElement.scrollWidth - window.innerWidth") <= 0


def test_the_file_of_the_page_loads_nothing_from_elsewhere() -> None:
    page = (pathlib.Path(__file__).parent.parent.parent / "jaxrec/server/page.html").read_text()
    assert "//" not in page.replace("// ", "")
