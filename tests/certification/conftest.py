"""One server for a file's test cases, and for each case a charger of its own at a location of its own."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from tests.certification.point import Payload, Point
from tests.e2e.server import Person, Server, deliver, make_person, until

PASSWORD = "0123456789abcdef0123456789abcdef"
CARD = "CARD1"
CHARGERS = 60


class Lab:
    """A running server, somebody who may do everything at home, and chargers that nobody has claimed."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.person: Person = make_person(server)
        deliver(server, *(f"TC-{number},1234,{PASSWORD}" for number in range(CHARGERS)))
        self.tls_url = ""
        self._numbers = itertools.count()

    async def settle(self) -> Station:
        """Bring a charger into a location with one card."""
        identity = f"TC-{next(self._numbers)}"
        location = await self.person("POST", "/locations", name=identity)
        await self.person("POST", f"/locations/{location['id']}/cards", name="Ann", id_token=CARD)
        charger = await self.person(
            "POST", f"/locations/{location['id']}/chargers", identity=identity, pin="1234"
        )
        return Station(self.server.ocpp_url, identity, self.person, location["id"], charger["id"])


class Station(Point):
    """A charge point together with what the central system's people see and do."""

    def __init__(self, url: str, identity: str, person: Person, location_id: str, charger_id: str) -> None:
        super().__init__(url, identity, PASSWORD)
        self.person = person
        self.location_id = location_id
        self.charger_id = charger_id

    async def api(self, method: str, path: str, *, status: int | None = None, **body: Any) -> Any:
        """Call the API; the path begins below the charger."""
        return await self.person(method, f"/chargers/{self.charger_id}{path}", status=status, **body)

    async def ask(self, action: str, **payload: Any) -> Payload:
        """Have the central system send this action; return the command."""
        asked = await self.api("POST", "/ocpp", action=action, payload=payload)
        # The platform asks for things of its own in between.
        assert payload in self.told(action)
        assert asked["command"]["action"] == action
        return asked["command"]

    async def expect(self, action: str, answer: Any, **payload: Any) -> Payload:
        """Have the central system send this action, answer so, and return the command."""
        self.answers[action] = answer
        return await self.ask(action, **payload)

    async def see(self) -> Payload:
        """Return the charger as the API shows it."""
        return await self.api("GET", "")

    async def shown_status(self, connector: int = 1) -> str:
        """Return the status of a connector as the API shows it."""
        charger = await self.see()
        if connector == 0:
            return charger["status"]
        return next(c["status"] for c in charger["connectors"] if c["connector_id"] == connector)

    async def transactions(self) -> list[Payload]:
        """Return its transactions, newest first."""
        return (await self.person("GET", f"/transactions?charger={self.charger_id}"))["items"]

    async def transaction(self) -> Payload:
        """Return its only transaction."""
        (only,) = await self.transactions()
        return only

    async def commands(self, action: str) -> list[Payload]:
        """Return what it was asked with this action, newest first."""
        found = (await self.api("GET", "/commands?limit=100"))["items"]
        return [each for each in found if each["action"] == action]

    async def upload_firmware(self, version: str, **fields: str) -> Payload:
        """Upload a file of firmware."""
        async with httpx2.AsyncClient(timeout=30) as http:
            answer = await http.post(
                f"{self.person.server.url}/api/v1/firmware",
                headers=self.person.headers,
                data={"version": version, **fields},
                files={"file": ("firmware.bin", f"firmware {version} of {self.identity}".encode())},
            )
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def until_stage(self, transfer_id: str, stage: str) -> Payload:
        """Wait until a transfer has come so far."""

        async def there() -> Payload | None:
            found = await self.person("GET", f"/transfers/{transfer_id}")
            return found if found["stage"] == stage else None

        return await until(there, f"{transfer_id} is {stage}")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Server(tmp_path_factory.mktemp("serve")) as server:
        yield Lab(server)


@pytest_asyncio.fixture
async def plain(lab: Lab) -> AsyncIterator[Station]:
    """Give a charger at home that is not connected; at the end nothing may have broken a schema."""
    station = await lab.settle()
    yield station
    await station.leave()
    assert station.wrong == []


@pytest_asyncio.fixture
async def cp(plain: Station) -> Station:
    """Give a charger at home that is connected, accepted and idle."""
    await plain.connect()
    assert (await plain.boot())["status"] == "Accepted"
    await plain.all_are("Available")
    return plain
