"""What the tests do in a browser: open, wait, look, and keep what was seen."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement

T = TypeVar("T")
PATIENCE = 30.0
"""Real seconds after which a page that should have come so far is given up."""
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@contextmanager
def browser(profile: Path) -> Iterator[Chrome]:
    """A headless Chromium, as Debian ships it (packages chromium and chromium-driver), with an empty profile.
    Raises FileNotFoundError where there is none."""
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not binary or not driver:
        raise FileNotFoundError("no chromium or no chromedriver: apt-get install chromium chromium-driver")
    options = ChromeOptions()
    options.binary_location = binary
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    found = Chrome(options=options, service=ChromeService(driver))
    try:
        yield found
    finally:
        found.quit()


class Window:
    """One page at a time."""

    def __init__(self, chromium: Chrome, artefacts: Path) -> None:
        self.chromium = chromium
        self.artefacts = artefacts

    def open(self, address: str) -> None:
        """Opens it and waits until it is loaded."""
        self.chromium.get(address)

    def look(self, *, width: int, height: int, dark: bool) -> None:
        """The window's size in CSS pixels, and the colours that the person prefers."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})

    def all(self, selector: str) -> list[WebElement]:
        """Every element that a CSS selector finds."""
        return list(self.chromium.find_elements("css selector", selector))

    def texts(self, selector: str) -> list[str]:
        """The texts of all of them."""
        return self._of_one_drawing(lambda: [str(element.text) for element in self.all(selector)])

    def text(self, selector: str) -> str:
        """The text of the first."""
        return self._of_one_drawing(lambda: str(self.all(selector)[0].text))

    def click(self, selector: str, index: int = 0) -> None:
        """A click on one of them."""
        self._of_one_drawing(lambda: self.all(selector)[index].click())

    @staticmethod
    def _of_one_drawing(use: Callable[[], T]) -> T:
        """The value of `use`, which finds elements and reads them or clicks: again while the page draws them
        anew between the two."""
        from selenium.common.exceptions import StaleElementReferenceException

        ends = time.monotonic() + PATIENCE
        while True:
            try:
                return use()
            except StaleElementReferenceException:
                if time.monotonic() > ends:
                    raise

    def run(self, script: str, *arguments: Any) -> Any:
        """The value of a script."""
        return self.chromium.execute_script(script, *arguments)

    def until(self, condition: Callable[[], Any]) -> Any:
        """Waits for something to become true."""
        from selenium.webdriver.support.wait import WebDriverWait

        return WebDriverWait(self.chromium, PATIENCE, 0.1).until(lambda _: condition())

    def press(self, *keys: str) -> None:
        """Keys, to whatever has the focus."""
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.chromium).send_keys(*keys).perform()

    def press_with_shift(self, key: str) -> None:
        """A key while the shift key is held down."""
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.chromium).key_down("\ue008").send_keys(key).key_up("\ue008").perform()

    def focused(self) -> str:
        """The id, else the tag, of what has the focus."""
        return str(self.run("return document.activeElement.id || document.activeElement.tagName"))

    def seen(self, selector: str) -> bool:
        """Whether the pictures that it finds are there and decoded."""
        script = """
            const found = [...document.querySelectorAll(arguments[0])];
            return found.length > 0 && found.every((image) => image.complete && image.naturalWidth > 0);
        """
        return bool(self.run(script, selector))

    def keep(self, name: str) -> None:
        """A screenshot among the artefacts."""
        self.chromium.save_screenshot(str(self.artefacts / f"{name}.png"))

    def complaints(self) -> list[str]:
        """Warnings and errors of the console since it was last asked."""
        return [entry["message"] for entry in self.chromium.get_log("browser") if entry["level"] != "INFO"]
