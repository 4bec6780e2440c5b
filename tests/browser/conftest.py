"""A headless Chromium, as Debian ships it (packages chromium and chromium-driver).

A browser that is not there fails these tests: they are asked for by name (`make test-browser`).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from browser.window import Window

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
ARTEFACTS = Path(__file__).parents[1] / "artefacts"


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """One browser for all of these tests, with an empty profile."""
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not binary or not driver:
        pytest.fail("no chromium or no chromedriver: apt-get install chromium chromium-driver")
    options = ChromeOptions()
    options.binary_location = binary
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    browser = Chrome(options=options, service=ChromeService(driver))
    yield browser
    browser.quit()


@pytest.fixture
def window(chromium: Chrome, request: pytest.FixtureRequest) -> Iterator[Window]:
    """A window as wide as a desk's, whose console must stay empty."""
    ARTEFACTS.mkdir(exist_ok=True)
    found = Window(chromium, ARTEFACTS)
    found.look(width=1280, height=1600, dark=False)
    chromium.get_log("browser")
    yield found
    assert found.complaints() == []
    chromium.get("about:blank")
