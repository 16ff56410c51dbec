"""Commands: what is asked of a charger, and what became of it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import Field, model_validator

from voltyard.api.cards import IdToken
from voltyard.api.shapes import Inward, Outward, Page, page, refusals
from voltyard.cards import service as cards
from voltyard.chargers import commands, outcomes
from voltyard.chargers.effects import Effect
from voltyard.kernel.errors import Invalid
from voltyard.kernel.limits import CALL_DEADLINE_S, COMMAND_TIMEOUT_MAX_S, COMPOSITE_DAYS_MAX
from voltyard.kernel.wire import decode, encode
from voltyard.speech import Ask, ByHand, CompositeLimits, LimitUnit, Restart, Unlock
from voltyard.transactions import service as transactions
from voltyard.web.auth import Ctx, SignedIn
from voltyard.web.idempotency import OnceRoute
from voltyard.web.paging import AskedPage

router = APIRouter(route_class=OnceRoute, tags=["commands"])

ConnectorId = Annotated[int, Field(ge=1, le=1_000, description="Counted from 1.")]


class LateAnswer(Outward):
    """What a charger answered after the time limit, as JSON; the command stays expired."""

    word: str
    is_accepted: bool
    answer: Any
    at: datetime


class Command(Outward):
    """A command: `request` is what was asked, `answer` what the charger answered, as JSON."""

    id: str
    charger_id: str
    action: str
    status: commands.CommandStatus
    word: Annotated[str, Field(description="The charger's own status word, or our reason.")]
    message: Annotated[str, Field(description="What became of it, in a sentence for people.")]
    connector_id: int | None
    ahead: Annotated[int, Field(description="Commands before it that it may wait for, while prepared.")]
    effect: Annotated[
        Effect,
        Field(
            description="Whether what it was meant to bring about (a charge, its end, a restart, a message) "
            "has been heard: `waiting`, `happened`, `missed`, empty where nothing is to be heard."
        ),
    ]
    effect_at: datetime | None
    is_unable: Annotated[
        bool, Field(description="The charger does not know this, said by a status, an error or silence.")
    ]
    request: Any
    answer: Any
    actor_kind: str
    actor_id: str
    door: str
    created_at: datetime
    sent_at: datetime | None
    finished_at: datetime | None
    latency_s: float | None
    late: LateAnswer | None

    @classmethod
    def of(cls, command: commands.Command) -> Command:
        """Return a command in its shape."""
        return cls(
            id=command.id,
            charger_id=command.charger_id,
            action=command.kind,
            status=command.status,
            word=command.word,
            message=outcomes.explain(command).message,
            connector_id=command.connector,
            ahead=command.ahead,
            effect=command.effect,
            effect_at=command.effect_at,
            is_unable=command.is_unable,
            request=as_json(command.request),
            answer=as_json(command.answer),
            actor_kind=command.actor_kind,
            actor_id=command.actor_id,
            door=command.door,
            created_at=command.created_at,
            sent_at=command.sent_at,
            finished_at=command.finished_at,
            latency_s=command.latency_s,
            late=None
            if command.late_at is None
            else LateAnswer(
                word=command.late_word,
                is_accepted=bool(command.is_late_accepted),
                answer=as_json(command.late_answer),
                at=command.late_at,
            ),
        )


def as_json(text: str | None) -> Any:
    """Return what a JSON text says; what a charger sent is shown even if it is none."""
    if text is None:
        return None
    try:
        return decode(text, object)
    except Invalid:
        return text


class Start(Inward):
    """Start to charge with a card: name what its reader reads, or the card."""

    id_token: IdToken | None = None
    card_id: str | None = None
    connector_id: ConnectorId | None = None

    @model_validator(mode="after")
    def _one_card(self) -> Start:
        if (self.id_token is None) == (self.card_id is None):
            raise ValueError("name either id_token or card_id")
        return self


class Stop(Inward):
    """Stop a transaction, the charger's only one unless one is named."""

    transaction_id: str | None = None


class Restarting(Inward):
    """Restart a charger; `hard` cuts the power of its controller at once."""

    type: Literal["soft", "hard"] = "soft"


class Unlocking(Inward):
    """Release the cable of a connector."""

    connector_id: ConnectorId


class OcppCall(Inward):
    """Any action of the charger's OCPP version, by hand."""

    action: Annotated[str, Field(pattern=r"^[A-Za-z]{1,50}$")]
    payload: dict[str, Any] = Field(default_factory=dict)
    timeout_s: Annotated[float, Field(gt=0, le=COMMAND_TIMEOUT_MAX_S)] = CALL_DEADLINE_S


class OcppOutcome(Outward):
    """What became of an action by hand; `answer` is the charger's own, `message` says it for people."""

    command: Command
    status: commands.CommandStatus
    message: str
    answer: Any


class CompositePeriod(Outward):
    """A limit from `start_s` after the beginning until the next period, in the unit that the charger uses."""

    start_s: int
    limit_a: float | None
    limit_w: float | None
    phases: int | None


