"""A browser of the smallest kind: follows redirects, keeps cookies, and submits the form of a page.

With it the demonstration connects a company the way an admin does, page by page.
"""

from __future__ import annotations

from html.parser import HTMLParser
from urllib.parse import urljoin

import requests

TIMEOUT = 20  # seconds


class _Form(HTMLParser):
    """The first form of a page, with the values that are filled in already."""

    def __init__(self) -> None:
        super().__init__()
        self.action: str | None = None
        self.fields: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the form's address and its inputs."""
        found = dict(attrs)
        if tag == "form" and self.action is None:
            self.action = found.get("action") or ""
        elif tag == "input" and found.get("name"):
            self.fields[str(found["name"])] = found.get("value") or ""


class Browser:
    """One browsing session; `page` is where it is."""

    def __init__(self) -> None:
        self._session = requests.Session()
        self.page: requests.Response = requests.Response()

    def open(self, url: str) -> None:
        """Go to an address, through its redirects."""
        self.page = self._session.get(url, timeout=TIMEOUT)
        self.page.raise_for_status()

    def submit(self, **filled: str) -> None:
        """Fill in and send the form of the page. Raises ValueError when there is none."""
        form = _Form()
        form.feed(self.page.text)
        if form.action is None:
            raise ValueError(f"there is no form on {self.page.url}")
        address = urljoin(self.page.url, form.action)
        self.page = self._session.post(address, data={**form.fields, **filled}, timeout=TIMEOUT)
        self.page.raise_for_status()
