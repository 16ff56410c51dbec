"""The parameters of a charger: what it tells of its configuration keys, and what somebody wants of them.

Reading asks for all keys at once, or key by key where a charger cannot list them (quirk Q49). Saving sends
only what changes, keeps what became of each key, and reads it back, because some chargers accept a value
and ignore it (quirk Q50). What cannot be sent now waits for the charger's next boot. A secret is sent and
never kept. What was told or wanted before the charger came to its present location is not shown there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from voltyard import quirks
from voltyard.chargers import commands, findings, keys, service
from voltyard.chargers import parameters_store as store
from voltyard.chargers.commands import Command, CommandStatus
from voltyard.chargers.events import ParametersChanged, subject
from voltyard.chargers.keys import Access, Cutting, Elsewhere, Form, fold
from voltyard.chargers.masks import MASK, is_secret
from voltyard.kernel import jobs
from voltyard.kernel.actor import Actor, system
from voltyard.kernel.context import Context
from voltyard.kernel.db import Work
from voltyard.kernel.errors import ChargerOffline, Conflict, Invalid
from voltyard.kernel.limits import CALL_DEADLINE_S, HTTP_TIMEOUT_S
from voltyard.kernel.wire import Message, decode
from voltyard.locations.access import Permission
from voltyard.speech import FlawTold, GetKeys, Priority, SetKey

ACTOR: Final = system("parameters")
BUDGET_S = 30.0
"""After this time a person's saving or reading begins nothing new; what is left is done without them."""
JOB_BUDGET_S = 60.0
"""The same for a job, which may send, read and recommend within one claim."""
PATIENCE_S = 20.0
"""How long a person waits for one answer."""
PAUSE_S = 30.0
"""How soon what was left over is tried again."""
TRIES_MAX = 3
"""How often one value is sent without an answer: a charger that restarts at it would restart for ever."""
SILENCES_MAX = 3
"""After so many questions without an answer, one after the other, a charger is left alone …"""
FRUITLESS_MAX = 6
"""… and after so many that told nothing, if none did."""
CHANGES_MAX = 100
PARAMETERS_MAX = 500
"""Keys that are taken from one answer; twice as many are kept of one charger."""
VALUE_KEPT_MAX = 8_000
NAMES_AT_ONCE_MAX = 20
"""How many keys are asked for by name at once when a charger takes more, or does not say."""
KEY_COLUMN_MAX = 255
_UNABLE: Final = frozenset(("notsupported", "notimplemented"))

assert BUDGET_S + PATIENCE_S < HTTP_TIMEOUT_S
assert 3 * (JOB_BUDGET_S + CALL_DEADLINE_S) < jobs.CLAIM_S


class NotRead(Conflict):
    """The charger answered, but told none of its parameters."""

    title = "The charger tells no parameters"


class Result(StrEnum):
    """What became of a value that somebody wants."""

    ACCEPTED = "accepted"
    UNCHANGED = "unchanged"
    CUT = "cut"
    REBOOT_REQUIRED = "reboot_required"
    NOT_APPLIED = "not_applied"
    REJECTED = "rejected"
    NOT_SUPPORTED = "not_supported"
    NO_ANSWER = "no_answer"
    PENDING = "pending"


_STANDING = frozenset((Result.ACCEPTED, Result.UNCHANGED, Result.CUT))


@dataclass(frozen=True, slots=True)
class Parameter:
    """One key of a charger: what it told last, what is wanted, and what became of that.

    ``reported`` is None for what the charger does not tell; secrets are masked. ``standard`` is None for a
    manufacturer's own key.
    """

    name: str
    reported: str | None
    reported_at: datetime | None
    is_readonly: bool
    is_unknown: bool
    desired: str | None
    desired_at: datetime | None
    actor_kind: str
    actor_id: str
    door: str
    result: Result | None
    is_pending: bool
    tries: int
    standard: keys.Key | None

    @property
    def form(self) -> Form:
        """What kind of value it holds, as far as that is known."""
        if self.standard is not None:
            return self.standard.form
        is_flag = (self.reported or "").strip().casefold() in {"true", "false"}
        return Form.BOOLEAN if is_flag else Form.TEXT

    @property
    def range(self) -> str:
        """Which values it takes, in words; empty where nobody knows."""
        return keys.range_of(self.name) or ("true or false" if self.form is Form.BOOLEAN else "")

    @property
    def elsewhere(self) -> Elsewhere | None:
        """Where Voltyard sets it itself, None where a person does it here."""
        return self.standard.elsewhere if self.standard is not None else None

    @property
    def is_risky(self) -> bool:
        """Whether a wrong value can take the charger off the line."""
        return keys.is_risky(self.name)

    @property
    def is_secret(self) -> bool:
        """Whether its value is shown to nobody."""
        return is_secret(self.name)

    @property
    def value(self) -> str:
        """What counts at present: the value told, else the one wanted."""
        return self.reported if self.reported is not None else self.desired or ""

    @property
    def is_drifted(self) -> bool:
        """Whether the charger once took what was wanted and has something else now."""
        return (
            self.desired is not None
            and not self.is_pending
            and self.result in _STANDING
            and self.reported_at is not None
            and not self.is_secret
            and not keys.is_same(self.name, self.desired, self.reported)
        )


