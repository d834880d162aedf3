"""The gateway's own page in a real browser: a file in, a picture, an answer; by keyboard, dark, on a phone.

`GATEWAY_PICTURES=DIR` keeps the pictures; one of them is docs/pictures/gateway.png.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait
from support.browser.chromium import OPTIONS
from support.processes.commands import BIN
from support.processes.consumer_process import consumer
from support.processes.gateway_process import Gateway, gateway
from support.processes.shell_classifiers import script
from support.waiting import PATIENCE_S

from consumer.local_broker import node as local_broker

PICTURES = "GATEWAY_PICTURES"
TOKEN = "for-tests-and-nothing-else"  # noqa: S105 - a test's own
OUTPUT = {
    "label": "compressor",
    "probabilities": {"fan": 0.06, "compressor": 0.81, "vacuum cleaner": 0.1, "pump": 0.03},
    "model": "machines",
}
SAMPLES = [math.sin(i / 20) * (1 + 0.3 * math.sin(i / 7)) + 0.4 * math.sin(i / 3) for i in range(600)]


class Page:
    """The page, as a person has it."""

    def __init__(self, browser: webdriver.Chrome, pictures: Path) -> None:
        self.browser = browser
        self._pictures = pictures

    def open(self, url: str, *, is_taken: bool = True) -> None:
        self.browser.get(url)
        self.until("#health", "ready" if is_taken else "no consumer takes jobs")

    def text(self, selector: str) -> str:
        return self.browser.find_element(By.CSS_SELECTOR, selector).text

    def until(self, selector: str, text: str) -> None:
        WebDriverWait(self.browser, PATIENCE_S, poll_frequency=0.05).until(
            lambda _: text in self.text(selector), f"{selector} does not say {text!r}"
        )

    def choose(self, path: Path) -> None:
        self.browser.find_element(By.ID, "file").send_keys(str(path))

    def picture(self, name: str, width: int) -> Path:
        """Take one of the whole page at this width."""
        size = {"width": width, "height": 400, "deviceScaleFactor": 1, "mobile": width < 500}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        height = self.browser.execute_script("return document.documentElement.scrollHeight")
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {**size, "height": height})
        path = self._pictures / f"{name}.png"
        self.browser.save_screenshot(str(path))
        self.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        return path

    def at_width(self, width: int, question: str) -> Any:  # noqa: ANN401 - JSON
        """Ask the page something while it is as wide as that."""
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        found = self.browser.execute_script(question)
        self.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        return found

    def has_no_overflow(self, width: int) -> bool:
        """Whether all fits into the width, so that nobody has to scroll sideways."""
        return bool(self.at_width(width, "return document.documentElement.scrollWidth") <= width)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    driver = shutil.which("chromedriver")
    if driver is None:
        pytest.skip("no chromedriver; install it with `sudo apt-get install chromium chromium-driver`")
    folder = tmp_path_factory.mktemp("browser")
    options = webdriver.ChromeOptions()
    for option in (*OPTIONS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
    try:
        yield Page(browser, Path(os.environ.get(PICTURES) or folder))
    finally:
        browser.quit()


@pytest.fixture
def site(vhost_url: str, tmp_path: Path) -> Iterator[Gateway]:
    """A gateway that wants a token, and a consumer whose jobs fail where they name a model of that name."""
    (tmp_path / "tokens").write_text(f"{TOKEN}\n")
    command = script(
        tmp_path,
        'case "$(cat "$1")" in',
        "*broken*) echo ERROR: no model broken ;;",
        f"*) echo 'OUTPUT: {json.dumps(OUTPUT)}' ;;",
        "esac",
    )
    with (
        consumer(vhost_url, command=command, pool_size=1),
        gateway(vhost_url, gateway_token_file=tmp_path / "tokens") as running,
    ):
        yield running


def csv(folder: Path) -> Path:
    path = folder / "machine-17.csv"
    path.write_text("\n".join(f"{value:.5f}" for value in SAMPLES))
    return path


def test_a_person_drops_a_file_sees_it_and_gets_an_answer(page: Page, site: Gateway, tmp_path: Path) -> None:
    page.open(site.url)
    page.choose(csv(tmp_path))
    page.until("#caption", "machine-17.csv: 600 samples")
    assert page.browser.find_element(By.CSS_SELECTOR, "#plot path").get_attribute("d")
    send = page.browser.find_element(By.ID, "send")
    send.click()
    page.until("#verdict", "Not taken: Unauthorized")
    assert "Authorization: Bearer" in page.text("#detail")
    token = page.browser.find_element(By.ID, "token")
    token.send_keys(TOKEN)
    page.browser.find_element(By.ID, "model").send_keys("broken", Keys.ENTER)  # by the keyboard
    page.until("#verdict", "The job failed")
    assert page.text("#detail") == "no model broken"
    page.picture("failed", 390)
    page.browser.find_element(By.ID, "model").clear()
    send.send_keys(Keys.SPACE)
    page.until("#verdict", "compressor")
    bars = [line.text.split() for line in page.browser.find_elements(By.CSS_SELECTOR, "#bars li")]
    assert [(bar[0], bar[-2]) for bar in bars] == [
        ("compressor", "81.0"),
        ("vacuum", "10.0"),
        ("fan", "6.0"),
        ("pump", "3.0"),
    ]
    assert page.has_no_overflow(320)
    page.picture("phone", 390)
    page.picture("wide", 1280)
    assert page.picture("gateway", 900).stat().st_size < 100_000
    page.browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    )
    page.picture("dark", 900)
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    log: list[dict[str, str]] = page.browser.get_log("browser")  # type: ignore[no-untyped-call]
    faults = [entry["message"] for entry in log]
    assert [fault for fault in faults if "401" not in fault] == []  # nothing that the page's own policy refuses


@pytest.mark.parametrize(
    "case",
    [
        ("column.csv", "value\n1\n2\n4\n", "3 samples"),
        ("row.csv", "1, 2.5,-3e2,4", "4 samples"),
        ("spaces.txt", "1 2 3", "3 samples"),
        ("array.json", "[1, 2, 3, 4, 5]", "5 samples"),
        ("job.json", '{"signal": [1, 2], "model": "x"}', "2 samples"),
        ("one.ts", "# a comment\n@data\n1,2,3:fan\n", "fan: 3 samples"),
        ("one.tsv", "fan\t1\t2\t3\n", "fan: 3 samples"),
        ("labelled.csv", "label,samples\nfan,1,2,3\npump,4,5\n", "line 2, fan: 3 samples"),
        ("last.csv", "a,b,label\n1,2,fan\n4,5,pump\n", "line 2, fan: 2 samples"),
        ("bare.csv", "1,2,3,4\n5,6,7,8\n", "line 1: 4 samples"),
        ("german.csv", "1,5;2,5;3\n", "3 samples"),
        ("jobs.jsonl", '{"signal": [1, 2, 3]}\n{"signal": [4, 5]}\n', "line 1: 3 samples"),
    ],
)
def test_each_kind_of_file_is_read(page: Page, idle: Gateway, tmp_path: Path, case: tuple[str, str, str]) -> None:
    name, text, told = case
    page.open(idle.url, is_taken=False)
    (tmp_path / name).write_text(text)
    page.choose(tmp_path / name)
    page.until("#caption", told)
    assert page.text("#caption").startswith(name)


@pytest.mark.parametrize(
    "case",
    [
        ("empty.csv", "", "The file is empty."),
        (
            "picture.png",
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
            "This is a picture (PNG), not a text file with numbers.",
        ),
        ("picture.csv", b"\xff\xd8\xff\xe0", "This is a picture (JPEG)"),
        ("sheet.xlsx", b"PK\x03\x04\x14\0", "an archive (ZIP), as Excel"),
        ("noise.csv", b"\x01\xfe\xc3", "This is not a text file in UTF-8."),
        ("zeros.csv", b"1,2\0\0", "This is a binary file"),
        ("blank.csv", " \n\n", "The file is empty."),
        (
            "header.csv",
            "label,samples\n",
            "The file has a header row (“label, samples”), but no numbers below it.",
        ),
        ("column.csv", "value\n", "The file has a header row (“value”), but no numbers below it."),
        ("words.csv", "a\n1\n<b>x</b>\n", "Line 3 is “<b>x</b>”, which is not a number."),
        ("gap.csv", "fan,1,,3\n", "Sample 2 of line 1 is missing."),
        ("table.csv", "1,2\n3,4\n", "2 lines of 2 columns"),
        ("half.json", "[1, 2", "begins as JSON does, but is none"),
        ("text.json", '["a", "b"]', "not an array of numbers"),
        ("short.csv", "1", "at least two numbers"),
    ],
)
def test_what_is_no_signal_is_told_so(
    page: Page, idle: Gateway, tmp_path: Path, case: tuple[str, str | bytes, str]
) -> None:
    name, content, told = case
    page.open(idle.url, is_taken=False)
    (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    page.choose(tmp_path / name)
    page.until("#detail", told)
    assert page.text("#verdict") == "This file cannot be read as a signal"
    assert not page.browser.find_element(By.ID, "send").is_enabled()


def test_of_a_table_of_the_products_own_a_person_chooses_a_signal(
    page: Page, site: Gateway, tmp_path: Path
) -> None:
    table = tmp_path / "train.csv"
    subprocess.run([BIN / "classifier", "generate", "--out", table, "--per-class", "30"], check=True, timeout=60)
    page.open(site.url)
    page.choose(table)
    page.until("#which-label", "Signal (300 in the file)")
    chosen = Select(page.browser.find_element(By.ID, "which"))
    label = table.read_text().splitlines()[299].partition(",")[0]
    assert chosen.options[298].text == f"line 300: {label}"
    chosen.select_by_index(298)
    page.until("#caption", f"train.csv, line 300, {label}: ")
    page.browser.find_element(By.ID, "send").click()
    page.until("#verdict", "Unauthorized")
    page.browser.find_element(By.ID, "token").send_keys(TOKEN, Keys.ENTER)
    page.until("#verdict", "compressor")
    assert re.search(rf"label in the file\W+{label}\n", page.text("#facts"))
    page.picture("table", 1280)


def test_a_share_of_a_hundred_percent_is_one_line_at_every_width(
    page: Page, vhost_url: str, tmp_path: Path
) -> None:
    output = {"label": "fan", "probabilities": {"fan": 1.0, "a label that is as long as labels get": 0.0}}
    command = script(tmp_path, f"echo 'OUTPUT: {json.dumps(output)}'")
    with consumer(vhost_url, command=command, pool_size=1), gateway(vhost_url) as running:
        page.open(running.url)
        page.choose(csv(tmp_path))
        page.browser.find_element(By.ID, "send").click()
        page.until("#bars", "100.0 %")
        for width in (320, 390, 900, 1280):
            height, line = page.at_width(
                width,
                "const share = document.querySelector('#bars .share');"
                "return [share.getBoundingClientRect().height, parseFloat(getComputedStyle(share).lineHeight)]",
            )
            assert height < 1.5 * line, width
        page.picture("hundred", 1280)


def test_a_person_sees_that_nobody_takes_jobs_and_how_long_the_request_waits(
    page: Page, vhost_url: str, tmp_path: Path
) -> None:
    command = script(tmp_path, f"echo 'OUTPUT: {json.dumps(OUTPUT)}'")
    with consumer(vhost_url, command=command):
        pass  # it has made the queues
    with gateway(vhost_url) as running:
        page.open(running.url, is_taken=False)
        page.choose(csv(tmp_path))
        page.browser.find_element(By.ID, "send").click()
        page.until("#verdict", "Waiting for the reply … ")
        page.until("#detail", "No consumer takes jobs now. The job waits in the queue until one is started")
        page.until("#health", "no consumer takes jobs; 1 job waits")
        assert re.fullmatch(r"Waiting for the reply … \d+ s", page.text("#verdict"))
        page.picture("waiting", 1280)
        page.picture("waiting-phone", 390)
        with consumer(vhost_url, command=command):
            page.until("#verdict", "compressor")
            page.until("#health", "ready")


#: Makes the gateway of the page one that takes jobs at once, and then, until `isAway` is false, has no RabbitMQ.
LOST_RABBITMQ = """
const problem = {title: 'Service Unavailable', status: 503, reason: 'rabbitmq_away', detail: 'no connection now'};
const real = window.fetch;
window.isAway = true;
window.fetch = (address, options = {}) => {
  if (window.isAway && /^(queue|jobs[/])/.test(address)) {
    return Promise.resolve(Response.json(problem, {status: 503, headers: {'Retry-After': '1'}}));
  }
  return real(address, {...options, headers: {...options.headers, Prefer: 'wait=0'}});
};
"""


def test_a_job_that_was_taken_is_waited_for_while_the_gateway_has_no_rabbitmq(
    page: Page, vhost_url: str, tmp_path: Path
) -> None:
    command = script(tmp_path, f"echo 'OUTPUT: {json.dumps(OUTPUT)}'")
    with consumer(vhost_url, command=command):
        pass  # it has made the queues
    with gateway(vhost_url) as running:
        page.open(running.url, is_taken=False)
        page.choose(csv(tmp_path))
        page.browser.execute_script(LOST_RABBITMQ)
        page.browser.find_element(By.ID, "send").click()
        page.until("#facts", "job")
        page.until("#detail", "The reason is unknown: no connection now.")
        assert page.text("#verdict").startswith("Waiting for the reply … ")
        page.picture("lost-phone", 390)
        with consumer(vhost_url, command=command):
            page.browser.execute_script("window.isAway = false")
            page.until("#verdict", "compressor")


@pytest.fixture(scope="module")
def idle(node: local_broker.Node) -> Iterator[Gateway]:
    """A gateway without a consumer, for what needs no answer."""
    with gateway(node.amqp_url) as running:
        yield running
