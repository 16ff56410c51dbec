"""Parameters of a charger, and how it was set up."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import Field, StrictBool, StrictInt, StrictStr

from voltyard.api.shapes import Inward, Outward, refusals
from voltyard.chargers import keys, parameters, setup
from voltyard.chargers.parameters import Result
from voltyard.chargers.setup import NetType
from voltyard.web.auth import Ctx, SignedIn
from voltyard.web.idempotency import OnceRoute

router = APIRouter(route_class=OnceRoute, tags=["parameters"])

KeyName = Annotated[str, Field(min_length=1, max_length=keys.KEY_LENGTH_MAX)]


class Parameter(Outward):
    """A configuration key: what the charger told last, what is wanted, and what became of that.

    `range` says in words which values the specification allows. `managed_by` names the part of Voltyard
    that sets the key itself. `is_drifted`: the charger once took what was wanted and has something else now.
    """

    key: str
    reported: str | None
    reported_at: datetime | None
    desired: str | None
    desired_at: datetime | None
    actor_kind: str
    actor_id: str
    door: str
    result: Result | None
    is_pending: bool
    is_drifted: bool
    is_readonly: bool
    is_unknown: bool
    is_risky: Annotated[bool, Field(description="A wrong value can take the charger off the line.")]
    is_secret: bool
    managed_by: keys.Elsewhere | None
    is_standard: Annotated[bool, Field(description="Named by OCPP, not by a manufacturer.")]
    profile: str | None
    type: keys.Form
    unit: str
    range: str
    about: str


class Parameters(Outward):
    """All parameters of a charger; `is_by_key`: it cannot list them and is asked key by key."""

    items: list[Parameter]
    next: None = None
    read_at: datetime | None
    is_by_key: bool
    reboot_required_at: datetime | None


class ParametersChange(Inward):
    """Which keys to change. `force` sends a value outside of what OCPP knows of the key."""

    changes: Annotated[
        dict[str, StrictStr | StrictBool | StrictInt],
        Field(min_length=1, max_length=parameters.CHANGES_MAX),
    ]
    force: bool = False


class Measurands(Inward):
    """What a charger should measure, the most important first; it is cut to what the charger can."""

    key: KeyName
    measurands: Annotated[list[Annotated[str, Field(max_length=60)]], Field(max_length=60)]


class ParameterSaved(Outward):
    """What became of one key; `value` is what was sent in the end, `word` the charger's own."""

    key: str
    value: str
    result: Result
    word: str


class ParametersSaved(Outward):
    """What became of a save, key by key."""

    results: list[ParameterSaved]
    is_reboot_required: bool


class Reading(Inward):
    """How to read; `list` asks a charger for all its keys at once that could not list them before."""

    list: bool = False


class ParametersRead(Outward):
    """How many parameters were told; what is not complete is read on in the background."""

    count: int
    is_complete: bool


class SetupChange(Inward):
    """How a charger hangs on its grid.

    `phase_rotation` names for each phase of the charger the phase of the building: one of RST, RTS, SRT,
    STR, TRS and TSR for three phases, R, S or T for one. `breaker_a` is the rating of its circuit breaker.
    """

    phases: Literal[1, 3]
    max_current_a: Annotated[
        float, Field(ge=setup.CURRENT_A_MIN, le=setup.CURRENT_A_MAX, allow_inf_nan=False)
    ]
    net_type: NetType = NetType.UNKNOWN
    phase_rotation: Annotated[str, Field(pattern="^[RST]{1,3}$")]
    breaker_a: (
        Annotated[float, Field(ge=setup.CURRENT_A_MIN, le=setup.CURRENT_A_MAX, allow_inf_nan=False)] | None
    ) = None


class Setup(Outward):
    """How a charger was set up; `told` is what it made of its part. All is null before the first time."""

    setup_pending: bool
    setup_completed: bool
    message: str
    phases: int | None
    max_current_a: float | None
    advised_current_a: float | None
    net_type: NetType | None
    phase_rotation: str | None
    breaker_a: float | None
    told: Result | None
    is_reboot_required: bool
    set_at: datetime | None
    actor_kind: str
    actor_id: str
    door: str


def _parameter(each: parameters.Parameter) -> Parameter:
    standard = each.standard
    return Parameter(
        key=each.name,
        reported=each.reported,
        reported_at=each.reported_at,
        desired=each.desired,
        desired_at=each.desired_at,
        actor_kind=each.actor_kind,
        actor_id=each.actor_id,
        door=each.door,
        result=each.result,
        is_pending=each.is_pending,
        is_drifted=each.is_drifted,
        is_readonly=each.is_readonly,
        is_unknown=each.is_unknown,
        is_risky=each.is_risky,
        is_secret=each.is_secret,
        managed_by=each.elsewhere,
        is_standard=standard is not None,
        profile=standard.profile if standard is not None else None,
        type=each.form,
        unit=standard.unit if standard is not None else "",
        range=each.range,
        about=standard.about if standard is not None else "",
    )


