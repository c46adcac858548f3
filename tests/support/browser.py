"""A real browser: the system's Chromium, driven by Playwright."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

LEFT_OUT = "no Chromium is installed, which drives the page"


def path() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


needs_browser = pytest.mark.skipif(path() is None, reason=LEFT_OUT)


@contextmanager
def launched() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path(), args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


class Visit:
    """A page that is looked at, with all that it has asked for and complained of."""

    def __init__(self, browser: Browser, origin: str, **options: Any):
        self.context: BrowserContext = browser.new_context(**options)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.origin = origin
        self.requested: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requested.append(request.url))
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _note(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def close(self) -> None:
        """No request has left the host, and nothing has gone wrong unseen."""
        self.context.close()
        elsewhere = [url for url in self.requested if not url.startswith((f"{self.origin}/", f"blob:{self.origin}/"))]
        assert elsewhere == []
        complaints = [text for text in self.complaints if "status of 40" not in text]
        assert not complaints, complaints
