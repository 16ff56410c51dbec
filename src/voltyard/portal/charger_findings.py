"""What chargers do otherwise than OCPP says: the tab of one charger, and the page of all by model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from voltyard.chargers import findings_report as report
from voltyard.chargers.findings_report import Finding, ModelFinding
from voltyard.chargers.flaws import Flaw, Severity
from voltyard.kernel.db import Work
from voltyard.portal.chargers import frame
from voltyard.portal.shell import Here
from voltyard.web.doorway import GuardedRoute

router = APIRouter(route_class=GuardedRoute)
ORDER = tuple(reversed(Severity))


@dataclass(frozen=True, slots=True)
class Shown:
    """One kind of deviation as its row shows it, whatever messages and firmware it was found in."""

    flaw: Flaw
    count: int
    first_at: datetime
    last_at: datetime
    actions: tuple[tuple[str, int], ...]
    firmwares: tuple[str, ...]
    sample: str


@dataclass(frozen=True, slots=True)
class Make:
    """A model with a firmware, and what its chargers do oddly."""

    name: str
    firmware: str
    chargers: int
    found: tuple[ModelFinding, ...]


def by_kind(found: Sequence[Finding]) -> list[Shown]:
    """Return findings with one row a kind, the worst first, then the most recent."""
    kinds: dict[str, list[Finding]] = {}
    for each in found:
        kinds.setdefault(each.flaw.kind, []).append(each)
    shown = [_together(same) for same in kinds.values()]
    shown.sort(key=lambda each: each.last_at, reverse=True)
    return sorted(shown, key=lambda each: ORDER.index(each.flaw.severity))


def _together(same: Sequence[Finding]) -> Shown:
    actions: dict[str, int] = {}
    for each in same:
        actions[each.action] = actions.get(each.action, 0) + each.count
    return Shown(
        flaw=same[0].flaw,
        count=sum(each.count for each in same),
        first_at=min(each.first_at for each in same),
        last_at=max(each.last_at for each in same),
        actions=tuple(
            sorted(((name, count) for name, count in actions.items() if name), key=lambda n: -n[1])
        ),
        firmwares=tuple(sorted({each.firmware for each in same if each.firmware})),
        sample=next((each.sample for each in same if each.sample), ""),
    )


def by_make(found: Sequence[ModelFinding]) -> list[Make]:
    """Return findings by model and firmware, the worst of each first."""
    makes: dict[tuple[str, str, str], list[ModelFinding]] = {}
    for each in found:
        makes.setdefault((each.vendor, each.model, each.firmware), []).append(each)
    return [
        Make(
            name=" ".join(part for part in (vendor, model) if part),
            firmware=firmware,
            chargers=max(each.chargers for each in same),
            found=tuple(sorted(same, key=lambda each: (ORDER.index(each.flaw.severity), -each.count))),
        )
        for (vendor, model, firmware), same in makes.items()
    ]


def findings_view(work: Work, charger_id: str) -> dict[str, Any]:
    """Return what was found of a charger."""
    return frame(work, charger_id) | {"rows": by_kind(report.list_findings(work, charger_id))}


@router.get("/chargers/{charger_id}/findings")
async def show(here: Here, charger_id: str) -> Response:
    """Show what a charger does otherwise than OCPP says, and what is done about it."""
    values = await here.read(findings_view, charger_id)
    return here.page("charger_findings.html", tab="findings", **values)


@router.get("/findings")
async def show_by_model(here: Here) -> Response:
    """Show what all chargers do oddly, by model and firmware."""
    return here.page("findings.html", makes=by_make(await here.read(report.list_by_model)))