@dataclass(frozen=True, slots=True)
class Parameters:
    """All parameters of a charger by name, and when they were read; ``is_by_key``: it cannot list them."""

    items: tuple[Parameter, ...]
    read_at: datetime | None
    is_by_key: bool
    reboot_required_at: datetime | None

    def find(self, name: str) -> Parameter | None:
        """Return a parameter by its name without case."""
        return next((each for each in self.items if fold(each.name) == fold(name)), None)

    def value(self, name: str) -> str | None:
        """Return what the charger told of a key, None if it told nothing."""
        found = self.find(name)
        return found.reported if found is not None else None


@dataclass(frozen=True, slots=True)
class Saved:
    """What became of one key of a save; ``value`` is what was sent in the end, ``word`` the charger's own."""

    name: str
    value: str
    result: Result
    word: str = ""


@dataclass(frozen=True, slots=True)
class Saving:
    """What became of a save, key by key; ``saved_at`` is the ``desired_at`` of each."""

    results: tuple[Saved, ...]
    is_reboot_required: bool
    saved_at: datetime


@dataclass(frozen=True, slots=True)
class Objection:
    """Why a value should not be saved, and whether one may insist."""

    text: str
    may_insist: bool = False


@dataclass(frozen=True, slots=True)
class Read:
    """What reading a charger brought: how many keys, and whether that was all of them."""

    count: int
    is_complete: bool


class SendParameters(Message, frozen=True):
    """Job: send a charger what somebody wants and it has not been sent yet."""

    charger_id: str


class ReadParameters(Message, frozen=True):
    """Job: go on reading a charger that has to be asked key by key, with these keys."""

    charger_id: str
    names: tuple[str, ...]


# --- looking --------------------------------------------------------------------------------------


def get(work: Work, charger_id: str) -> Parameters:
    """Return the parameters of a charger, by name. Raises: NotFound; Forbidden."""
    service.get(work, charger_id, Permission.VIEW_SENSITIVE)
    return find(work, charger_id)


def find(work: Work, charger_id: str) -> Parameters:
    """Return the parameters of a charger, whoever asks."""
    state = store.find_charger(work, charger_id)
    if state is None or state.claimed_at is None:
        return Parameters((), None, is_by_key=False, reboot_required_at=None)
    since = state.claimed_at
    return Parameters(
        tuple(
            shown
            for row in store.find_parameters(work, charger_id)
            if (shown := _parameter(row, since)) is not None
        ),
        _since(state.read_at, since),
        bool(state.is_by_key),
        _since(state.reboot_required_at, since),
    )


def _since(at: datetime | None, since: datetime) -> datetime | None:
    return at if at is not None and at >= since else None


def _parameter(row: Any, since: datetime) -> Parameter | None:
    """Return a parameter without what it held before the charger came where it is."""
    is_told = row.reported_at is not None and row.reported_at >= since
    is_wanted = row.desired_at is not None and row.desired_at >= since
    if not is_told and not is_wanted:
        return None
    return Parameter(
        name=row.name,
        reported=row.reported if is_told else None,
        reported_at=row.reported_at if is_told else None,
        is_readonly=_is_readonly(row.name, row.is_readonly if is_told else None),
        is_unknown=bool(row.is_unknown and is_told),
        desired=row.desired if is_wanted else None,
        desired_at=row.desired_at if is_wanted else None,
        actor_kind=(row.actor_kind or "") if is_wanted else "",
        actor_id=(row.actor_id or "") if is_wanted else "",
        door=(row.door or "") if is_wanted else "",
        result=Result(row.result) if is_wanted and row.result else None,
        is_pending=bool(row.is_pending and is_wanted),
        tries=row.tries if is_wanted else 0,
        standard=keys.find(row.name),
    )


def _is_readonly(name: str, told: bool | None) -> bool:
    """Say whether a key can be changed: what the charger says counts before the specification."""
    if told is not None:
        return told
    key = keys.find(name)
    return key is not None and key.access is Access.READ


# --- what a charger tells -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entry:
    """One key as a charger told it."""

    name: str
    value: str | None
    is_readonly: bool | None


@dataclass(frozen=True, slots=True)
class Told:
    """The answer to GetConfiguration: the keys by their name without case, and those it does not know."""

    entries: Mapping[str, Entry]
    unknown: Mapping[str, str]


NOTHING: Final = Told({}, {})