def _saved(each: parameters.Saved) -> ParameterSaved:
    return ParameterSaved(key=each.name, value=each.value, result=each.result, word=each.word)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _setup(made: setup.Setup | None) -> Setup:
    if made is None:
        return Setup(
            setup_pending=False,
            setup_completed=False,
            message="This charger was not set up yet.",
            phases=None,
            max_current_a=None,
            advised_current_a=None,
            net_type=None,
            phase_rotation=None,
            breaker_a=None,
            told=None,
            is_reboot_required=False,
            set_at=None,
            actor_kind="",
            actor_id="",
            door="",
        )
    is_pending = made.state is setup.State.PENDING
    answers = made.answers
    return Setup(
        setup_pending=is_pending,
        setup_completed=not is_pending,
        message=_message(made, is_pending=is_pending),
        phases=answers.phases,
        max_current_a=answers.max_current_a,
        advised_current_a=answers.advised_current_a,
        net_type=answers.net_type,
        phase_rotation=answers.phase_rotation,
        breaker_a=answers.breaker_a,
        told=made.told,
        is_reboot_required=made.is_reboot_required,
        set_at=made.set_at,
        actor_kind=made.actor_kind,
        actor_id=made.actor_id,
        door=made.door,
    )


def _message(made: setup.Setup, *, is_pending: bool) -> str:
    if not is_pending:
        return "The charger is set up."
    if made.is_reboot_required:
        return "The charger has to restart before its set-up is complete."
    return "The charger is told when it is there again."


@router.get("/chargers/{charger_id}/parameters", responses=refusals(403, 404))
async def list_parameters(ctx: Ctx, caller: SignedIn, charger_id: str) -> Parameters:
    """List the parameters of a charger as they were last told, with what is wanted of them."""
    found = await ctx.db.read(caller.actor, parameters.get, charger_id)
    return Parameters(
        items=[_parameter(each) for each in found.items],
        read_at=found.read_at,
        is_by_key=found.is_by_key,
        reboot_required_at=found.reboot_required_at,
    )


@router.patch("/chargers/{charger_id}/parameters", responses=refusals(403, 404))
async def change_parameters(
    ctx: Ctx, caller: SignedIn, charger_id: str, change: ParametersChange
) -> ParametersSaved:
    """Send a charger the values that change, read them back, and tell what became of each.

    What cannot be sent now waits for the charger's next boot. Wrong values can take a charger off the line.
    """
    wanted = {name: _text(value) for name, value in change.changes.items()}
    saving = await parameters.save(ctx, caller.actor, charger_id, wanted, is_forced=change.force)
    return ParametersSaved(
        results=[_saved(each) for each in saving.results], is_reboot_required=saving.is_reboot_required
    )


@router.post("/chargers/{charger_id}/parameters/read", responses=refusals(403, 404, 409))
async def read_parameters(
    ctx: Ctx, caller: SignedIn, charger_id: str, reading: Reading | None = None
) -> ParametersRead:
    """Ask a charger for its parameters now."""
    is_anew = reading is not None and reading.list
    read = await parameters.read(ctx, caller.actor, charger_id, is_listing_anew=is_anew)
    return ParametersRead(count=read.count, is_complete=read.is_complete)


@router.post("/chargers/{charger_id}/parameters/measurands", responses=refusals(403, 404))
async def set_measurands(ctx: Ctx, caller: SignedIn, charger_id: str, wanted: Measurands) -> ParameterSaved:
    """Have a charger measure this, or as much of it as it can."""
    return _saved(
        await parameters.set_measurands(ctx, caller.actor, charger_id, wanted.key, wanted.measurands)
    )


@router.get("/chargers/{charger_id}/setup", responses=refusals(403, 404))
async def read_setup(ctx: Ctx, caller: SignedIn, charger_id: str) -> Setup:
    """Tell how a charger was set up."""
    return _setup(await ctx.db.read(caller.actor, setup.get, charger_id))


@router.post("/chargers/{charger_id}/setup", responses=refusals(403, 404, 429))
async def set_up_charger(ctx: Ctx, caller: SignedIn, charger_id: str, change: SetupChange) -> Setup:
    """Set a charger up: once a minute. It restarts if it needs to, unless somebody is charging."""
    answers = setup.Answers(
        change.phases, change.max_current_a, change.net_type, change.phase_rotation, change.breaker_a
    )
    return _setup(await setup.set_up(ctx, caller.actor, charger_id, answers))
