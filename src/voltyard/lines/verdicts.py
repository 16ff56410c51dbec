"""What an operator's answer decides about a card, or about a DataTransfer."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec

from voltyard.kernel.limits import TAG_LENGTH_MAX
from voltyard.ocpp.v16.told import in_utc
from voltyard.operators.events import Verdicted
from voltyard.speech import VendorReply, Verdict

_VENDOR: Final = frozenset(("Accepted", "Rejected", "UnknownMessageId", "UnknownVendorId"))
"""OCPP 1.6 §7.16."""


class _TagInfo(msgspec.Struct, rename="camel"):
    status: str = ""
    expiry_date: datetime | None = None
    parent_id_tag: str | None = None


class _Told(msgspec.Struct, rename="camel"):
    id_tag_info: _TagInfo | None = None
    status: str = ""
    data: str | None = None


def verdicted(action: str, status: str, answer: bytes) -> Verdicted:
    """Return what an operator's answer decides: nothing unless it was one that can be understood."""
    if status != "done":
        return Verdicted()
    try:
        told = msgspec.json.decode(answer, type=_Told)
    except (msgspec.DecodeError, RecursionError):
        return Verdicted()
    if action == "DataTransfer":
        is_answer = told.status in _VENDOR
        return Verdicted(vendor=VendorReply(told.status, told.data) if is_answer else None)
    info = told.id_tag_info
    if info is None:
        return Verdicted()
    parent_tag = info.parent_id_tag
    # OCPP 1.6 §7.28: IdToken.
    if parent_tag is not None and (len(parent_tag) > TAG_LENGTH_MAX or not parent_tag.isprintable()):
        parent_tag = None
    return Verdicted(verdict_of(info.status), in_utc(info.expiry_date, []), parent_tag)


def verdict_of(word: str) -> Verdict | None:
    """Return an operator's word about a card as a verdict, None for none that there is."""
    try:
        return Verdict(word)
    except ValueError:
        return None