def understand(answer: str | None) -> Told | None:
    """Read the answer to GetConfiguration, however odd; None for what is none (quirks Q24, Q33).

    Never raises. Values may be missing, longer than 500 characters, or numbers; names in any case.
    """
    try:
        said = decode(answer or "", object)
    except Invalid:
        return None
    if not isinstance(said, Mapping) or "errorCode" in said:
        return None
    members = {str(name).casefold(): value for name, value in said.items()}
    entries: dict[str, Entry] = {}
    for each in _listed(members.get("configurationkey")):
        entry = _entry(each)
        if entry is not None and len(entries) < PARAMETERS_MAX:
            before = entries.get(fold(entry.name))
            if before is None or before.value is None:
                entries[fold(entry.name)] = entry
    unknown: dict[str, str] = {}
    for each in _listed(members.get("unknownkey")):
        name = _storable(each).strip() if isinstance(each, str) else ""
        if name and fold(name) not in entries and len(unknown) < PARAMETERS_MAX:
            unknown[fold(name)[:KEY_COLUMN_MAX]] = name[:KEY_COLUMN_MAX]
    return Told(entries, unknown)


def _listed(value: Any) -> Sequence[Any]:
    if value is None:
        return ()
    return value if isinstance(value, list) else [value]


def _entry(said: Any) -> Entry | None:
    if not isinstance(said, Mapping):
        return None
    members = {str(name).casefold(): value for name, value in said.items()}
    name = members.get("key")
    tidy = _storable(name).strip()[:KEY_COLUMN_MAX] if isinstance(name, str) else ""
    if not tidy:
        return None
    readonly = members.get("readonly")
    if isinstance(readonly, str):
        readonly = {"true": True, "false": False}.get(readonly.casefold())
    return Entry(tidy, _value(members.get("value")), readonly if isinstance(readonly, bool) else None)


def _value(said: Any) -> str | None:
    if said is None:
        return None
    if isinstance(said, bool):
        return "true" if said else "false"
    if isinstance(said, list):
        return ",".join(_value(each) or "" for each in said)[:VALUE_KEPT_MAX]
    return _storable(said if isinstance(said, str) else str(said))[:VALUE_KEPT_MAX]


