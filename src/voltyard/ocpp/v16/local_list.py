"""The list of cards that a charger keeps. OCPP 1.6 §3.5, the profile Local Auth List Management."""

from __future__ import annotations

from typing import Annotated, Literal, assert_never

from msgspec import Meta

from voltyard.kernel.errors import Invalid
from voltyard.ocpp.v16 import told
from voltyard.ocpp.v16.messages import Count, IdTag, IdTagInfo, Payload
from voltyard.ocpp.v16.writing import request, seconds
from voltyard.speech import CardsVersion, ListedCard, ReplaceCards, TellCardsVersion, UpdateCards

NO_LIST = -1
"""OCPP 1.6 §5.10: the version of the list of a charger that keeps none."""


class AuthorizationData(Payload, frozen=True):
    """OCPP 1.6 §7.1; without a verdict the card is taken off the list."""

    id_tag: IdTag
    id_tag_info: IdTagInfo | None = None


class SendLocalList(Payload, frozen=True):
    """OCPP 1.6 §6.41."""

    list_version: Count
    update_type: Literal["Differential", "Full"]
    local_authorization_list: list[AuthorizationData] | None = None


class SendLocalListAnswer(Payload, frozen=True):
    """OCPP 1.6 §6.42."""

    status: Literal["Accepted", "Failed", "NotSupported", "VersionMismatch"]


class GetLocalListVersion(Payload, frozen=True):
    """OCPP 1.6 §6.27."""


class GetLocalListVersionAnswer(Payload, frozen=True):
    """OCPP 1.6 §6.28."""

    list_version: Annotated[int, Meta(ge=NO_LIST, le=2**31 - 1)]


def write(ask: ReplaceCards | UpdateCards | TellCardsVersion) -> tuple[str, bytes]:
    """Write an ask about the list of cards as an action and its payload. Raises: Invalid."""
    match ask:
        case ReplaceCards(version, cards):
            for place, card in enumerate(cards):
                if card.verdict is None:
                    pointer = f"/cards/{place}/verdict"
                    raise Invalid("a list from new needs a verdict on each card", ((pointer, "is missing"),))
            return _send("Full", version, cards)
        case UpdateCards(version, cards):
            return _send("Differential", version, cards)
        case TellCardsVersion():
            return request(GetLocalListVersion, {})
    assert_never(ask)


def read_version(payload: bytes) -> CardsVersion | None:
    """Understand the answer to GetLocalListVersion; None if it bears no version. Never raises."""
    answer = told.read(told.CARDS_VERSION, payload, [])
    if answer is None or answer.list_version is None:
        return None
    return CardsVersion(answer.list_version)


def _send(kind: str, version: int, cards: tuple[ListedCard, ...]) -> tuple[str, bytes]:
    listed = [_listed(card) for card in cards]
    return request(
        SendLocalList,
        {"listVersion": version, "updateType": kind, "localAuthorizationList": listed or None},
    )


def _listed(card: ListedCard) -> dict[str, object]:
    if card.verdict is None:
        return {"idTag": card.id_tag}
    info = {
        "status": card.verdict,
        "expiryDate": seconds(card.expires_at),
        "parentIdTag": card.parent_tag,
    }
    return {"idTag": card.id_tag, "idTagInfo": info}
