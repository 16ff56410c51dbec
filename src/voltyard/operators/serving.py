"""What the lines read and note: links as they are served, what is next for them, what became of it.

For the system: lines act for no person. A record tells of one message between an operator and us.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from voltyard.cards.service import tag_key
from voltyard.chargers import calls
from voltyard.chargers.calls import Said
from voltyard.chargers.events import subject
from voltyard.kernel import jobs
from voltyard.kernel.actor import Actor, system
from voltyard.kernel.actor import link as link_actor
from voltyard.kernel.db import Work
from voltyard.operators import deliveries_store, store
from voltyard.operators.events import EndRefused, LinkChanged
from voltyard.operators.words import words
from voltyard.speech import Role, Verdict
from voltyard.transactions import service as transactions

ACTOR: Final = system("lines")
PAYLOAD_MAX = 65_536
ANSWER_MAX = 16_384
NOTE_MAX = 200
REASON_MAX = 300
VERDICT_MAX = 16
LATEST = 20
LOOKED_AT = 500


@dataclass(frozen=True, slots=True)
class Serving:
    """A link as a line serves it; secrets are sealed for ``seal_of(id, …)``."""

    id: str
    charger_id: str
    location_id: str
    name: str
    url: str
    is_identity_appended: bool
    identity: str
    role: Role
    username: str
    password_sealed: str | None
    password_next_sealed: str | None
    certificate_pem: str | None
    key_sealed: str | None
    authority_pem: str | None
    tag_alias: str
    is_boot_on_connect: bool
    consents: tuple[str, ...]
    cursor: int
    attached_number: int
    is_leaving: bool
    via: tuple[str, ...]
    keys: Mapping[str, str]
    blocked: frozenset[int]
    """Transactions of which something was refused, so that what follows has to wait."""

    def key(self, name: str) -> str | None:
        """Return a configuration key of the link's own, None where it has none of that name."""
        wanted = name.casefold()
        return next((text for key, text in self.keys.items() if key.casefold() == wanted), None)

    @property
    def actor(self) -> Actor:
        """Return as whom the operator acts."""
        return link_actor(self.id, self.location_id)


@dataclass(frozen=True, slots=True)
class Facts:
    """What an operator may know of a charger at this instant."""

    vendor: str
    model: str
    serial: str | None
    box_serial: str | None
    firmware: str | None
    iccid: str | None
    imsi: str | None
    meter_type: str | None
    meter_serial: str | None
    is_online: bool
    gone_at: datetime | None
    statuses: tuple[tuple[int, str, str, str | None, str | None, datetime], ...]
    """Connector, status, error, info, the vendor's error, and since when."""
    running: tuple[tuple[int, int, datetime], ...]
    """Number, connector and beginning of each transaction that runs."""


@dataclass(frozen=True, slots=True)
class Known:
    """What an operator knows of a transaction of ours."""

    number: int
    theirs: int | None
    state: str


@dataclass(frozen=True, slots=True)
class Owed:
    """A saying that was refused, or waits for one that was; ``number`` is its delivery's."""

    number: int
    said: Said
    status: str
    tries: int
    next_at: datetime | None


@dataclass(frozen=True, slots=True)
class Learned:
    """What a delivery taught about a transaction; ``energy_wh`` and ``stopped_at`` are set by stops."""

    number: int
    state: str
    theirs: int | None = None
    verdict: str = ""
    id_tag: str = ""
    started_at: datetime | None = None
    stopped_at: datetime | None = None
    is_late_refusal: bool = False
    """A Billing operator refused the card, and the charger was not told in the answer to its start."""


class Record(NamedTuple):
    """One message between an operator and us, and what became of it.

    ``delivery`` is the delivery that is changed, None for a new one; ``cursor`` how far the link has come
    with it. Without an action it only moves the cursor.
    """

    link_id: str
    charger_id: str
    cursor: int = 0
    delivery: int | None = None
    call_number: int | None = None
    transaction_number: int | None = None
    is_inward: bool = False
    message_id: str = ""
    action: str = ""
    payload: str | None = None
    note: str = ""
    status: str = "done"
    answer: str = ""
    latency_ms: float | None = None
    tries: int = 1
    next_at: datetime | None = None
    learned: Learned | None = None