def _storable(text: str) -> str:
    """Return a text that every database can hold, whatever a charger sent."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


# --- reading --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _ReadPlan:
    """What is known before a charger is read."""

    is_by_key: bool
    may_list: bool
    is_online: bool
    at_once: int
    names: tuple[str, ...]
    wanted: frozenset[str]
    unknown: frozenset[str]


async def read(
    ctx: Context,
    actor: Actor,
    charger_id: str,
    *,
    is_listing_anew: bool = False,
    priority: Priority = Priority.PORTAL,
    budget_s: float = BUDGET_S,
) -> Read:
    """Ask a charger for its parameters and keep what it tells.

    A charger that could not list them is asked key by key ever after, unless ``is_listing_anew`` or its
    firmware changed. That may take longer than ``budget_s``: then the rest is asked for later.
    Raises: NotFound; Forbidden; ChargerOffline; NotRead.
    """
    plan = await ctx.db.work(actor, _plan_read, charger_id)
    asking = _Asking(ctx, actor, charger_id, priority, budget_s)
    if plan.may_list and (is_listing_anew or not plan.is_by_key):
        told = await asking.keys(())
        if told is not None and told.entries:
            more = await _missing(asking, plan, told)
            await ctx.db.work(actor, _keep, charger_id, told, is_whole=True, is_by_key=False)
            if more is not None:
                await ctx.db.work(actor, _keep, charger_id, more)
            return Read(len(told.entries) + len(more.entries if more else ()), is_complete=True)
        if asking.is_offline:
            raise _offline()
    # Quirk Q49: it lists nothing, answers with an error, or not at all.
    names = [name for name in plan.names if fold(name) not in plan.unknown] or list(plan.names)
    told, left = await asking.by_name(names, 1)
    if not told.entries:
        if asking.is_offline:
            raise _offline()
        raise NotRead(
            "the charger did not tell a single parameter: try again when it is not busy, or ask its "
            "manufacturer whether it supports GetConfiguration"
        )
    await ctx.db.work(actor, _keep, charger_id, told, is_by_key=True)
    if left and not asking.is_offline:
        await ctx.db.work(actor, _read_on, charger_id, left)
    return Read(len(told.entries), is_complete=not left)


def _offline() -> ChargerOffline:
    return ChargerOffline("the charger is offline: its parameters are read when it starts again")


async def _missing(asking: _Asking, plan: _ReadPlan, told: Told) -> Told | None:
    """Ask by name for keys that every charger has, or that somebody wants, where the list lacks them.

    Some chargers cut their list at GetConfigurationMaxKeys (quirk Q49).
    """
    most = told.entries.get(fold("GetConfigurationMaxKeys"))
    at_once = _at_once(most.value if most is not None else None) or plan.at_once
    wanted = [
        name
        for name in plan.names
        if fold(name) not in told.entries
        and fold(name) not in told.unknown
        and fold(name) not in plan.unknown
    ]
    is_cut = most is not None and _at_once(most.value) == len(told.entries)
    if not is_cut:
        wanted = [name for name in wanted if name in keys.REQUIRED or fold(name) in plan.wanted]
    if not wanted:
        return None
    return (await asking.by_name(wanted, at_once))[0]


def _plan_read(work: Work, charger_id: str) -> _ReadPlan:
    charger = service.get(work, charger_id, Permission.CONTROL)
    state = store.find_charger(work, charger_id)
    assert state is not None, "a charger that was just looked at is gone"
    known = find(work, charger_id)
    is_same_firmware = state.tried_at is not None and state.read_firmware == charger.firmware
    store.upsert_read(work, charger_id, tried_at=work.now, firmware=charger.firmware)
    names = {fold(name): name for name in (key.name for key in keys.KEYS.values())}
    names |= {fold(each.name): each.name for each in known.items}
    at = {fold(each.name): each.reported_at for each in known.items}
    # The longest unheard first, and first of all those that every charger should have.
    ordered = sorted(
        names,
        key=lambda key: (
            at.get(key) is not None,
            at.get(key) or work.now,
            names[key] not in keys.REQUIRED,
        ),
    )
    return _ReadPlan(
        # New firmware may have learned to list.
        is_by_key=bool(state.is_by_key) and is_same_firmware,
        may_list=not quirks.find(charger.vendor, charger.model, charger.firmware).reads_keys_one_by_one,
        is_online=charger.is_online,
        at_once=_at_once(known.value("GetConfigurationMaxKeys")) or NAMES_AT_ONCE_MAX,
        names=tuple(
            names[name]
            for name in ordered
            if (key := keys.find(name)) is None or key.access is not Access.WRITE
        ),
        wanted=frozenset(fold(each.name) for each in known.items if each.desired is not None),
        unknown=frozenset(fold(each.name) for each in known.items if each.is_unknown)
        if is_same_firmware
        else frozenset(),
    )


def _at_once(told: str | None) -> int:
    """Return how many keys a charger takes at once, 0 where it does not say (OCPP 1.6 §9.1.9)."""
    if told is None or not told.strip().isascii() or not told.strip().isdigit():
        return 0
    return min(int(told.strip()[:9]), NAMES_AT_ONCE_MAX)


def _read_on(work: Work, charger_id: str, names: tuple[str, ...]) -> None:
    jobs.enqueue(
        work, ReadParameters(charger_id, names), delay_s=PAUSE_S, key=f"read-parameters:{charger_id}"
    )


class _Asking:
    """Asks one charger one thing after the other, within a time, and notes when it falls silent."""

    def __init__(
        self, ctx: Context, actor: Actor, charger_id: str, priority: Priority, budget_s: float
    ) -> None:
        self._ctx, self._actor, self._charger_id, self._priority = ctx, actor, charger_id, priority
        self._ends_at_s = ctx.clock.monotonic() + budget_s
        self._patience_s = CALL_DEADLINE_S if actor.is_system else PATIENCE_S
        self._silences = self._fruitless = 0
        self.is_offline = False

    @property
    def is_over(self) -> bool:
        """Say whether to ask nothing more: the charger is gone or silent, or the time is over."""
        return (
            self.is_offline
            or self._silences >= SILENCES_MAX
            or self._fruitless >= FRUITLESS_MAX
            or self._ctx.clock.monotonic() >= self._ends_at_s
        )

    async def ask(self, ask: GetKeys | SetKey) -> Command:
        """Ask, and note whether there was an answer."""
        command = await commands.ask(
            self._ctx,
            self._actor,
            self._charger_id,
            ask,
            priority=self._priority,
            timeout_s=self._patience_s,
        )
        self.is_offline = command.status is CommandStatus.OFFLINE
        self._silences = self._silences + 1 if command.status is CommandStatus.EXPIRED else 0
        return command

    async def keys(self, names: tuple[str, ...]) -> Told | None:
        """Read these keys, all of them when none is named; None where the answer tells nothing."""
        try:
            command = await self.ask(GetKeys(names))
        except Invalid:
            return None  # a name of the charger's own that its protocol cannot carry
        return understand(command.answer) if command.status is CommandStatus.EXECUTED else None

    async def by_name(self, names: Sequence[str], at_once: int) -> tuple[Told, tuple[str, ...]]:
        """Read these keys, so many at once; return what was told, and the names not asked for."""
        entries: dict[str, Entry] = {}
        unknown: dict[str, str] = {}
        askable = [name for name in names if 0 < len(name) <= keys.KEY_LENGTH_MAX]
        done = 0
        while done < len(askable) and not self.is_over:
            some = tuple(askable[done : done + max(1, at_once)])
            told = await self.keys(some)
            if told is None and len(some) > 1 and not self.is_offline:
                at_once = 1  # it may take fewer than it says
                continue
            done += len(some)
            if told is not None:
                entries |= told.entries
                unknown |= told.unknown
            # Some answer with an error about each key that they do not have (quirk Q49).
            self._fruitless = 0 if entries or unknown else self._fruitless + 1
        return Told(entries, {key: name for key, name in unknown.items() if key not in entries}), tuple(
            askable[done:]
        )


def _keep(
    work: Work, charger_id: str, told: Told, *, is_whole: bool = False, is_by_key: bool | None = None
) -> Parameters:
    """Store what a charger told, see what became of what was wanted, and say so."""
    rows = [
        {
            "charger_id": charger_id,
            "key": key[:KEY_COLUMN_MAX],
            "name": entry.name,
            "reported": MASK if is_secret(entry.name) and entry.value else entry.value,
            "is_readonly": entry.is_readonly,
            "is_unknown": False,
            "reported_at": work.now,
        }
        for key, entry in told.entries.items()
    ]
    rows += [
        {
            "charger_id": charger_id,
            "key": key,
            "name": name,
            "reported": None,
            "is_readonly": None,
            "is_unknown": True,
            "reported_at": work.now,
        }
        for key, name in told.unknown.items()
    ]
    store.upsert_parameters(work, _bounded(work, charger_id, rows))
    if is_whole:
        store.delete_untold(work, charger_id, told.entries.keys())
    if is_by_key:
        findings.told(work, [FlawTold(charger_id, "keys_one_by_one", 1, "", "")])
    noted: dict[str, Any] = {} if is_by_key is None else {"is_by_key": is_by_key, "read_at": work.now}
    if noted:
        store.upsert_read(work, charger_id, **noted)
    known = find(work, charger_id)
    heard = told.entries.keys() | told.unknown.keys()
    _settle(work, charger_id, known, [each for each in known.items if fold(each.name) in heard])
    _tell(work, charger_id)
    return find(work, charger_id)


def _bounded(work: Work, charger_id: str, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out new keys beyond those that are kept of one charger: it may make up others each time."""
    kept = {row.key for row in store.find_parameters(work, charger_id)}
    room = max(0, 2 * PARAMETERS_MAX - len(kept))
    new = {row["key"] for row in [each for each in rows if each["key"] not in kept][:room]}
    return [row for row in rows if row["key"] in kept or row["key"] in new]


