"""A sandbox for the whole folder, and a fresh company with an authorized client for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from services.sandbox.server import Sandbox, running
from services.sandbox.settings import Settings
from tests.contract.sandbox.books import APP, OTHER_APP, Books, open_books


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """One sandbox for all tests that do not move the clock."""
    with running(Settings(apps=(APP, OTHER_APP))) as served:
        yield served


@pytest.fixture
def own_sandbox() -> Iterator[Sandbox]:
    """A sandbox whose clock the test may move."""
    with running(Settings(apps=(APP, OTHER_APP))) as served:
        yield served


@pytest.fixture
def open_company(sandbox: Sandbox) -> Iterator[Callable[..., Books]]:
    """Opens companies on the common sandbox; their connections are closed after the test."""
    opened = []

    def opener(**options: Any) -> Books:
        books = open_books(sandbox, **options)
        opened.append(books)
        return books

    yield opener
    for books in opened:
        books.session.close()


@pytest.fixture
def us(open_company: Callable[..., Books]) -> Books:
    """A company in the United States."""
    return open_company()


@pytest.fixture
def gb(open_company: Callable[..., Books]) -> Books:
    """A company in the United Kingdom."""
    return open_company(country="GB")


@pytest.fixture
def multi(open_company: Callable[..., Books]) -> Books:
    """A company in the United States with several currencies."""
    return open_company(multicurrency=True)