def find(work: Work, link_id: str) -> Serving | None:
    """Return a link to serve, None where there is nothing to serve any more."""
    row = store.find_link(work, link_id)
    if row is None or row.is_over or row.location_id != row.charger_location_id:
        return None
    charger = store.find_charger(work, row.charger_id)
    assert charger is not None
    return Serving(
        id=row.id,
        charger_id=row.charger_id,
        location_id=row.location_id,
        name=row.name,
        url=row.url,
        is_identity_appended=row.is_identity_appended,
        identity=row.identity,
        role=Role(row.role),
        username=row.username,
        password_sealed=row.password_sealed,
        password_next_sealed=row.password_next_sealed,
        certificate_pem=row.certificate_pem,
        key_sealed=row.key_sealed,
        authority_pem=row.authority_pem,
        tag_alias=row.tag_alias,
        is_boot_on_connect=row.is_boot_on_connect,
        consents=words(row.consents),
        cursor=row.cursor,
        attached_number=row.attached_number,
        is_leaving=row.ended_at is not None,
        via=words(charger.via or ""),
        keys={each.name: each.value for each in store.keys_of(work, link_id)},
        blocked=frozenset(
            each.transaction_number
            for each in deliveries_store.open_deliveries(work, link_id)
            if each.transaction_number is not None and _is_blocking(each.action)
        ),
    )


def _is_blocking(action: str) -> bool:
    return action in {"StartTransaction", "StopTransaction"}


class Served(NamedTuple):
    """A link to serve; ``mark`` is another one in this process once the link was changed."""

    id: str
    charger_id: str
    mark: int


_MARKED: Final = (
    "name", "url", "is_identity_appended", "identity", "role", "username", "password_sealed",
    "certificate_pem", "key_sealed", "authority_pem", "tag_alias", "is_boot_on_connect", "consents",
    "ended_at",
)  # fmt: skip


def list_served(work: Work, *, after: str = "", limit: int = 1_000) -> list[Served]:
    """Return a page of the links to serve."""
    return [
        Served(row.id, row.charger_id, hash(tuple(getattr(row, name) for name in _MARKED)))
        for row in store.served_links(work, after=after, limit=limit)
    ]


def away(work: Work, charger_ids: Collection[str], grace: timedelta) -> set[str]:
    """Return which of these chargers have been away for longer than this."""
    return set(store.away_of(work, charger_ids, work.now - grace))


def owes(work: Work, link: Serving, actions: Collection[str]) -> bool:
    """Say whether a link has something to tell, even while its charger is away.

    That is sayings of these actions that its operator was not told, or refused and is told again.
    """
    if any(row.status == "retrying" for row in deliveries_store.open_deliveries(work, link.id)):
        return True
    row = store.find_link(work, link.id)
    after = link.cursor if row is None else row.cursor
    is_more = True
    while is_more:
        said, is_more = calls.said_after(work, {link.charger_id: after}, limit=LOOKED_AT)
        if any(each.action in actions for each in said):
            return True
        after = said[-1].number if said else after
    return False


def was_decided(work: Work, link_id: str, blocked: Collection[int]) -> bool:
    """Say whether somebody has something told again or skipped that an operator refused.

    ``blocked`` are the transactions that wait for such a decision, as far as its line knows.
    """
    rows = deliveries_store.open_deliveries(work, link_id)
    is_again = any(row.status == "retrying" and row.tries == 0 for row in rows)
    return is_again or not set(blocked) <= {row.transaction_number for row in rows}


def facts(work: Work, charger_id: str) -> Facts:
    """Return what an operator may know of a charger."""
    row = store.find_charger(work, charger_id)
    assert row is not None
    return Facts(
        row.vendor or "Unknown",
        row.model or "Unknown",
        row.serial,
        None,
        row.firmware,
        row.iccid,
        row.imsi,
        row.meter_type,
        row.meter_serial,
        is_online=row.session_id is not None,
        gone_at=row.disconnected_at,
        statuses=tuple(
            (each.number, each.status, each.error, each.info, each.vendor_error, each.status_at)
            for each in store.connectors_of(work, charger_id)
        ),
        running=tuple(
            (each.number, each.connector, each.started_at) for each in store.running_of(work, charger_id)
        ),
    )


def standing(work: Work, link_id: str, charger_id: str) -> tuple[Serving | None, Facts]:
    """Return a link as it is stored now, and its charger: by these it is decided what is done for it."""
    return find(work, link_id), facts(work, charger_id)


