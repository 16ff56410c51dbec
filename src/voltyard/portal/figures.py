"""Figures of the dashboard and of a location, put together from what the rooms tell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from voltyard.cards import service as cards
from voltyard.chargers import service as chargers
from voltyard.chargers.service import Charger
from voltyard.kernel.db import Work
from voltyard.kernel.errors import NotFound
from voltyard.locations import service as locations
from voltyard.locations.service import Location
from voltyard.portal.formats import midnight, month_start
from voltyard.transactions import service as transactions
from voltyard.transactions.service import Transaction

T = TypeVar("T")
STEP = 500
ROWS_MAX = 20_000


@dataclass(frozen=True, slots=True)
class Figures:
    """How things stand, for all locations of the one who looks or for one of them."""

    online: int
    total: int
    faulted: int
    power_w: float
    running: Sequence[Transaction]
    today_wh: int
    today: int
    month: int
    month_wh: int


def every(page: Callable[[Any], Sequence[T]], key: Callable[[T], Any]) -> Iterator[T]:
    """Walk through all pages of a list."""
    after = None
    for _step in range(ROWS_MAX // STEP):
        rows = page(after)
        yield from rows
        if len(rows) < STEP:
            return
        after = key(rows[-1])


def all_chargers(work: Work, location_id: str | None = None) -> list[Charger]:
    """Return all chargers of the one who looks."""
    return list(
        every(
            lambda after: chargers.list_chargers(work, location_id=location_id, after=after, limit=STEP),
            lambda charger: charger.id,
        )
    )


def all_locations(work: Work) -> list[Location]:
    """Return all locations of the one who looks, by name."""
    rows = every(
        lambda after: locations.list_locations(work, after=after, limit=STEP), lambda location: location.id
    )
    return sorted(rows, key=lambda location: location.name.casefold())


def zones_of(places: Iterable[Location]) -> Mapping[str, tzinfo]:
    """Return the time zone of each location, by its id."""
    return {location.id: ZoneInfo(location.timezone) for location in places}


def started_since(work: Work, since: datetime, location_id: str | None) -> list[Transaction]:
    """Return the transactions that started since an instant."""
    return list(
        every(
            lambda after: transactions.list_transactions(
                work, location_id=location_id, started_from=since, after=after, limit=STEP
            ),
            lambda transaction: transaction.number,
        )
    )


def figures(work: Work, zone: tzinfo, location_id: str | None = None) -> Figures:
    """Return how things stand now; days and months are those of a time zone."""
    devices = all_chargers(work, location_id)
    month = started_since(work, month_start(work.now, zone), location_id)
    day_began = midnight(work.now, zone)
    today = [each for each in month if each.started_at >= day_began]
    running = transactions.list_transactions(work, location_id=location_id, is_active=True, limit=STEP)
    return Figures(
        online=sum(charger.is_online for charger in devices),
        total=len(devices),
        faulted=sum(
            charger.is_online and any(each.status == "Faulted" for each in charger.connectors)
            for charger in devices
        ),
        power_w=sum(each.power_w or 0.0 for each in running),
        running=running,
        today_wh=sum(each.energy_wh for each in today),
        today=len(today),
        month=len(month),
        month_wh=sum(each.energy_wh for each in month),
    )


def card_names(work: Work, rows: Sequence[Transaction]) -> Mapping[str, str]:
    """Return the names of the cards of these transactions; a removed card has none."""
    names: dict[str, str] = {}
    for card_id in {each.card_id for each in rows if each.card_id is not None}:
        try:
            names[card_id] = cards.get(work, card_id).name
        except NotFound:
            continue
    return names