def _settle(work: Work, charger_id: str, known: Parameters, heard: Iterable[Parameter]) -> None:
    """Note what became of wanted values whose fate was open until the charger was heard again."""
    rows = []
    for each in heard:
        if each.desired is None or each.desired_at is None or each.is_secret:
            continue
        is_there = keys.is_same(each.name, each.desired, each.reported)
        if each.is_pending and each.tries > 0 and is_there:
            # It was sent, the answer was lost, the charger obeyed.
            rows.append(_result(each, Result.ACCEPTED))
        elif each.result is Result.REBOOT_REQUIRED and known.reboot_required_at is None:
            rows.append(_result(each, Result.ACCEPTED if is_there else Result.NOT_APPLIED))
        elif each.result is Result.NOT_APPLIED and is_there:
            rows.append(_result(each, Result.ACCEPTED))
    store.set_results(work, charger_id, rows)


def _result(
    parameter: Parameter, result: Result, *, is_pending: bool = False, desired: str | None = None
) -> dict[str, Any]:
    return {
        "which": fold(parameter.name)[:KEY_COLUMN_MAX],
        "since": parameter.desired_at,
        "new_desired": parameter.desired if desired is None else desired,
        "new_result": result.value,
        "new_is_pending": is_pending,
        "new_tries": parameter.tries,
    }


def _tell(work: Work, charger_id: str) -> None:
    state = store.find_charger(work, charger_id)
    place = state.location_id if state is not None else None
    work.emit(subject(place, charger_id), ParametersChanged(charger_id, place))


# --- saving ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Change:
    """One key that is to be sent."""

    name: str
    value: str
    desired_at: datetime
    tries: int
    longest: int | None

    @property
    def is_secret(self) -> bool:
        return is_secret(self.name)


@dataclass(frozen=True, slots=True)
class _Decision:
    """What a save comes to before anything is sent."""

    changes: tuple[_Change, ...]
    unchanged: tuple[Saved, ...]
    at_once: int
    is_online: bool
    at: datetime


async def save(
    ctx: Context, actor: Actor, charger_id: str, changes: Mapping[str, str], *, is_forced: bool = False
) -> Saving:
    """Send a charger the values that change, read them back, and return what became of each.

    A value outside of what OCPP knows needs ``is_forced``. What cannot be sent now is kept and sent when the
    charger starts again, except secrets. A list of measurands is cut to what the charger takes.
    Raises: NotFound; Forbidden; Invalid.
    """
    decision = await ctx.db.work(actor, _decide, charger_id, changes, is_forced=is_forced)
    return await _carry_out(ctx, actor, charger_id, decision)


