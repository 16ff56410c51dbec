"""What known models of chargers get wrong, as data: one row per model, each with its evidence.

Whatever can be tolerated without knowing the model is tolerated for every charger and stands nowhere
here; this table holds what would be wrong to do for everybody. A charger is matched by what it says of
itself when it boots; the gateway asks with ``find`` for the wire, rooms ask with it for what they send.
To add a model, add a row: vendor, model and firmware are patterns in which ``*`` stands for anything,
capitals do not count, and of several rows that match, the flags add up, later rows winning.

Invariants (property tests of the same names):
a charger that nobody knows is well behaved · flags add up · capitals and blanks do not count
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any, Final, NamedTuple

from msgspec.structs import asdict

from voltyard.kernel.wire import Message


class Quirks(Message, frozen=True, gc=False):
    """What to heed of one charger; every default is that of a well-behaved one."""

    # --- on the wire ---
    is_id_loose: bool = False
    """Q20: an answer under a wrong message id is the answer to the only open call."""
    is_half_duplex: bool = False
    """A call of ours waits while one of theirs is being answered."""
    is_pinged: bool = True
    """Q13: whether it bears websocket pings; without them any message counts as a sign of life."""
    is_dropped_abruptly: bool = False
    """Q11: it comes back after a lost connection, but not after one that was closed in good order."""
    wants_milliseconds: bool = False
    """Q36: it reads our times only with milliseconds."""

    # --- in what we ask ---
    start_needs_connector: bool = False
    """Q53: a remote start has to name a connector."""
    stack_level_max: int | None = None
    """Q51: the highest stack level that it takes."""
    is_limited_in_watts: bool = False
    """Q51: it heeds limits in watts only."""
    is_limited_in_whole_numbers: bool = False
    """Q51: it takes no limit with a decimal."""
    limit_needs_phases: bool = False
    """Q51: each limit has to say for how many phases."""
    limit_without_transaction: bool = False
    """Q51: it refuses a limit for one transaction that names the transaction."""
    ignores_charger_limit: bool = False
    """Q50: it accepts a limit for the whole charger and does not heed it."""
    limit_min_a: float = 0.0
    """Q47: below this current it ends the transaction, so a pause must be meant."""
    is_paused_by_limit: bool = False
    """Q46: a limit of 0 A is the better pause: after a remote stop it wants to be unplugged."""
    is_boot_trigger_harmful: bool = False
    """Q45: asked to introduce itself, it restarts instead."""
    reads_keys_one_by_one: bool = False
    """Q49: asked for all its configuration keys, it fails; asked for each, it answers."""
    has_reversed_tags: bool = False
    """Q34: its reader tells the bytes of a card in reverse."""


class Model(NamedTuple):
    """One row: which chargers, what to heed, which quirks it is known for, and who says so."""

    vendor: str
    model: str
    firmware: str
    quirks: Quirks
    numbers: tuple[str, ...]
    evidence: str


NONE: Final = Quirks()

MODELS: Final = (
    Model("ABB*", "*", "*", Quirks(stack_level_max=0),
          ("Q12", "Q19", "Q32", "Q33", "Q39", "Q51"),
          "evcc#9071, #6817, #12901 and template abb; TMH-ocpp#186"),
    Model("AEFA*", "*", "*", NONE, ("Q17",), "lbbrhzn/ocpp#2032"),
    Model("Alfen*", "*", "*", NONE, ("Q26", "Q44"), "lbbrhzn/ocpp#361"),
    Model("Autel*", "*", "*", Quirks(is_paused_by_limit=True), ("Q8", "Q46"), "lbbrhzn/ocpp documentation"),
    Model("*BENY*", "*", "*", NONE, ("Q17",), "lbbrhzn/ocpp#1078"),
    Model("Charge*Amps*", "*", "*", NONE, ("Q26", "Q51"), "lbbrhzn/ocpp#1576, #878"),
    Model("Delta*", "*", "*", NONE, ("Q38",), "SAP ev-server, bypassStopTransaction"),
    Model("EN+*", "*", "*", Quirks(is_id_loose=True, limit_min_a=6.0),
          ("Q4", "Q20", "Q47", "Q52"), "TMH-ocpp#297; evcc PR#33020 and template en-plus"),
    Model("EV*Box*", "*Elvi*", "*", Quirks(is_pinged=False), ("Q13",), "lbbrhzn/ocpp#1744"),
    Model("Fox*", "*", "*", Quirks(is_dropped_abruptly=True, is_paused_by_limit=True),
          ("Q2", "Q3", "Q11", "Q46"), "lbbrhzn/ocpp#2008 and documentation"),
    Model("*", "*Grizzl-E*", "*", NONE, ("Q1", "Q18", "Q26", "Q27"),
          "lbbrhzn/ocpp#442 and user guide"),
    Model("*", "*Grizzl-E*", "*3.9*", Quirks(ignores_charger_limit=True), ("Q50",),
          "lbbrhzn/ocpp user guide"),
    Model("Growatt*", "*", "*", NONE, ("Q35",), "evcc#10399"),
    Model("Huawei*", "*", "*", Quirks(is_limited_in_watts=True, limit_min_a=6.0),
          ("Q25", "Q47", "Q51"), "lbbrhzn/ocpp#1144; evcc PR#33020 and template huawei"),
    Model("JIGU*", "*", "*", Quirks(is_dropped_abruptly=True), ("Q11",), "lbbrhzn/ocpp#1975"),
    Model("KEBA*", "*", "*", Quirks(has_reversed_tags=True), ("Q34",), "reports of little-endian tags"),
    Model("Ocular*", "*", "*", Quirks(reads_keys_one_by_one=True, is_paused_by_limit=True),
          ("Q5", "Q9", "Q34", "Q42", "Q46", "Q49"), "lbbrhzn/ocpp documentation"),
    Model("OpenEVSE*", "*", "*", NONE, ("Q24",), "lbbrhzn/ocpp#210"),
    Model("Schneider*", "*", "*", NONE, ("Q29",), "SAP ev-server, OCPPUtils"),
    Model("StarCharge*", "*", "*", Quirks(is_boot_trigger_harmful=True), ("Q19", "Q45", "Q48"),
          "lbbrhzn/ocpp#1096"),
    Model("Teison*", "*", "*", Quirks(is_dropped_abruptly=True), ("Q11",), "reports that it needs a restart"),
    Model("Wall*Box*", "*", "*", Quirks(stack_level_max=0), ("Q51",), "evcc template wallbox"),
    Model("WeGood*", "*", "*", Quirks(is_dropped_abruptly=True), ("Q11",), "lbbrhzn/ocpp#1975"),
)  # fmt: skip


def find(vendor: str | None, model: str | None, firmware: str | None) -> Quirks:
    """Return what to heed of a charger, by what it says of itself; a stranger is well behaved."""
    told = tuple((text or "").strip().casefold() for text in (vendor, model, firmware))
    found: dict[str, Any] = {}
    for row in MODELS:
        patterns = (row.vendor, row.model, row.firmware)
        if all(fnmatchcase(text, pattern.casefold()) for text, pattern in zip(told, patterns, strict=True)):
            found |= _set(row.quirks)
    return Quirks(**found) if found else NONE


def _set(quirks: Quirks) -> dict[str, Any]:
    """Return the flags that a row sets."""
    usual = asdict(NONE)
    return {name: value for name, value in asdict(quirks).items() if value != usual[name]}
