"""What every kind of test may ask for: real servers, a browser; and the report of the kinds that ran.

A test that needs a server which cannot be had fails; it is never skipped. Fixtures of one subject live in
modules of their own and are named in `pytest_plugins`.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import settings
from playwright.async_api import Browser, async_playwright

from dev_servers import DevNats, DevPostgres, find_chromium

pytest_plugins: list[str] = ["tests.fixtures"]

# The same examples in each run: what is in a change decides whether it lands, not chance. To look for others,
# set VOLTYARD_SEARCH=1, as whoever changes what they test should.
settings.register_profile("fixed", derandomize=True)
settings.register_profile("search", print_blob=True)
settings.load_profile("search" if os.environ.get("VOLTYARD_SEARCH") else "fixed")

KINDS = ("sqlite", "postgres", "nats", "browser")
FIXTURE_OF_KIND = {"postgres": "postgres_server", "nats": "nats_server", "browser": "browser"}

# The interpreter itself tells whenever anything connects to SQLite: no test has to say that it did.
connected: Counter[str] = Counter()
CONNECTED_BEFORE = pytest.StashKey[int]()


def count_sqlite_connections(event: str, _arguments: tuple[object, ...]) -> None:
    if event == "sqlite3.connect":
        connected["sqlite"] += 1


sys.addaudithook(count_sqlite_connections)


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """Give a folder that the unprivileged user of a server may enter; pytest's own folders are closed."""
    folder = Path(tempfile.mkdtemp(prefix="voltyard-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server(server_folder: Path) -> Iterator[str]:
    """Give the address of an empty PostgreSQL: postgresql://…"""
    server = DevPostgres(server_folder / "postgres", durable=False)
    yield server.url
    server.stop()


@pytest.fixture(scope="session")
def nats_server(server_folder: Path) -> Iterator[str]:
    """Give the address of a NATS server: nats://…"""
    server = DevNats(server_folder / "nats")
    yield server.url
    server.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Give a Chromium; tests that ask for it run in the session's loop, where it lives."""
    program, environment = find_chromium()
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(
            executable_path=program,
            env=environment,
            # Chromium's sandbox refuses to work for root.
            args=["--no-sandbox"] if os.geteuid() == 0 else [],
        )
        yield chromium
        await chromium.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    fixtures = getattr(item, "fixturenames", ())
    parameters = set(map(str, item.callspec.params.values())) if hasattr(item, "callspec") else set()
    for kind, fixture in FIXTURE_OF_KIND.items():
        if fixture in fixtures or kind in parameters:
            item.user_properties.append(("kind", kind))
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    try:
        return (yield)
    finally:
        if connected["sqlite"] > item.stash[CONNECTED_BEFORE]:
            item.user_properties.append(("kind", "sqlite"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    item.stash[CONNECTED_BEFORE] = connected["sqlite"]
    return (yield)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say at the end which kinds ran: a kind that nobody ran must not pass for one that passed."""
    reports = [r for group in ("passed", "failed") for r in terminalreporter.stats.get(group, ())]
    counted = Counter(
        value
        for report in reports
        if report.when == "call"
        for name, value in report.user_properties
        if name == "kind"
    )
    shown = ", ".join(f"{kind} {counted[kind] or 'not run'}" for kind in KINDS)
    terminalreporter.write_line(f"kinds that ran (tests): {shown}")