async def save_own(ctx: Context, actor: Actor, charger_id: str, changes: Mapping[str, str]) -> Saving:
    """Save keys that Voltyard sets itself, for the part of it that does; as ``save`` in all else.

    Raises: NotFound; Forbidden; Invalid.
    """
    decision = await ctx.db.work(actor, _decide, charger_id, changes, is_forced=False, is_own=True)
    return await _carry_out(ctx, actor, charger_id, decision)


async def set_measurands(
    ctx: Context, actor: Actor, charger_id: str, name: str, measurands: Sequence[str]
) -> Saved:
    """Have a charger measure this, or as much of it as it can, the first ones first.

    Raises: NotFound; Forbidden; Invalid.
    """
    if name not in keys.MEASURAND_LISTS:
        raise Invalid(
            "that is no list of measurands", (("/key", f"one of {', '.join(keys.MEASURAND_LISTS)}"),)
        )
    saving = await save(ctx, actor, charger_id, {name: ",".join(measurands)})
    return saving.results[0]


def _decide(
    work: Work,
    charger_id: str,
    changes: Mapping[str, str],
    *,
    is_forced: bool = False,
    is_own: bool = False,
) -> _Decision:
    """Refuse what cannot be, note what is wanted, and say what has to be sent."""
    charger = service.get(work, charger_id, Permission.EDIT_CHARGERS)
    known = find(work, charger_id)
    _check(known, changes, is_forced=is_forced, is_own=is_own)
    rows: list[dict[str, Any]] = []
    sent: list[_Change] = []
    unchanged: list[Saved] = []
    for name, value in changes.items():
        told, key = known.find(name), keys.find(name)
        spelled = told.name if told is not None else key.name if key is not None else name.strip()
        wanted = keys.tidy(spelled, value)
        is_hidden = is_secret(spelled)
        is_there = told is not None and _is_there(told, wanted)
        if is_there:
            unchanged.append(Saved(spelled, wanted, Result.UNCHANGED))
        else:
            longest = _at_most(known.value(f"{spelled}MaxLength"))
            sent.append(_Change(spelled, wanted, work.now, 0, longest))
        rows.append(
            {
                "charger_id": charger_id,
                "key": fold(spelled)[:KEY_COLUMN_MAX],
                "name": spelled,
                "desired": MASK if is_hidden else wanted,
                "desired_at": work.now,
                "actor_kind": work.actor.kind.value,
                "actor_id": work.actor.subject_id,
                "door": work.actor.door,
                "result": Result.UNCHANGED.value if is_there else Result.PENDING.value,
                # Should this process die now, it is sent at the next boot; a secret is not kept for that.
                "is_pending": not is_there and not is_hidden,
                "tries": 0,
            }
        )
    store.upsert_parameters(work, rows)
    _tell(work, charger_id)
    at_once = 1 if known.is_by_key else _at_once(known.value("GetConfigurationMaxKeys")) or NAMES_AT_ONCE_MAX
    return _Decision(tuple(sent), tuple(unchanged), at_once, charger.is_online, work.now)


def objections(work: Work, charger_id: str, changes: Mapping[str, str]) -> dict[str, Objection]:
    """Return what speaks against saving these values, by key; nothing is saved.

    Raises: NotFound; Forbidden.
    """
    service.get(work, charger_id, Permission.EDIT_CHARGERS)
    known = find(work, charger_id)
    found = {name: _objection(known, name, value, is_own=False) for name, value in changes.items()}
    return {name: objection for name, objection in found.items() if objection is not None}


def _check(known: Parameters, changes: Mapping[str, str], *, is_forced: bool, is_own: bool) -> None:
    """Refuse a save as a whole if one of its values cannot be. Raises: Invalid."""
    if not 0 < len(changes) <= CHANGES_MAX:
        raise Invalid("nothing to save", (("/changes", f"1 to {CHANGES_MAX} parameters"),))
    wrong: list[tuple[str, str]] = []
    seen: set[str] = set()
    for name, value in changes.items():
        objection = _objection(known, name, value, is_own=is_own)
        if fold(name) in seen:
            objection = Objection("named twice: case makes no difference")
        seen.add(fold(name))
        if objection is not None and not (is_forced and objection.may_insist):
            wrong.append((f"/changes/{name.replace('~', '~0').replace('/', '~1')}", objection.text))
    if wrong:
        told = "; ".join(f"{where.removeprefix('/changes/')}: {why}" for where, why in wrong[:3])
        raise Invalid(told, tuple(wrong))


def _objection(known: Parameters, name: str, value: str, *, is_own: bool) -> Objection | None:
    """Return what speaks against saving a value, None if nothing does."""
    told, key = known.find(name), keys.find(name)
    if not keys.is_sendable(name.strip(), value):
        return Objection(
            f"the name may have {keys.KEY_LENGTH_MAX} printable characters, the value {keys.VALUE_LENGTH_MAX}"
        )
    if key is not None and key.elsewhere is not None and not is_own:
        return Objection(f"Voltyard sets this itself: see {key.elsewhere.value}")
    if told.is_readonly if told is not None else _is_readonly(name, None):
        return Objection("read-only: the charger does not let anybody change it")
    why = keys.misfit(name, value)
    return Objection(why, may_insist=True) if why else None