class CompositeSchedule(Outward):
    """The limits that a connector holds to from `starts_at` on, all taken together."""

    connector: int
    starts_at: datetime | None
    duration_s: int | None
    periods: list[CompositePeriod]

    @classmethod
    def of(cls, connector: int, limits: CompositeLimits) -> CompositeSchedule:
        """Return what a charger told in its shape."""
        return cls(
            connector=connector,
            starts_at=limits.starts_at,
            duration_s=limits.duration_s,
            periods=[
                CompositePeriod(
                    start_s=period.start_s,
                    limit_a=period.limit_a,
                    limit_w=period.limit_w,
                    phases=period.phases,
                )
                for period in limits.periods
            ],
        )


async def _ask(ctx: Ctx, caller: SignedIn, charger_id: str, ask: Ask) -> Command:
    return Command.of(await commands.ask(ctx, caller.actor, charger_id, ask))


@router.post("/chargers/{charger_id}/actions/start", responses=refusals(403, 404))
async def start_charging(ctx: Ctx, caller: SignedIn, charger_id: str, start: Start) -> Command:
    """Ask a charger to start; the transaction exists once the charger says so."""
    tag = start.id_token
    if start.card_id is not None:
        tag = (await ctx.db.read(caller.actor, cards.get, start.card_id)).id_tag
    command = await transactions.request_start(
        ctx, caller.actor, charger_id, id_tag=tag or "", connector=start.connector_id
    )
    return Command.of(command)


@router.post("/chargers/{charger_id}/actions/stop", responses=refusals(403, 404, 409))
async def stop_charging(ctx: Ctx, caller: SignedIn, charger_id: str, stop: Stop | None = None) -> Command:
    """Ask a charger to stop; the transaction ends once the charger says so."""
    transaction_id = stop.transaction_id if stop is not None else None
    command = await transactions.request_stop(ctx, caller.actor, charger_id, transaction_id=transaction_id)
    return Command.of(command)


@router.post("/chargers/{charger_id}/actions/restart", responses=refusals(403, 404))
async def restart_charger(
    ctx: Ctx, caller: SignedIn, charger_id: str, restart: Restarting | None = None
) -> Command:
    """Ask a charger to restart."""
    is_hard = restart is not None and restart.type == "hard"
    return await _ask(ctx, caller, charger_id, Restart(is_hard))


@router.post("/chargers/{charger_id}/actions/unlock", responses=refusals(403, 404))
async def unlock_connector(ctx: Ctx, caller: SignedIn, charger_id: str, unlock: Unlocking) -> Command:
    """Ask a charger to release the cable of a connector."""
    return await _ask(ctx, caller, charger_id, Unlock(unlock.connector_id))


@router.post("/chargers/{charger_id}/ocpp", responses=refusals(403, 404))
async def call_by_hand(ctx: Ctx, caller: SignedIn, charger_id: str, call: OcppCall) -> OcppOutcome:
    """Send any OCPP action, wait, and return what the charger answered."""
    asked = ByHand(call.action, encode(call.payload).decode())
    command = Command.of(await commands.ask(ctx, caller.actor, charger_id, asked, timeout_s=call.timeout_s))
    return OcppOutcome(command=command, status=command.status, message=command.message, answer=command.answer)


@router.get("/chargers/{charger_id}/composite-schedule", responses=refusals(403, 404, 409, 504))
async def read_composite_schedule(
    ctx: Ctx,
    caller: SignedIn,
    charger_id: str,
    connector: Annotated[int, Query(ge=0, le=1_000, description="0 for the whole charger.")] = 0,
    duration_s: Annotated[int, Query(gt=0, le=COMPOSITE_DAYS_MAX * commands.DAY_S)] = commands.DAY_S,
    unit: LimitUnit | None = None,
) -> CompositeSchedule:
    """Ask a charger which limits it holds to from now on, and wait for its answer."""
    limits = await commands.composite(ctx, caller.actor, charger_id, connector, duration_s, unit)
    return CompositeSchedule.of(connector, limits)


@router.get("/chargers/{charger_id}/commands", responses=refusals(404))
async def list_commands(
    ctx: Ctx,
    caller: SignedIn,
    charger_id: str,
    asked: AskedPage,
    is_by_people: Annotated[
        bool | None,
        Query(description="Only those of people, their programs and operators, or only Voltyard's own."),
    ] = None,
) -> Page[Command]:
    """List the commands of a charger, newest first."""
    found = await ctx.db.read(
        caller.actor,
        commands.list_commands,
        charger_id,
        is_by_people=is_by_people,
        after=asked.after_id("cmd"),
        limit=asked.most,
    )
    return page(asked.slice(found, lambda command: command.id), Command.of)


@router.get("/commands/{command_id}", responses=refusals(404))
async def read_command(ctx: Ctx, caller: SignedIn, command_id: str) -> Command:
    """Return a command."""
    return Command.of(await ctx.db.read(caller.actor, commands.get, command_id))
