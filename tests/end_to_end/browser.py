"""A browser in front of Prefect's UI, and what an operator does there, step by step."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from PIL import Image

from flows.local_server import PROJECT

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

BROWSER_VARIABLE = "UI_TEST_BROWSER"
BROWSER_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

BROWSER_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

RUN_MILLISECONDS = 60_000
RUN_HEADING = ".page-heading-flow-run"
ARTIFACT = ".artifact-data-markdown"

SCREENSHOTS_VARIABLE = "UI_TEST_SCREENSHOTS"
SCREENSHOT_WIDTH = 1120
SCREENSHOT_COLORS = 64


@dataclass(frozen=True)
class Operator:
    """Somebody who looks at the UI and clicks."""

    page: "Page"
    url: str
    hosts: set[str] = field(default_factory=set)
    """Every host that the pages have asked for anything."""

    def open_deployment(self, name: str) -> None:
        """From the first page to a deployment's."""
        self.page.goto(self.url)
        self.page.get_by_role("button", name="Deployments").click()
        # Elsewhere a link of that name leads to the flow.
        self.page.locator(".deployment-list__name").get_by_text(name, exact=True).click()
        self.page.get_by_role("button", name="Run", exact=True).wait_for()

    def quick_run(self) -> None:
        """Start a run at once, and open its page."""
        self._open_run_menu("Quick run")
        self._follow_to_the_run()

    def open_form(self) -> None:
        """Open the form that starts a run with parameters."""
        self._open_run_menu("Custom run")
        self.page.get_by_role("button", name="Submit").wait_for()

    def submit(self) -> None:
        """Send the form, and open the page of the run that it starts."""
        self.page.get_by_role("button", name="Submit").click()
        self._follow_to_the_run()

    @property
    def run_id(self) -> str:
        """The id of the run whose page is open."""
        run_id: str = self.page.url.rpartition("/")[2].partition("?")[0]
        return run_id

    def parameter(self, name: str) -> "Locator":
        """The part of the form that belongs to one parameter."""
        label = self.page.locator(".schema-form-property__label", has_text=re.compile(rf"^{name}( \(Optional\))?$"))
        return self.page.locator(".schema-form-property", has=label).last

    def parameters(self) -> list[str]:
        """The names of the form's fields, from top to bottom."""
        labels = self.page.locator(".schema-form-property__label").all_inner_texts()
        return [label.removesuffix(" (Optional)") for label in labels]

    def has_tabs(self) -> bool:
        """Whether a field of the form has to be chosen among several kinds first."""
        count: int = self.page.locator(
            ".schema-form-property [role=tablist], .schema-form-property .p-button-group"
        ).count()
        return count > 0

    def help_text(self, name: str) -> str:
        """What the form says about a parameter."""
        text: str = self.parameter(name).locator(".schema-form-property__description").inner_text()
        return text

    def fill(self, name: str, value: str) -> None:
        """Type into a text or number field."""
        self.parameter(name).locator("input, textarea").first.fill(value)

    def choose(self, name: str, option: str) -> None:
        """Choose from a list."""
        # At a click on its text, Prefect 3.8's list opens and closes again at once.
        self.parameter(name).locator(".p-select-button__icon").click()
        self.page.locator(".p-select-option").get_by_text(option, exact=True).click()

    def pick_time(self, name: str, moment: datetime) -> None:
        """Pick a date and a time in the form's zone, which is UTC."""
        self.parameter(name).locator(".p-date-button__control").click()
        picker = self.page.locator(".p-date-picker")
        picker.locator("input[type=date]").fill(f"{moment:%Y-%m-%d}")
        picker.locator("input[type=time]").fill(f"{moment:%H:%M}")
        picker.get_by_role("button", name="Apply").click()
        picker.wait_for(state="detached")

    def picked_time(self, name: str) -> str:
        """The date and time that a parameter shows."""
        text: str = self.parameter(name).locator(".p-date-button__value").inner_text()
        return text

    def wait_for_state(self, name: str) -> None:
        """Wait until the run whose page is open is in a state."""
        state = self.page.locator(f"{RUN_HEADING} .state-badge", has_text=re.compile(rf"^\s*{name}\s*$"))
        state.wait_for(timeout=RUN_MILLISECONDS)

    def open_tab(self, name: str) -> None:
        """Open a tab of the run's page."""
        self.page.locator(".flow-run [role=tablist]").get_by_text(name, exact=True).click()

    def log_until(self, text: str) -> list[str]:
        """The lines of the run's log, as soon as one of them has a text."""
        lines = self.page.locator(".log-row__content")
        lines.filter(has_text=text).first.wait_for(timeout=RUN_MILLISECONDS)
        texts: list[str] = lines.all_inner_texts()
        return texts

    def open_artifact(self, key: str) -> str:
        """From the run's page to one of its artifacts; return the text that it shows."""
        self.open_tab("Artifacts")
        self.page.get_by_role("link", name=key).first.click()
        self.page.locator(f"{ARTIFACT} > *").first.wait_for()
        text: str = self.page.locator(ARTIFACT).inner_text()
        return text

    def picture_widths(self) -> list[int]:
        """How wide each picture of the artifact that is open really is; 0 for one that the browser cannot show."""
        self.page.locator(f"{ARTIFACT} img").first.wait_for()
        widths = self.page.locator(f"{ARTIFACT} img").evaluate_all("images => images.map(image => image.naturalWidth)")
        return [int(width) for width in widths]

    def screenshot(self, name: str, height: int) -> None:
        """Keep a picture of the page for the README, in the folder that is asked for; by default none is asked for."""
        folder = os.environ.get(SCREENSHOTS_VARIABLE)
        if not folder:
            return
        before = self.page.viewport_size
        assert before is not None
        self.page.set_viewport_size({"width": SCREENSHOT_WIDTH, "height": height})
        # Messages go away by themselves, and what slides or fades comes to rest.
        self.page.locator(".p-toast").first.wait_for(state="hidden")
        self.page.mouse.move(0, 0)
        self.page.wait_for_timeout(1_000)
        _write_small(self.page.screenshot(), PROJECT / folder / f"{name}.png")
        self.page.set_viewport_size(before)

    def _open_run_menu(self, entry: str) -> None:
        self.page.get_by_role("button", name="Run", exact=True).click()
        self.page.get_by_text(entry, exact=True).click()

    def _follow_to_the_run(self) -> None:
        # The message is there twice, one upon the other; the last is on top.
        self.page.get_by_role("button", name="View run").last.click()
        self.page.locator(RUN_HEADING).wait_for()


def _write_small(png: bytes, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(BytesIO(png)) as image:
        image.convert("RGB").quantize(SCREENSHOT_COLORS, dither=Image.Dither.NONE).save(path, optimize=True)


@contextmanager
def operator(url: str) -> Iterator[Operator]:
    """Open a browser; the test is skipped where there is none, and fails at an error on a page."""
    try:
        from playwright.sync_api import sync_playwright  # noqa: PLC0415 only `make test-ui` installs it
    except ImportError:
        pytest.skip("Playwright is not installed; `make test-ui` installs it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path(), args=BROWSER_ARGUMENTS)
        page = browser.new_page(viewport={"width": 1280, "height": 900}, timezone_id="UTC")
        hosts: set[str] = set()
        page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
        yield Operator(page, url, hosts)
        browser.close()


def browser_path() -> str:
    """Where the browser is; the test is skipped where there is none."""
    names = [os.environ[BROWSER_VARIABLE]] if os.environ.get(BROWSER_VARIABLE) else BROWSER_NAMES
    for name in names:
        if path := shutil.which(name):
            return path
    pytest.skip(f"no browser found: install Chromium, or name one in {BROWSER_VARIABLE}")