@dataclass(frozen=True, slots=True)
class Situation:
    """Where a link stands when it connects: the end of its charger's log, the charger, the readings told
    last.
    """

    number: int
    facts: Facts
    latest: tuple[Said, ...]


def situation(work: Work, link: Serving) -> Situation:
    """Return where a link stands at one instant."""
    return Situation(
        calls.last_number_of(work, link.charger_id),
        facts(work, link.charger_id),
        tuple(latest_readings(work, link.charger_id, link.cursor)),
    )


@dataclass(frozen=True, slots=True)
class Farewell:
    """A transaction that an operator believes to run, for its last word about it; ``number`` is ours."""

    number: int
    theirs: int
    meter_wh: int
    id_tag: str


def farewells(work: Work, link_id: str) -> list[Farewell]:
    """Return what has to be ended for an operator that is disconnected."""
    rows = [row for row in store.open_numbers(work, link_id) if row.theirs is not None]
    registers = store.registers_of(work, [row.number for row in rows])
    return [Farewell(row.number, row.theirs, registers.get(row.number, 0), row.id_tag) for row in rows]


def known(work: Work, link_id: str, numbers: Collection[int]) -> dict[int, Known]:
    """Return what an operator knows of transactions of ours, by our numbers."""
    return {
        row.number: Known(row.number, row.theirs, row.state)
        for row in store.find_numbers(work, [link_id], numbers)
    }


def ours(work: Work, link_id: str, theirs: int) -> int | None:
    """Return our number of a transaction that an operator knows by its own, None for a strange one."""
    row = store.find_theirs(work, link_id, theirs)
    return None if row is None or row.state not in {"open", "refused"} else int(row.number)


def verdict_of(work: Work, link_id: str, charger_id: str, call_number: int) -> str:
    """Return what an operator said of the card of a start that it was told before; empty where it did not."""
    number = calls.transaction_of(work, charger_id, call_number)
    rows = store.find_numbers(work, [link_id], [number]) if number is not None else []
    return rows[0].verdict if rows else ""


def latest_readings(work: Work, charger_id: str, cursor: int) -> list[Said]:
    """Return the readings that were told last before a cursor."""
    return calls.said_last(work, charger_id, "MeterValues", until=cursor, limit=LATEST)


@dataclass(frozen=True, slots=True)
class Fed:
    """What is next for a link: sayings in order, and what its operator knows of their transactions.

    ``is_all`` says that there was no more when this was read.
    """

    said: tuple[Said, ...]
    known: Mapping[int, Known]
    is_all: bool


class Wish(NamedTuple):
    """What a link wants: what its charger said after a number; ``knows`` are transactions that it knows."""

    charger_id: str
    after: int
    knows: Container[int] = ()


def feed(work: Work, wanted: Mapping[str, Wish], *, limit: int) -> tuple[dict[str, Fed], bool]:
    """Return what is next for links.

    The second value says that there may be more, also for links that got nothing: ask again. One read for
    all the links of a process.
    """
    lowest: dict[str, int] = {}
    for charger_id, cursor, _ in wanted.values():
        lowest[charger_id] = min(cursor, lowest.get(charger_id, cursor))
    rows, is_more = calls.said_after(work, lowest, limit=limit)
    by_charger: dict[str, list[Said]] = {}
    for row in rows:
        by_charger.setdefault(row.charger_id, []).append(row)
    strange: dict[str, set[int]] = {}
    for link_id, wish in wanted.items():
        for row in by_charger.get(wish.charger_id, ()):
            if row.transaction_number is not None and row.transaction_number not in wish.knows:
                strange.setdefault(link_id, set()).add(row.transaction_number)
    ties: dict[str, dict[int, Known]] = {}
    if strange:
        for tie in store.find_numbers(work, list(strange), set[int]().union(*strange.values())):
            if tie.number in strange[tie.link_id]:
                ties.setdefault(tie.link_id, {})[tie.number] = Known(tie.number, tie.theirs, tie.state)
    found = {
        link_id: Fed(
            tuple(row for row in by_charger.get(charger_id, ()) if row.number > cursor),
            ties.get(link_id, {}),
            not is_more,
        )
        for link_id, (charger_id, cursor, _) in wanted.items()
    }
    return found, is_more