def _is_there(told: Parameter, wanted: str) -> bool:
    """Say whether a charger has this value already, so that nothing need be sent."""
    return (
        told.reported is not None
        and not told.is_secret
        and told.result is not Result.REBOOT_REQUIRED  # what it tells is what it had before
        and keys.is_same(told.name, told.reported, wanted)
    )


def _at_most(told: str | None) -> int | None:
    plain = (told or "").strip()
    return int(plain) if plain.isascii() and plain.isdigit() and len(plain) < 10 else None


async def _carry_out(
    ctx: Context,
    actor: Actor,
    charger_id: str,
    decision: _Decision,
    *,
    budget_s: float = BUDGET_S,
) -> Saving:
    """Send, note what was answered, read back, and see whether it is so."""
    priority = Priority.BACKGROUND if actor.is_system else Priority.PORTAL
    asking = _Asking(ctx, actor, charger_id, priority, budget_s)
    done: list[tuple[_Change, Saved]] = []
    for change in decision.changes:
        saved = Saved(change.name, change.value, Result.PENDING)
        if not asking.is_over:
            saved = await _send(asking, change)
            # A charger that was not there was not tried; one that went away at it was.
            if not asking.is_offline or decision.is_online:
                change = replace(change, tries=change.tries + 1)  # noqa: PLW2901
        done.append((change, _left(change, saved)))
    await ctx.db.work(actor, _note, charger_id, done, is_online=not asking.is_offline)
    names = [
        change.name
        for change, saved in done
        if change.tries > 0 and saved.result in _HEARD and not change.is_secret
    ]
    if names and not asking.is_over:
        told, _ = await asking.by_name(names, decision.at_once)
        known = await ctx.db.work(actor, _keep, charger_id, told)
        done = [(change, _as_read(saved, change, known, told)) for change, saved in done]
        await ctx.db.work(actor, _note, charger_id, done, is_online=not asking.is_offline)
    results = (
        *decision.unchanged,
        *(replace(saved, value=MASK) if change.is_secret else saved for change, saved in done),
    )
    is_reboot_required = any(each.result is Result.REBOOT_REQUIRED for each in results)
    return Saving(results, is_reboot_required, decision.at)


_HEARD = frozenset((Result.ACCEPTED, Result.CUT, Result.REBOOT_REQUIRED, Result.NO_ANSWER, Result.PENDING))


async def _send(asking: _Asking, change: _Change) -> Saved:
    """Send one change; what the protocol cannot carry is as good as rejected, and not tried again."""
    try:
        return await _send_one(asking, change)
    except Invalid:
        return Saved(change.name, change.value, Result.REJECTED, "NotSendable")


async def _send_one(asking: _Asking, change: _Change) -> Saved:
    if change.name in keys.MEASURAND_LISTS:
        return await _send_list(asking, change)
    command = await asking.ask(SetKey(change.name, change.value))
    return Saved(change.name, change.value, _heard(command), command.word)


async def _send_list(asking: _Asking, change: _Change) -> Saved:
    """Offer a list of measurands, then shorter ones, until the charger takes one."""
    cutting = Cutting.of(keys.items(change.value), change.longest)
    is_reboot_required, word = False, ""
    while (offer := cutting.offer()) is not None and not asking.is_over:
        command = await asking.ask(SetKey(change.name, ",".join(offer)))
        heard, word = _heard(command), command.word
        if heard not in {Result.ACCEPTED, Result.REBOOT_REQUIRED, Result.REJECTED}:
            if not cutting.taken:
                return Saved(change.name, change.value, heard, word)
            break
        is_reboot_required |= heard is Result.REBOOT_REQUIRED
        cutting.hear(is_taken=heard is not Result.REJECTED)
        if not offer:
            return Saved(change.name, change.value, heard, word)
    if not cutting.taken:
        return Saved(change.name, change.value, Result.REJECTED, word)
    value = ",".join(cutting.taken)
    if is_reboot_required:
        return Saved(change.name, value, Result.REBOOT_REQUIRED, "RebootRequired")
    is_whole = value == change.value
    return Saved(change.name, value, Result.ACCEPTED if is_whole else Result.CUT, "Accepted")


def _heard(command: Command) -> Result:
    """Return what a charger's answer to a change means (OCPP 1.6 §7.22; quirk Q54)."""
    word = command.word.casefold()
    if command.status is CommandStatus.EXECUTED:
        return Result.REBOOT_REQUIRED if word == "rebootrequired" else Result.ACCEPTED
    if command.status is CommandStatus.OFFLINE or word == "toomanywaiting":
        return Result.PENDING
    if command.status is CommandStatus.EXPIRED:
        return Result.NO_ANSWER
    return Result.NOT_SUPPORTED if word in _UNABLE else Result.REJECTED


