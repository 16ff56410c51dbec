"""How a charger hangs on its grid, as whoever installed it knows: phases, fuse, kind of grid, rotation.

Voltyard keeps the answers, because the division of current needs them. The rotation of the phases is told to
the charger as well; one that wants to restart for it is restarted, unless somebody is charging. Here also
stands what Voltyard recommends to a charger that comes without any sampling of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from voltyard.chargers import commands, parameters, service
from voltyard.chargers import parameters_store as store
from voltyard.chargers.commands import CommandStatus
from voltyard.chargers.keys import ROTATIONS, fold
from voltyard.chargers.parameters import Parameters, Result, Saved, Saving
from voltyard.kernel.actor import Actor
from voltyard.kernel.context import Context
from voltyard.kernel.db import Work
from voltyard.kernel.errors import Forbidden, Invalid, NotFound, TooMany
from voltyard.locations.access import Permission
from voltyard.speech import ConnectorStatus, Restart

ROTATION_KEY: Final = "ConnectorPhaseRotation"
CURRENT_A_MIN = 6.0
"""Below this no car charges (IEC 61851-1)."""
CURRENT_A_MAX = 1_000.0
BREAKER_SHARE: Final = 0.8
"""The part of a circuit breaker's rating that a charger should draw for hours."""
PAUSE_S = 60.0
"""How long a charger is left alone between two set-ups."""
CONNECTORS_MAX = 32
ONE_PHASE_ROTATIONS: Final = ("R", "S", "T")
_IN_USE: Final = frozenset(
    (ConnectorStatus.CHARGING, ConnectorStatus.SUSPENDED_EV, ConnectorStatus.SUSPENDED_EVSE)
)


class NetType(StrEnum):
    """How the grid is earthed, IEC 60364-1."""

    TN = "TN"
    TT = "TT"
    IT = "IT"
    UNKNOWN = "unknown"


class State(StrEnum):
    """How far a set-up is."""

    PENDING = "pending"
    COMPLETED = "completed"


@dataclass(frozen=True, slots=True)
class Answers:
    """What whoever installed a charger answered; ``breaker_a`` is None where it was not told.

    ``phase_rotation`` names for each phase of the charger the phase of the building, such as ``RST``.
    """

    phases: int
    max_current_a: float
    net_type: NetType
    phase_rotation: str
    breaker_a: float | None = None

    @property
    def advised_current_a(self) -> float | None:
        """The current that the circuit breaker bears for hours, in amperes; None where it is not known."""
        return None if self.breaker_a is None else advised_current_a(self.breaker_a)


@dataclass(frozen=True, slots=True)
class Setup:
    """The set-up of a charger; ``told`` is what the charger made of its part of it, None if it has none."""

    answers: Answers
    state: State
    told: Result | None
    is_reboot_required: bool
    set_at: datetime
    actor_kind: str
    actor_id: str
    door: str


def advised_current_a(breaker_a: float) -> float:
    """Return how much a charger behind a circuit breaker should draw at most, in whole amperes."""
    return float(int(breaker_a * BREAKER_SHARE + 1e-6))


def check(answers: Answers) -> None:
    """See whether the answers can be. Raises: Invalid."""
    wrong: list[tuple[str, str]] = []
    if answers.phases not in {1, 3}:
        wrong.append(("/phases", "1 or 3"))
    if not CURRENT_A_MIN <= answers.max_current_a <= CURRENT_A_MAX:
        wrong.append(("/max_current_a", f"{CURRENT_A_MIN:g} to {CURRENT_A_MAX:g} A"))
    if answers.breaker_a is not None:
        if not CURRENT_A_MIN <= answers.breaker_a <= CURRENT_A_MAX:
            wrong.append(("/breaker_a", f"{CURRENT_A_MIN:g} to {CURRENT_A_MAX:g} A"))
        elif answers.max_current_a > answers.breaker_a:
            wrong.append(("/max_current_a", "no more than the circuit breaker bears"))
    known = ROTATIONS if answers.phases == 3 else ONE_PHASE_ROTATIONS
    if answers.phases in {1, 3} and answers.phase_rotation not in known:
        wrong.append(("/phase_rotation", f"one of {', '.join(known)}"))
    if wrong:
        raise Invalid("the answers do not fit together", tuple(wrong))