def list_owed(work: Work, link_id: str) -> tuple[list[Owed], dict[int, Known]]:
    """Return what a link still owes beyond its cursor, in order; what was forgotten with the log is left
    out.
    """
    rows = deliveries_store.open_deliveries(work, link_id)
    owed = [
        Owed(
            row.number,
            Said(row.call_number, row.charger_id, row.action, row.said, row.said_at, row.transaction_number),
            row.status,
            row.tries,
            row.next_at,
        )
        for row in rows
        if row.said is not None
    ]
    numbers = {each.said.transaction_number for each in owed if each.said.transaction_number is not None}
    return owed, known(work, link_id, numbers)


def record(work: Work, records: Sequence[Record]) -> list[None]:
    """Note messages of many links together, and how far each link has come."""
    fresh = [_row(work, each) for each in records if each.action and each.delivery is None]
    deliveries_store.insert_deliveries(work, fresh)
    for each in records:
        if each.delivery is not None:
            deliveries_store.set_delivery(
                work,
                each.link_id,
                each.delivery,
                status=each.status,
                answer=_kept(each.answer, ANSWER_MAX),
                at=work.now,
                latency_ms=each.latency_ms,
                tries=each.tries,
                next_at=each.next_at,
                note=each.note[:NOTE_MAX],
                payload=each.payload,
                message_id=each.message_id,
            )
    _learn(work, [(each, each.learned) for each in records if each.learned is not None])
    told = {
        each.link_id for each in records if each.status == "done" and not each.is_inward and each.call_number
    }
    store.set_progress(work, _highest(records), told)
    return [None] * len(records)


def _highest(records: Sequence[Record]) -> dict[str, int]:
    found: dict[str, int] = {}
    for each in records:
        if each.cursor:
            found[each.link_id] = max(each.cursor, found.get(each.link_id, 0))
    return found


def _kept(text: str, most: int) -> str:
    """Return a text of others as databases take it: PostgreSQL knows no NUL."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")[:most]


def _row(work: Work, each: Record) -> dict[str, Any]:
    return {
        "link_id": each.link_id,
        "charger_id": each.charger_id,
        "call_number": each.call_number,
        "transaction_number": each.transaction_number,
        "is_inward": each.is_inward,
        "message_id": _kept(each.message_id, 64),
        "action": _kept(each.action, 64),
        "payload": None if each.payload is None else _kept(each.payload, PAYLOAD_MAX),
        "note": each.note[:NOTE_MAX],
        "at": work.now,
        "status": each.status,
        "answer": _kept(each.answer, ANSWER_MAX),
        "latency_ms": each.latency_ms,
        "tries": each.tries,
        "next_at": each.next_at,
    }


def _learn(work: Work, learned: Sequence[tuple[Record, Learned]]) -> None:
    """Keep what deliveries taught about transactions; of one transaction, what came last counts."""
    if not learned:
        return
    numbers = {what.number for _, what in learned}
    known: dict[tuple[str, int], Any] = {
        (row.link_id, row.number): row._asdict()
        for row in store.find_numbers(work, {one.link_id for one, _ in learned}, numbers)
    }
    energies = store.energies_of(work, {what.number for _, what in learned if what.stopped_at is not None})
    for one, what in learned:
        before = known.get((one.link_id, what.number), {})
        known[one.link_id, what.number] = {
            "link_id": one.link_id,
            "number": what.number,
            "theirs": before.get("theirs") if what.theirs is None else what.theirs,
            "state": what.state,
            "verdict": _kept(what.verdict, VERDICT_MAX) or before.get("verdict", ""),
            "id_tag": _kept(what.id_tag, 64) or before.get("id_tag", ""),
            "started_at": what.started_at or before.get("started_at"),
            "stopped_at": what.stopped_at,
            "energy_wh": None if what.stopped_at is None else energies.get(what.number),
        }
    store.upsert_numbers(work, [known[one.link_id, what.number] for one, what in learned])
    for one, what in learned:
        if what.is_late_refusal:
            _refused_late(work, one, what, known[one.link_id, what.number]["id_tag"])


def _refused_late(work: Work, one: Record, what: Learned, id_tag: str) -> None:
    if what.verdict in set(Verdict):
        transactions.set_verdict(work, what.number, Verdict(what.verdict))
    store.delete_verdict(work, one.link_id, tag_key(id_tag)[:64])
    job = EndRefused(one.link_id, one.charger_id, what.number)
    jobs.enqueue(work, job, key=f"end-refused:{what.number}")


def judged(
    work: Work,
    link_id: str,
    id_tag: str,
    verdict: Verdict,
    expires_at: datetime | None,
    parent_tag: str | None,
) -> None:
    """Keep what a Billing operator said of a card: only acceptance counts while it is silent."""
    if verdict is Verdict.ACCEPTED:
        store.upsert_verdict(
            work, link_id, tag_key(id_tag)[:64], expires_at=expires_at, parent_tag=parent_tag
        )
    else:
        store.delete_verdict(work, link_id, tag_key(id_tag)[:64])


def set_state(work: Work, link_id: str, state: str, reason: str) -> None:
    """Note in which state the connection to an operator is, and why; the same again changes nothing."""
    row = store.find_link(work, link_id)
    if row is None or row.is_over or (row.state, row.reason) == (state, reason[:REASON_MAX]):
        return
    values: dict[str, Any] = {"reason": reason[:REASON_MAX]}
    if row.state != state:
        values |= {"state": state, "state_at": work.now}
    store.set_link(work, link_id, **values)
    work.emit(subject(row.location_id, row.charger_id), LinkChanged(link_id, row.charger_id, row.location_id))


def keep_key(work: Work, link_id: str, name: str, value: str) -> None:
    """Keep a configuration key of a link's own."""
    store.upsert_key(work, link_id, name, value)