def _left(change: _Change, saved: Saved) -> Saved:
    """Say what becomes of a value that found no answer: tried again, or given up."""
    if saved.result not in {Result.PENDING, Result.NO_ANSWER}:
        return saved
    # A secret is not kept for later; and a charger that restarts at a value would do it for ever.
    is_over = change.is_secret or change.tries >= TRIES_MAX
    return replace(saved, result=Result.NO_ANSWER if is_over else saved.result)


def _as_read(saved: Saved, change: _Change, known: Parameters, told: Told) -> Saved:
    """Say what became of a value now that it was read back (quirk Q50)."""
    entry = told.entries.get(fold(change.name))
    found = known.find(change.name)
    if entry is None or found is None:
        return saved
    is_there = keys.is_same(change.name, saved.value, entry.value)
    if saved.result in {Result.NO_ANSWER, Result.PENDING}:
        return replace(saved, result=Result.ACCEPTED) if is_there else saved
    if saved.result in {Result.ACCEPTED, Result.CUT} and not is_there:
        return replace(saved, result=Result.NOT_APPLIED)
    return saved


def _note(work: Work, charger_id: str, done: Sequence[tuple[_Change, Saved]], *, is_online: bool) -> None:
    """Store what became of what was sent; what is left waits for the next boot, or for a moment."""
    rows, is_left = [], False
    for change, saved in done:
        is_pending = (
            saved.result in {Result.PENDING, Result.NO_ANSWER}
            and change.tries < TRIES_MAX
            and not change.is_secret
        )
        is_left |= is_pending
        rows.append(
            {
                "which": fold(change.name)[:KEY_COLUMN_MAX],
                "since": change.desired_at,
                "new_desired": MASK if change.is_secret else saved.value,
                "new_result": saved.result.value,
                "new_is_pending": is_pending,
                "new_tries": change.tries,
            }
        )
    store.set_results(work, charger_id, rows)
    ignored = [saved.name for _, saved in done if saved.result is Result.NOT_APPLIED]
    if ignored:
        odd = FlawTold(charger_id, "accepted_not_applied", len(ignored), "", ", ".join(ignored))
        findings.told(work, [odd])
    if any(saved.result is Result.REBOOT_REQUIRED for _, saved in done):
        store.upsert_read(work, charger_id, reboot_required_at=work.now)
    if is_left and is_online:
        jobs.enqueue(work, SendParameters(charger_id), delay_s=PAUSE_S, key=f"send-parameters:{charger_id}")
    _tell(work, charger_id)


# --- without anybody waiting ----------------------------------------------------------------------


async def send_pending(ctx: Context, charger_id: str) -> Saving:
    """Send a charger what somebody wants and could not be sent; for the system. Raises: NotFound."""
    decision = await ctx.db.read(ACTOR, _pending, charger_id)
    if decision is None:
        return Saving((), is_reboot_required=False, saved_at=ctx.clock.now())
    return await _carry_out(ctx, ACTOR, charger_id, decision, budget_s=JOB_BUDGET_S)


def _pending(work: Work, charger_id: str) -> _Decision | None:
    state = store.find_charger(work, charger_id)
    if state is None or state.location_id is None:
        return None
    charger = service.get(work, charger_id)
    known = find(work, charger_id)
    changes = tuple(
        _Change(
            each.name,
            each.desired or "",
            each.desired_at,
            each.tries,
            _at_most(known.value(f"{each.name}MaxLength")),
        )
        for each in known.items
        if each.is_pending and each.desired_at is not None and each.tries < TRIES_MAX
    )
    if not changes or not charger.is_online:
        return None
    at_once = 1 if known.is_by_key else _at_once(known.value("GetConfigurationMaxKeys")) or NAMES_AT_ONCE_MAX
    return _Decision(changes, (), at_once, is_online=True, at=work.now)


async def send_left(ctx: Context, job: SendParameters) -> None:
    """Do the job SendParameters."""
    await send_pending(ctx, job.charger_id)


async def read_left(ctx: Context, job: ReadParameters) -> None:
    """Do the job ReadParameters; for a charger that has gone, the next boot does it."""
    state = await ctx.db.read(ACTOR, store.find_charger, job.charger_id)
    if state is None or state.location_id is None:
        return
    asking = _Asking(ctx, ACTOR, job.charger_id, Priority.BACKGROUND, JOB_BUDGET_S)
    told, left = await asking.by_name(job.names, 1)
    await ctx.db.work(ACTOR, _keep, job.charger_id, told, is_by_key=True)
    if left and told.entries and not asking.is_offline:
        await ctx.db.work(ACTOR, _read_on, job.charger_id, left)


async def read_quietly(ctx: Context, charger_id: str) -> bool:
    """Read a charger without anybody waiting; say whether it told something. For the system."""
    try:
        await read(ctx, ACTOR, charger_id, priority=Priority.BACKGROUND, budget_s=JOB_BUDGET_S)
    except (ChargerOffline, NotRead):
        return False
    return True