def rotation_of(answers: Answers, connectors: int, longest: int | None = None) -> str:
    """Return the rotation in OCPP's form, for the charger itself and each connector (OCPP 1.6 §9.1.7).

    A charger on one phase has none: ``NotApplicable``. Number 0 is left out where the list is too long.
    """
    word = answers.phase_rotation if answers.phases == 3 else "NotApplicable"
    numbers = list(range(min(max(connectors, 1), CONNECTORS_MAX) + 1))
    if longest is not None and 0 < longest < len(numbers):
        numbers = numbers[1 : longest + 1]
    return ",".join(f"{number}.{word}" for number in numbers)


def get(work: Work, charger_id: str) -> Setup | None:
    """Return how a charger was set up, None if it never was. Raises: NotFound; Forbidden."""
    service.get(work, charger_id, Permission.VIEW_SENSITIVE)
    return find(work, charger_id)


def find(work: Work, charger_id: str) -> Setup | None:
    """Return how a charger was set up, whoever asks; the division of current does."""
    row = store.find_setup(work, charger_id)
    if row is None:
        return None
    known = parameters.find(work, charger_id)
    told = known.find(ROTATION_KEY)
    result = told.result if told is not None else None
    is_waiting = result in {Result.PENDING, Result.REBOOT_REQUIRED} or (told is not None and told.is_pending)
    return Setup(
        Answers(row.phases, row.max_current_a, NetType(row.net_type), row.phase_rotation, row.breaker_a),
        State.PENDING if is_waiting else State.COMPLETED,
        result,
        known.reboot_required_at is not None,
        row.set_at,
        row.actor_kind,
        row.actor_id,
        row.door,
    )


async def set_up(ctx: Context, actor: Actor, charger_id: str, answers: Answers) -> Setup:
    """Keep the answers, tell the charger the rotation of its phases, and restart it if it wants that.

    One at a time: the next may come after a minute. Nobody's charge is cut off: then the charger waits to be
    restarted. Raises: NotFound; Forbidden; Invalid; TooMany.
    """
    check(answers)
    wanted = await ctx.db.work(actor, _keep, charger_id, answers)
    saved = await _tell(ctx, actor, charger_id, wanted) if wanted else None
    if saved is not None:
        await _restart_for(ctx, actor, charger_id, [saved])
    made = await ctx.db.read(actor, get, charger_id)
    assert made is not None, "a set-up that was just kept is gone"
    return made


def _keep(work: Work, charger_id: str, answers: Answers) -> tuple[str, ...]:
    """Keep the answers; return what to tell the charger, the best form first."""
    charger = service.get(work, charger_id, Permission.EDIT_CHARGERS)
    before = store.find_setup(work, charger_id)
    if before is not None:
        left_s = (before.set_at + timedelta(seconds=PAUSE_S) - work.now).total_seconds()
        if left_s > 0:
            raise TooMany(
                "this charger was set up a moment ago: give it a minute to restart",
                retry_after_s=math.ceil(left_s),
            )
    store.upsert_setup(
        work,
        charger_id,
        phases=answers.phases,
        max_current_a=answers.max_current_a,
        breaker_a=answers.breaker_a,
        net_type=answers.net_type.value,
        phase_rotation=answers.phase_rotation,
        actor_kind=work.actor.kind.value,
        actor_id=work.actor.subject_id,
        door=work.actor.door,
        set_at=work.now,
    )
    known = parameters.find(work, charger_id)
    told = known.find(ROTATION_KEY)
    if told is not None and (told.is_readonly or told.is_unknown):
        return ()
    count = _count(known.value("NumberOfConnectors"))
    if count is None:
        count = max((each.number for each in charger.connectors), default=1)
    longest = _count(known.value(f"{ROTATION_KEY}MaxLength"))
    whole = rotation_of(answers, count, longest)
    # The entry for number 0 is optional, and some refuse it.
    return tuple(dict.fromkeys((whole, whole.partition(",")[2] if whole.startswith("0.") else whole)))


