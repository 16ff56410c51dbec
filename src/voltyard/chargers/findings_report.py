"""Reports on findings: of one charger, or of all that one may see by model and firmware; also as tables."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from voltyard.chargers import findings_store as store
from voltyard.chargers import service
from voltyard.chargers.flaws import Flaw, Severity, flaw
from voltyard.kernel.db import Work
from voltyard.locations.access import Permission
from voltyard.locations.service import permissions

MODEL_ROWS_MAX = 2_000

COLUMNS = (
    "kind",
    "severity",
    "text",
    "advice",
    "quirk",
    "action",
    "count",
    "first_at",
    "last_at",
    "vendor",
    "model",
    "firmware",
    "sample",
)
MODEL_COLUMNS = (
    "vendor",
    "model",
    "firmware",
    "kind",
    "severity",
    "text",
    "advice",
    "quirk",
    "chargers",
    "count",
    "first_at",
    "last_at",
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of deviation of a charger; ``sample`` is empty for those who may not see sensitive data."""

    flaw: Flaw
    action: str
    count: int
    first_at: datetime
    last_at: datetime
    vendor: str
    model: str
    firmware: str
    sample: str


@dataclass(frozen=True, slots=True)
class ModelFinding:
    """One kind of deviation of all the actor's chargers of a model and firmware."""

    vendor: str
    model: str
    firmware: str
    flaw: Flaw
    chargers: int
    count: int
    first_at: datetime
    last_at: datetime


def list_findings(work: Work, charger_id: str) -> list[Finding]:
    """Return what was found of a charger where it is now, the newest first. Raises: NotFound.

    Samples are empty for those who may not see sensitive data.
    """
    charger = service.get(work, charger_id)
    sees_samples = Permission.VIEW_SENSITIVE in permissions(work, charger.location_id)
    return [
        Finding(
            flaw=flaw(row.kind),
            action=row.action,
            count=row.times,
            first_at=row.first_at,
            last_at=row.last_at,
            vendor=row.vendor,
            model=row.model,
            firmware=row.firmware,
            sample=row.sample if sees_samples else "",
        )
        for row in store.list_of_charger(work, charger_id)
    ]


def list_by_model(work: Work) -> list[ModelFinding]:
    """Return what was found of all the actor's chargers, added up by vendor, model and firmware."""
    return [
        ModelFinding(
            vendor=row.vendor,
            model=row.model,
            firmware=row.firmware,
            flaw=flaw(row.kind),
            chargers=int(row.chargers),
            count=int(row.times),
            first_at=row.first_at,
            last_at=row.last_at,
        )
        for row in store.list_by_model(work, MODEL_ROWS_MAX)
    ]


def most_severe(findings: Iterable[Finding]) -> Severity | None:
    """Return the worst severity among findings, None when there are none."""
    order = tuple(Severity)
    return max((each.flaw.severity for each in findings), key=order.index, default=None)


def as_csv(findings: Iterable[Finding]) -> str:
    """Write findings as a table for a vendor's support."""
    return _table(COLUMNS, (_cells(each) | {"sample": each.sample} for each in findings))


def as_model_csv(findings: Iterable[ModelFinding]) -> str:
    """Write findings by model as a table."""
    return _table(MODEL_COLUMNS, (_cells(each) | {"chargers": each.chargers} for each in findings))


def _cells(each: Finding | ModelFinding) -> dict[str, Any]:
    return {
        "vendor": each.vendor,
        "model": each.model,
        "firmware": each.firmware,
        "kind": each.flaw.kind,
        "severity": each.flaw.severity.value,
        "text": each.flaw.text,
        "advice": each.flaw.advice,
        "quirk": each.flaw.quirk,
        "action": each.action if isinstance(each, Finding) else "",
        "count": each.count,
        "first_at": each.first_at.isoformat(),
        "last_at": each.last_at.isoformat(),
    }


def _table(columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_harmless(row[name]) for name in columns])
    return text.getvalue()


def _harmless(cell: Any) -> Any:
    """Keep a spreadsheet from taking what a charger sent for a formula."""
    is_formula = isinstance(cell, str) and cell[:1] in {"=", "+", "-", "@", "\t", "\r"}
    return f"'{cell}" if is_formula else cell
