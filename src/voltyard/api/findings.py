"""Findings: what chargers do otherwise than OCPP says, of one charger or by model."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from starlette.responses import Response

from voltyard.api.shapes import Outward, Page, refusals, whole
from voltyard.chargers import findings_report as report
from voltyard.chargers.flaws import Severity
from voltyard.web.auth import Ctx, SignedIn
from voltyard.web.idempotency import OnceRoute

router = APIRouter(route_class=OnceRoute, tags=["findings"])

Form = Annotated[
    Literal["json", "csv"], Query(alias="format", description="csv gives a table for a spreadsheet.")
]


class Finding(Outward):
    """A kind of deviation of one charger; `sample` is the newest message in which it was seen, masked."""

    kind: str
    severity: Severity
    text: str
    advice: str
    quirk: str
    action: str
    count: int
    first_at: datetime
    last_at: datetime
    vendor: str
    model: str
    firmware: str
    sample: str


class ModelFinding(Outward):
    """A kind of deviation of all the chargers of a model and firmware that one may see."""

    vendor: str
    model: str
    firmware: str
    kind: str
    severity: Severity
    text: str
    advice: str
    quirk: str
    chargers: int
    count: int
    first_at: datetime
    last_at: datetime


def _meaning(each: report.Finding | report.ModelFinding) -> dict[str, Any]:
    return {
        "kind": each.flaw.kind,
        "severity": each.flaw.severity,
        "text": each.flaw.text,
        "advice": each.flaw.advice,
        "quirk": each.flaw.quirk,
        "count": each.count,
        "first_at": each.first_at,
        "last_at": each.last_at,
        "vendor": each.vendor,
        "model": each.model,
        "firmware": each.firmware,
    }


def _answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe the answers of a list that may also be had as a table."""
    table = {"content": {"text/csv": {"schema": {"type": "string"}}}, "description": "The findings."}
    return {200: table, **refusals(*statuses)}


def _shown(each: report.Finding) -> Finding:
    return Finding(**_meaning(each), action=each.action, sample=each.sample)


def _shown_by_model(each: report.ModelFinding) -> ModelFinding:
    return ModelFinding(**_meaning(each), chargers=each.chargers)


def _table(text: str, name: str) -> Response:
    return Response(
        text,
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


@router.get("/chargers/{charger_id}/findings", response_model=Page[Finding], responses=_answers(404))
async def list_findings(ctx: Ctx, caller: SignedIn, charger_id: str, form: Form = "json") -> Any:
    """List what a charger does otherwise than OCPP says, and how often, the newest first."""
    found = await ctx.db.read(caller.actor, report.list_findings, charger_id)
    if form == "csv":
        return _table(report.as_csv(found), f"findings-{charger_id}.csv")
    return whole(found, _shown)


@router.get("/findings", response_model=Page[ModelFinding], responses=_answers())
async def list_findings_by_model(ctx: Ctx, caller: SignedIn, form: Form = "json") -> Any:
    """List what all the chargers that one may see do otherwise than OCPP says, by model and firmware."""
    found = await ctx.db.read(caller.actor, report.list_by_model)
    if form == "csv":
        return _table(report.as_model_csv(found), "findings.csv")
    return whole(found, _shown_by_model)