def keep_password(work: Work, link_id: str, sealed: str) -> None:
    """Keep the password that an operator told us to use from now on; the present one stays until it has."""
    store.set_link(work, link_id, password_next_sealed=sealed)


def confirm_password(work: Work, link_id: str, sealed: str) -> None:
    """Take the new password for the only one: the operator has let us in with it.

    Unless there is yet another one by now, or its owner has set one.
    """
    row = store.find_link(work, link_id)
    if row is not None and row.password_next_sealed == sealed:
        store.set_link(work, link_id, password_sealed=sealed, password_next_sealed=None)


def reservation_of(work: Work, link_id: str, theirs: int) -> str | None:
    """Return the reservation that an operator knows by its own number, None for a strange one."""
    return store.find_reservation(work, link_id, theirs)


def keep_reservation(work: Work, link_id: str, theirs: int, reservation_id: str) -> None:
    """Keep which reservation an operator knows by this number of its own."""
    store.upsert_reservation(work, link_id, theirs, reservation_id)


@dataclass(frozen=True, slots=True)
class Reported:
    """A configuration key as a charger told it last."""

    name: str
    reported: str | None
    is_readonly: bool


def reported(work: Work, charger_id: str) -> list[Reported]:
    """Return the configuration keys that a charger has told of."""
    return [
        Reported(row.name, row.reported, bool(row.is_readonly)) for row in store.reported_of(work, charger_id)
    ]


def set_inoperative(
    work: Work, link_id: str, connector: int, *, is_operative: bool
) -> tuple[str, frozenset[int]]:
    """Note whether an operator wants a connector in use.

    Returns: what it wanted before, for ``restore_inoperative``; and which connectors somebody wants out of
    use now, 0 being the whole charger.
    """
    row = store.find_link(work, link_id)
    assert row is not None
    wished = set(words(row.inoperative))
    wished = wished - {str(connector)} if is_operative else wished | {str(connector)}
    if connector == 0 and is_operative:
        wished = set()
    store.set_link(work, link_id, inoperative=",".join(sorted(wished)))
    others = [each for each in store.links_of(work, row.charger_id) if each.id != link_id]
    out = wished.union(*(words(each.inoperative) for each in others))
    # What people have put out of use, say for a fault, no operator brings back.
    owners = store.owners_out_of_use(work, row.charger_id)
    return row.inoperative, owners.union(int(word) for word in out)


def restore_inoperative(work: Work, link_id: str, before: str) -> None:
    """Forget what an operator wanted of connectors, since the charger would not."""
    store.set_link(work, link_id, inoperative=before)


def leave(work: Work, link_id: str) -> None:
    """Note that nothing is left to do for a link that has ended."""
    store.set_link(work, link_id, is_over=True, state="ended", state_at=work.now, password_sealed=None,
                   password_next_sealed=None, key_sealed=None)  # fmt: skip
