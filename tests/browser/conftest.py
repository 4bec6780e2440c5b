"""One headless Chromium for the tests of the pages.

A browser that is not there fails these tests: they are asked for by name (`make test-browser`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.window import Window, browser

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

ARTEFACTS = Path(__file__).parents[1] / "artefacts"


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """One browser for all of these tests, with an empty profile."""
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


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
