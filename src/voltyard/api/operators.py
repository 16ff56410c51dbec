"""Operators of a charger: connect, look at, change and swap them, and what became of each message."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query
from pydantic import Field, StringConstraints

from voltyard.api.log import NEWER, NUMBER_DIGITS_MAX, OLDER, ONLY, read_place
from voltyard.api.shapes import Inward, Outward, Page, page, refusals, whole
from voltyard.chargers import calls
from voltyard.chargers.calls_report import said
from voltyard.kernel.db import Work
from voltyard.kernel.limits import LINKS_OF_CHARGER_MAX, TAG_LENGTH_MAX
from voltyard.operators import deliveries, limits
from voltyard.operators import service as operators
from voltyard.operators.addresses import URL_LENGTH_MAX
from voltyard.operators.deliveries import DeliveryStatus
from voltyard.operators.directory import DIRECTORY
from voltyard.operators.limits import LimitNow
from voltyard.speech import Fallback, Role
from voltyard.web.auth import Ctx, SignedIn
from voltyard.web.idempotency import OnceRoute
from voltyard.web.paging import AskedPage, to_cursor

router = APIRouter(route_class=OnceRoute, tags=["operators"])

Name = Annotated[str, Field(min_length=1, max_length=operators.NAME_LENGTH_MAX)]
Url = Annotated[
    str,
    Field(
        max_length=URL_LENGTH_MAX,
        description="wss://…; ws:// and private addresses only where the installation allows them.",
    ),
]
Secret = Annotated[str, StringConstraints(strip_whitespace=False)]
"""Its blanks at both ends count."""
Pem = Annotated[str, Field(max_length=operators.PEM_LENGTH_MAX, description="PEM; empty: take it away.")]
DeliveryNumber = Annotated[int, Path(lt=10**NUMBER_DIGITS_MAX)]


# --- links ----------------------------------------------------------------------------------------


class LinkQueue(Outward):
    """What an operator was not told yet."""

    waiting: Annotated[
        int, Field(description=f"Messages; beyond {calls.COUNTED_MAX} new ones are not counted.")
    ]
    since: Annotated[datetime | None, Field(description="When the oldest of the new ones was said.")]
    parked: Annotated[
        int,
        Field(description="Those of them that it refused: they are tried again, or wait for a decision."),
    ]


class Link(Outward):
    """An operator of a charger. Its password and its private key are never shown.

    `state` is connecting, booting, pending, online, rejected, refused, backing_off, waiting (the charger is
    offline) or leaving; `reason` a word or a sentence that says why.
    """

    id: str
    charger_id: str
    charger_name: str
    location_id: str
    name: str
    preset: Annotated[str, Field(description="The `key` of its entry in the directory, or other.")]
    url: str
    is_identity_appended: Annotated[bool, Field(description="Whether `identity` is added to `url`.")]
    identity: Annotated[str, Field(description="As whom the charger comes to this operator.")]
    role: Role
    fallback: Annotated[Fallback, Field(description="Which cards may charge while it is silent.")]
    username: Annotated[str, Field(description="Empty: `identity`.")]
    has_password: bool
    is_password_changing: Annotated[
        bool, Field(description="The operator gave a new password that it did not see yet.")
    ]
    has_certificate: bool
    has_authority: Annotated[bool, Field(description="Only what its own authority has signed is believed.")]
    tag_alias: Annotated[str, Field(description="What it is shown in the place of every card.")]
    is_limiting: Annotated[bool, Field(description="Whether its limits count.")]
    is_boot_on_connect: bool
    consents: Annotated[list[str], Field(description="What it may do beyond its role.")]
    state: str
    reason: str
    state_at: datetime
    queue: LinkQueue
    delivered_at: datetime | None
    created_at: datetime

    @classmethod
    def of(cls, link: operators.Link) -> Link:
        """Return a link in its shape."""
        return cls(
            id=link.id,
            charger_id=link.charger_id,
            charger_name=link.charger_label,
            location_id=link.location_id,
            name=link.name,
            preset=link.preset,
            url=link.url,
            is_identity_appended=link.is_identity_appended,
            identity=link.identity,
            role=link.role,
            fallback=link.fallback,
            username=link.username,
            has_password=link.has_password,
            is_password_changing=link.is_password_changing,
            has_certificate=link.has_certificate,
            has_authority=link.has_authority,
            tag_alias=link.tag_alias,
            is_limiting=link.is_limiting,
            is_boot_on_connect=link.is_boot_on_connect,
            consents=list(link.consents),
            state=link.state,
            reason=link.reason,
            state_at=link.state_at,
            queue=LinkQueue(waiting=link.waiting, since=link.waiting_since_at, parked=link.parked),
            delivered_at=link.delivered_at,
            created_at=link.created_at,
        )


class LinkValues(Inward):
    """What may be said of an operator; what is left out stays as it is, or as it is by default."""

    name: Name | None = None
    url: Url | None = None
    is_identity_appended: bool | None = None
    identity: Annotated[str | None, Field(max_length=operators.IDENTITY_LENGTH_MAX)] = None
    fallback: Fallback | None = None
    username: Annotated[str | None, Field(max_length=operators.NAME_LENGTH_MAX)] = None
    password: Annotated[
        Secret | None,
        Field(description=f"At most {operators.PASSWORD_BYTES_MAX} bytes; empty: take it away. Never shown."),
    ] = None
    is_password_hex: Annotated[bool, Field(description="`password` is hexadecimal.")] = False
    certificate_pem: Pem | None = None
    key_pem: Annotated[
        str | None,
        Field(max_length=operators.PEM_LENGTH_MAX, description="PEM, of the certificate. Never shown."),
    ] = None
    authority_pem: Pem | None = None
    tag_alias: Annotated[str | None, Field(max_length=TAG_LENGTH_MAX)] = None
    is_limiting: bool | None = None
    is_boot_on_connect: bool | None = None
    consents: Annotated[
        list[str] | None,
        Field(max_length=len(operators.CONSENTS), description=f"Of {', '.join(operators.CONSENTS)}."),
    ] = None

    def wanted(self) -> operators.Wanted:
        """Return what is wanted of a link."""
        said_of_it: dict[str, Any] = {name: getattr(self, name) for name in type(self).model_fields}
        consents = None if self.consents is None else tuple(self.consents)
        return operators.Wanted(**said_of_it | {"consents": consents})


class LinkChange(LinkValues):
    """What changes of an operator."""

    role: Role | None = None


class LinkTrial(LinkChange):
    """An operator to be tried out, or what to try otherwise than it is."""

    preset: str | None = None


class NewLink(LinkValues):
    """An operator to be connected; with `preset`, what its entry in the directory knows may be left out."""

    role: Role
    preset: str | None = None
    is_running_told: Annotated[
        bool, Field(description="Tell it of transactions that run already, from their start.")
    ] = False


class Swap(Inward):
    """What the operator may do from now on that bills until now."""

    former_role: Role = Role.OBSERVER


class TestStep(Outward):
    """One step of a test: `url`, `dns`, `address`, `tcp`, `tls`, `http`, `subprotocol` or `open`."""

    step: str
    is_ok: bool
    why: str


class LinkTest(Outward):
    """How far a test came; the first step that is not ok is the last one."""

    attempts: list[TestStep]


class LinkEvent(Outward):
    """One thing that somebody did to an operator: connected, changed, swapped or disconnected it."""

    at: datetime
    actor_kind: str
    actor_id: str
    door: str
    what: str
    detail: Annotated[dict[str, Any], Field(description="The values it was given; of a secret: changed.")]


class ComparedTransaction(Outward):
    """A transaction as we know it and as an operator does."""

    number: int
    theirs: Annotated[int | None, Field(description="Its number at the operator; null: it gave none.")]
    state: Annotated[str, Field(description="pending, open, stopped, refused or unknown.")]
    verdict: Annotated[str, Field(description="What it said of the card; empty: nothing.")]
    id_token: str
    started_at: datetime | None
    stopped_at: datetime | None
    energy_wh: int | None


class Comparison(Outward):
    """What an operator has seen of the latest transactions, and the cards that it would have refused."""

    transactions: list[ComparedTransaction]
    refused_id_tokens: list[str]
    energy_wh: int


class DirectoryEntry(Outward):
    """An operator that people know by name; without `url`, it tells each customer its own."""

    key: str
    name: str
    role: Role
    url: str
    hint: str
    is_password_needed: bool
    is_boot_on_connect: bool


_COLUMNS: Final = MappingProxyType({"password_sealed": "password", "key_sealed": "key_pem"})
_UNTOLD: Final = "password_next_sealed"
"""What is changed along with the password."""


def _event(change: operators.Change) -> LinkEvent:
    told = said(change.detail)
    detail = {_COLUMNS.get(name, name): value for name, value in told.items() if name != _UNTOLD}
    return LinkEvent(
        at=change.at,
        actor_kind=change.actor_kind,
        actor_id=change.actor_id,
        door=change.door,
        what=change.what,
        detail=detail,
    )


def _compared(each: operators.Compared) -> ComparedTransaction:
    return ComparedTransaction(
        number=each.number,
        theirs=each.theirs,
        state=each.state,
        verdict=each.verdict,
        id_token=each.id_tag,
        started_at=each.started_at,
        stopped_at=each.stopped_at,
        energy_wh=each.energy_wh,
    )


@router.get("/operator-directory", responses=refusals())
async def list_directory(_caller: SignedIn) -> Page[DirectoryEntry]:
    """List the operators that people know by name, and how to reach them."""
    return whole(list(DIRECTORY.values()), DirectoryEntry.model_validate)


@router.get("/operators", responses=refusals(403, 404))
async def list_operators(
    ctx: Ctx,
    caller: SignedIn,
    asked: AskedPage,
    charger: Annotated[str | None, Query(max_length=40, description="Only those of this charger.")] = None,
) -> Page[Link]:
    """List the operators of all chargers whose sensitive data one may see, the oldest first."""
    found = await ctx.db.read(
        caller.actor,
        operators.list_links,
        charger_id=charger,
        after=asked.after_id("link"),
        limit=asked.most,
    )
    return page(asked.slice(found, lambda link: link.id), Link.of)


@router.get("/chargers/{charger_id}/operators", responses=refusals(403, 404))
async def list_operators_of_charger(
    ctx: Ctx, caller: SignedIn, charger_id: str, asked: AskedPage
) -> Page[Link]:
    """List the operators of a charger, the oldest first."""
    return await list_operators(ctx, caller, asked, charger_id)


@router.post("/chargers/{charger_id}/operators", status_code=201, responses=refusals(403, 404, 409))
async def connect_operator(ctx: Ctx, caller: SignedIn, charger_id: str, new: NewLink) -> Link:
    """Connect an operator to a charger; it is told what is said from now on. One at most bills."""
    link = await ctx.db.work(caller.actor, operators.connect, charger_id, new.wanted(), ctx.settings)
    return Link.of(link)


@router.post("/chargers/{charger_id}/operators/test", responses=refusals(403, 404, 504))
async def try_new_operator(ctx: Ctx, caller: SignedIn, charger_id: str, trial: LinkTrial) -> LinkTest:
    """Try to reach an operator, and tell each step; nothing is stored, and no word of OCPP is said."""
    tested = await operators.try_out(ctx, caller.actor, charger_id, trial.wanted())
    return LinkTest.model_validate(tested)


@router.get("/operators/{link_id}", responses=refusals(403, 404))
async def read_operator(ctx: Ctx, caller: SignedIn, link_id: str) -> Link:
    """Return an operator of a charger."""
    return Link.of(await ctx.db.read(caller.actor, operators.get, link_id))


@router.patch("/operators/{link_id}", responses=refusals(403, 404, 409))
async def change_operator(ctx: Ctx, caller: SignedIn, link_id: str, change: LinkChange) -> Link:
    """Change an operator; it is connected anew, and misses nothing."""
    link = await ctx.db.work(caller.actor, operators.change, link_id, change.wanted(), ctx.settings)
    return Link.of(link)


@router.delete("/operators/{link_id}", status_code=204, responses=refusals(403, 404))
async def disconnect_operator(ctx: Ctx, caller: SignedIn, link_id: str) -> None:
    """Disconnect an operator; one that bills is told that running transactions end for it."""
    await ctx.db.work(caller.actor, operators.disconnect, link_id)


@router.post("/operators/{link_id}/make-billing", responses=refusals(403, 404, 409))
async def make_operator_billing(ctx: Ctx, caller: SignedIn, link_id: str, swap: Swap | None = None) -> Link:
    """Let an operator bill, and the one that did until now do something else, in one step."""
    former = (swap or Swap()).former_role
    return Link.of(await ctx.db.work(caller.actor, operators.make_billing, link_id, former=former))


@router.post("/operators/{link_id}/test", responses=refusals(403, 404, 504))
async def try_operator(ctx: Ctx, caller: SignedIn, link_id: str, trial: LinkTrial | None = None) -> LinkTest:
    """Try to reach an operator as it is, or with what is given instead; nothing is stored.

    Many operators drop a charger's older connection for a newer one.
    """
    link = await ctx.db.read(caller.actor, operators.get, link_id)
    wanted = (trial or LinkTrial()).wanted()
    tested = await operators.try_out(ctx, caller.actor, link.charger_id, wanted, link_id)
    return LinkTest.model_validate(tested)


@router.get("/operators/{link_id}/history", responses=refusals(403, 404))
async def list_operator_history(ctx: Ctx, caller: SignedIn, link_id: str) -> Page[LinkEvent]:
    """List the latest things that were done to an operator, newest first."""
    return whole(await ctx.db.read(caller.actor, operators.history, link_id), _event)


@router.get("/operators/{link_id}/comparison", responses=refusals(403, 404))
async def compare_operator(ctx: Ctx, caller: SignedIn, link_id: str) -> Comparison:
    """Tell what an operator has seen of the latest transactions."""
    found = await ctx.db.read(caller.actor, operators.compare, link_id)
    return Comparison(
        transactions=[_compared(each) for each in found.transactions],
        refused_id_tokens=list(found.refused_tags),
        energy_wh=found.energy_wh,
    )


# --- deliveries -----------------------------------------------------------------------------------


class Delivery(Outward):
    """One message between an operator and Voltyard, with what the operator, or Voltyard, answered.

    `payload` is what went over the operator's socket; `said` what the charger had said, null where that is
    the same. What is no JSON is shown as text.
    """

    number: Annotated[int, Field(description="Its place among all messages; numbers rise, with gaps.")]
    link_id: str
    call_number: Annotated[int | None, Field(description="The number of what was said in the log.")]
    transaction_number: int | None
    is_inward: Annotated[bool, Field(description="The operator asked.")]
    message_id: str
    action: str
    payload: Any
    said: Any
    note: Annotated[list[str], Field(description="What was changed, or why it was refused: words.")]
    at: datetime
    said_at: datetime | None
    status: DeliveryStatus
    answer: Any
    latency_ms: float | None
    tries: int
    next_at: Annotated[datetime | None, Field(description="When it is tried again.")]

    @classmethod
    def of(cls, found: deliveries.Delivery) -> Delivery:
        """Return a delivery in its shape."""
        return cls(
            number=found.number,
            link_id=found.link_id,
            call_number=found.call_number,
            transaction_number=found.transaction_number,
            is_inward=found.is_inward,
            message_id=found.message_id,
            action=found.action,
            payload=said(found.payload),
            said=said(found.said),
            note=list(found.note),
            at=found.at,
            said_at=found.said_at,
            status=found.status,
            answer=said(found.answer),
            latency_ms=found.latency_ms,
            tries=found.tries,
            next_at=found.next_at,
        )


class DeliveryPage(Outward):
    """A page of deliveries, newest first; `next` leads to older ones, `previous` to newer ones.

    `previous` is there even when nothing newer is: asking for it again tells what has come since.
    """

    items: list[Delivery]
    next: str | None
    previous: str | None


@router.get("/operators/{link_id}/deliveries", responses=refusals(403, 404))
async def list_deliveries(
    ctx: Ctx,
    caller: SignedIn,
    link_id: str,
    asked: AskedPage,
    status: Annotated[
        list[DeliveryStatus] | None, Query(description="What became of them; repeat it for more than one.")
    ] = None,
    action: Annotated[list[str] | None, Query(max_length=64, description=ONLY)] = None,
    is_inward: Annotated[
        bool | None, Query(description="Only what the operator asked, or only what it was told.")
    ] = None,
    significant: Annotated[
        bool,
        Query(description=f"Leave out {', '.join(deliveries.INSIGNIFICANT)}, unless `action` names them."),
    ] = False,
) -> DeliveryPage:
    """List what an operator was told and what it asked, newest first."""
    place = read_place(asked.cursor)
    found = await ctx.db.read(
        caller.actor,
        deliveries.list_deliveries,
        link_id,
        statuses=status or (),
        actions=action or (),
        is_significant=significant,
        is_inward=is_inward,
        before=place.get("before"),
        after=place.get("after"),
        limit=asked.most,
    )
    shown = found[: asked.limit]
    is_upward = "after" in place
    if is_upward:
        shown.reverse()
    newest = shown[0].number if shown else place.get("after")
    has_older = bool(shown) and (is_upward or len(found) > asked.limit)
    return DeliveryPage(
        items=[Delivery.of(each) for each in shown],
        next=to_cursor(f"{OLDER}{shown[-1].number}") if has_older else None,
        previous=to_cursor(f"{NEWER}{newest}") if newest is not None else None,
    )


@router.post("/operators/{link_id}/deliveries/{number}/retry", responses=refusals(403, 404, 409))
async def retry_delivery(ctx: Ctx, caller: SignedIn, link_id: str, number: DeliveryNumber) -> Delivery:
    """Tell an operator once more, now, what it refused."""
    return Delivery.of(await ctx.db.work(caller.actor, deliveries.retry, link_id, number))


@router.post("/operators/{link_id}/deliveries/{number}/skip", responses=refusals(403, 404, 409))
async def skip_delivery(ctx: Ctx, caller: SignedIn, link_id: str, number: DeliveryNumber) -> Delivery:
    """Give up what an operator refused; what follows in its transaction is told."""
    return Delivery.of(await ctx.db.work(caller.actor, deliveries.skip, link_id, number))


@router.get("/chargers/{charger_id}/log/{number:int}/deliveries", responses=refusals(403, 404))
async def list_deliveries_of_call(
    ctx: Ctx, caller: SignedIn, charger_id: str, number: DeliveryNumber
) -> Page[Delivery]:
    """List what became of one saying of a charger at each of its operators."""
    return whole(await ctx.db.read(caller.actor, deliveries.of_call, charger_id, number), Delivery.of)


# --- limits ---------------------------------------------------------------------------------------


class LimitedBy(Outward):
    """An operator that holds a limit; its name is null once it is disconnected."""

    id: str
    name: str | None


class ConnectorLimit(Outward):
    """The current at which operators hold a connector; `connector_id` 0 is the charger as a whole."""

    connector_id: int
    limit_a: float | None
    by: list[LimitedBy]
    word: Annotated[str, Field(description="The charger's answer to it.")]
    sent_at: datetime


def _limits(work: Work, charger_id: str) -> tuple[list[LimitNow], Mapping[str, str]]:
    links = operators.list_links(work, charger_id=charger_id, limit=LINKS_OF_CHARGER_MAX)
    return limits.limits_now(work, charger_id), {link.id: link.name for link in links}


@router.get("/chargers/{charger_id}/limits", responses=refusals(403, 404))
async def list_limits(ctx: Ctx, caller: SignedIn, charger_id: str) -> Page[ConnectorLimit]:
    """List the limits at which operators hold a charger now, and who holds them."""
    found, names = await ctx.db.read(caller.actor, _limits, charger_id)
    return whole(
        found,
        lambda each: ConnectorLimit(
            connector_id=each.connector,
            limit_a=each.limit_a,
            by=[LimitedBy(id=link_id, name=names.get(link_id)) for link_id in each.by],
            word=each.word,
            sent_at=each.sent_at,
        ),
    )