def _count(told: str | None) -> int | None:
    plain = (told or "").strip()
    return int(plain) if plain.isascii() and plain.isdigit() and 0 < len(plain) < 6 else None


async def _tell(ctx: Context, actor: Actor, charger_id: str, wanted: Sequence[str]) -> Saved:
    """Tell a charger its rotation, in another form if it refuses the first."""
    saved: Saved | None = None
    for value in wanted:
        saving = await parameters.save_own(ctx, actor, charger_id, {ROTATION_KEY: value})
        saved = saving.results[0]
        if saved.result not in {Result.REJECTED, Result.NOT_APPLIED}:
            break
    assert saved is not None, "there is always a form"
    return saved


async def restart_for(ctx: Context, charger_id: str, saving: Saving) -> bool:
    """Restart a charger if it wants that for the rotation it was sent; say whether it does so."""
    return await _restart_for(ctx, parameters.ACTOR, charger_id, saving.results)


async def _restart_for(ctx: Context, actor: Actor, charger_id: str, results: Sequence[Saved]) -> bool:
    is_wanted = any(
        fold(each.name) == fold(ROTATION_KEY) and each.result is Result.REBOOT_REQUIRED for each in results
    )
    if not is_wanted or await ctx.db.read(actor, _is_in_use, charger_id):
        return False
    command = await commands.ask(ctx, actor, charger_id, Restart())
    return command.status is CommandStatus.EXECUTED


def _is_in_use(work: Work, charger_id: str) -> bool:
    return any(each.status in _IN_USE for each in service.get(work, charger_id).connectors)


# --- what Voltyard recommends ---------------------------------------------------------------------

RECOMMENDED: Final[Mapping[str, str]] = MappingProxyType(
    {
        # Enough to see what a car takes and to divide current by, and a third of the data of the 10 s that
        # control from outside asks for; whoever needs those sets them.
        "MeterValueSampleInterval": "30",
        # Prices change every quarter of an hour, so a reading at each makes exact bills.
        "ClockAlignedDataInterval": "900",
        "MeterValuesSampledData": (
            "Energy.Active.Import.Register,Current.Import,Current.Offered,Voltage,Power.Active.Import"
        ),
        "MeterValuesAlignedData": "Energy.Active.Import.Register",
    }
)
"""What a charger is given that comes without any sampling: nothing that somebody chose is ever replaced."""


def recommend(known: Parameters) -> dict[str, str]:
    """Return what to set at a charger: keys that it has, may be changed, and that are 0 or empty."""
    chosen = {}
    for name, value in RECOMMENDED.items():
        told = known.find(name)
        if (
            told is not None
            and told.reported_at is not None
            and not told.is_unknown
            and not told.is_readonly
            and told.desired is None
            and (told.reported or "").strip() in {"", "0"}
        ):
            chosen[name] = value
    return chosen


async def apply_recommended(ctx: Context, charger_id: str) -> dict[str, str]:
    """Set at a charger, once since it was claimed, what is recommended; return that. For the system."""
    chosen = await ctx.db.work(parameters.ACTOR, _choose, charger_id)
    if chosen:
        try:
            await parameters.save(ctx, parameters.ACTOR, charger_id, chosen)
        except (NotFound, Forbidden, Invalid):
            return {}
    return chosen


def _choose(work: Work, charger_id: str) -> dict[str, str]:
    state: Any = store.find_charger(work, charger_id)
    if state is None or state.claimed_at is None:
        return {}
    if state.recommended_at is not None and state.recommended_at >= state.claimed_at:
        return {}
    store.upsert_read(work, charger_id, recommended_at=work.now)
    return recommend(parameters.find(work, charger_id))
