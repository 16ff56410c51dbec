"""Firmware: uploaded files, and updates of chargers with them."""

from __future__ import annotations

import asyncio
from datetime import datetime
from types import MappingProxyType
from typing import Annotated, Any, Final

from fastapi import APIRouter
from pydantic import AwareDatetime, Field
from starlette.requests import Request

from voltyard.api.shapes import Inward, Outward, Page, page, refusals
from voltyard.api.transfers import Address, Retries, RetryInterval, Transfer
from voltyard.chargers import firmware
from voltyard.chargers.firmware import Wish
from voltyard.kernel.limits import FIRMWARE_BYTES_MAX, FIRMWARE_CHARGERS_MAX, FORM_BYTES_MAX
from voltyard.web.auth import Ctx, SignedIn
from voltyard.web.doorway import GuardedRoute
from voltyard.web.idempotency import OnceRoute
from voltyard.web.paging import AskedPage
from voltyard.web.uploads import take

router = APIRouter(route_class=OnceRoute, tags=["firmware and files"])
# A key would need the whole body before the file is read; the same upload is there once by itself.
uploads = APIRouter(route_class=GuardedRoute, tags=["firmware and files"])
LARGER: Final = MappingProxyType({("POST", "/firmware"): FIRMWARE_BYTES_MAX + FORM_BYTES_MAX})
_TEXT: Final = MappingProxyType({"type": "string", "maxLength": firmware.TEXT_LENGTH})
FORM: Final = MappingProxyType(
    {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", "version"],
                    "properties": {
                        "version": {**_TEXT, "description": "As the charger will tell it."},
                        "vendor": {**_TEXT, "description": "Empty: for any."},
                        "model": {**_TEXT, "description": "Empty: for any."},
                        "signature": {
                            "type": "string",
                            "maxLength": firmware.SIGNATURE_LENGTH_MAX,
                            "description": "In base64, for signed updates.",
                        },
                        "certificate": {
                            "type": "string",
                            "maxLength": firmware.CERTIFICATE_LENGTH_MAX,
                            "description": "PEM of the certificate that signed it.",
                        },
                        "team_id": {"type": "string", "description": "Your personal team unless named."},
                        "file": {"type": "string", "format": "binary"},
                    },
                }
            }
        },
    }
)


class Firmware(Outward):
    """Firmware that a team has uploaded; the same bytes with the same version are there once."""

    id: str
    team_id: str
    name: str
    version: str
    vendor: str
    model: str
    size_bytes: int
    sha256: str
    is_signed: bool
    created_at: datetime


class Timing(Inward):
    """When a charger fetches and installs, and how often it tries."""

    retrieve_at: Annotated[AwareDatetime | None, Field(description="Not before; at once if left out.")] = None
    install_at: Annotated[AwareDatetime | None, Field(description="Signed updates only.")] = None
    retries: Retries | None = None
    retry_interval_s: RetryInterval | None = None
    is_signed: Annotated[bool, Field(description="Have the charger check the signature.")] = False

    def wish(self) -> Wish:
        """Return it as the room has it."""
        return Wish(self.retrieve_at, self.install_at, self.retries, self.retry_interval_s, self.is_signed)


class Update(Timing):
    """New firmware for a charger: uploaded, or at an address with the version that is expected of it."""

    firmware_id: str = ""
    address: Address = ""
    version: Annotated[str, Field(max_length=firmware.TEXT_LENGTH)] = ""


class ManyUpdates(Timing):
    """New firmware for many chargers."""

    charger_ids: Annotated[list[str], Field(min_length=1, max_length=FIRMWARE_CHARGERS_MAX)]


class OrderedUpdates(Outward):
    """What was ordered; `skipped` are chargers for which an update is under way."""

    transfers: list[Transfer]
    skipped: list[str]


@router.get("/firmware", responses=refusals())
async def list_firmware(ctx: Ctx, caller: SignedIn, asked: AskedPage) -> Page[Firmware]:
    """List the firmware of your teams, newest first."""
    found = await ctx.db.read(
        caller.actor, firmware.list_firmware, after=asked.after_id("fw"), limit=asked.most
    )
    return page(asked.slice(found, lambda each: each.id), Firmware.model_validate)


@uploads.post(
    "/firmware",
    status_code=201,
    responses=refusals(403, 409, 413),
    openapi_extra={"requestBody": dict[str, Any](FORM)},
)
async def upload_firmware(ctx: Ctx, caller: SignedIn, request: Request) -> Firmware:
    """Upload firmware. The same file with the same version is there once, however often it is sent."""
    await ctx.db.read(caller.actor, firmware.require_upload)
    taken = await take(request, ctx.files, bytes_max=FIRMWARE_BYTES_MAX)
    try:
        said = firmware.tidy(
            name=taken.name,
            version=taken.fields.get("version", ""),
            vendor=taken.fields.get("vendor", ""),
            model=taken.fields.get("model", ""),
            signature=taken.fields.get("signature", ""),
            certificate_pem=taken.fields.get("certificate", ""),
        )
        kept = await firmware.add(ctx, caller.actor, taken.arriving, said, taken.fields.get("team_id"))
    finally:
        await asyncio.to_thread(taken.arriving.drop)
    return Firmware.model_validate(kept)


@router.get("/firmware/{firmware_id}", responses=refusals(404))
async def read_firmware(ctx: Ctx, caller: SignedIn, firmware_id: str) -> Firmware:
    """Return what is known of a firmware file."""
    return Firmware.model_validate(await ctx.db.read(caller.actor, firmware.get, firmware_id))


@router.delete("/firmware/{firmware_id}", status_code=204, responses=refusals(404, 409))
async def delete_firmware(ctx: Ctx, caller: SignedIn, firmware_id: str) -> None:
    """Delete firmware that no charger is still to fetch."""
    await firmware.remove(ctx, caller.actor, firmware_id)


@router.post("/chargers/{charger_id}/firmware", status_code=201, responses=refusals(403, 404, 409))
async def update_charger(ctx: Ctx, caller: SignedIn, charger_id: str, update: Update) -> Transfer:
    """Ask a charger to install new firmware. A running charge may be interrupted by it.

    Once the charger has accepted, it cannot be called back.
    """
    begun = await firmware.update(
        ctx,
        caller.actor,
        charger_id,
        firmware_id=update.firmware_id,
        address=update.address,
        version=update.version,
        wish=update.wish(),
    )
    return Transfer.model_validate(begun)


@router.post("/firmware/{firmware_id}/updates", status_code=202, responses=refusals(403, 404))
async def update_chargers(
    ctx: Ctx, caller: SignedIn, firmware_id: str, update: ManyUpdates
) -> OrderedUpdates:
    """Order an update for many chargers: each is asked as soon as it is online, a few at a time."""
    ordered = await firmware.update_many(
        ctx, caller.actor, update.charger_ids, firmware_id=firmware_id, wish=update.wish()
    )
    return OrderedUpdates(
        transfers=[Transfer.model_validate(each) for each in ordered.transfers],
        skipped=list(ordered.skipped),
    )
