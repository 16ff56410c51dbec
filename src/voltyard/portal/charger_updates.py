"""Firmware and files of a charger: updates and how far they are, diagnostics and what came of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from types import MappingProxyType
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from voltyard.accounts import service as accounts
from voltyard.chargers import firmware, security, transfers
from voltyard.chargers import service as chargers
from voltyard.chargers.firmware import Wish
from voltyard.chargers.stages import UPLOADS, Kind, Stage, is_same_version
from voltyard.chargers.transfers import Transfer
from voltyard.kernel.db import Work
from voltyard.kernel.errors import Gone, Invalid, NotFound, VoltyardError
from voltyard.kernel.limits import (
    FIRMWARE_BYTES_MAX,
    FIRMWARE_CHARGERS_MAX,
    FORM_BYTES_MAX,
    PAGE_DEFAULT,
)
from voltyard.locations import service as locations
from voltyard.locations.access import Permission
from voltyard.portal import shell as shells
from voltyard.portal.chargers import frame
from voltyard.portal.figures import all_chargers, all_locations
from voltyard.portal.shell import BLANK, Here, Visit, refused
from voltyard.portal.words import Look, _
from voltyard.speech import ConnectorStatus
from voltyard.web.doorway import GuardedRoute
from voltyard.web.paging import to_number
from voltyard.web.problems import status_of
from voltyard.web.uploads import take

router = APIRouter(route_class=GuardedRoute)
Text = Annotated[str, Form()]
LARGER: Final = MappingProxyType({("POST", "/firmware"): FIRMWARE_BYTES_MAX + FORM_BYTES_MAX})
FIRMWARE_SHOWN = 50
TYPED: Final = "typed"
"""The value of a choice that means: what stands in the fields beside it."""
LOOPBACK: Final = frozenset(("localhost", "127.0.0.1", "::1"))
CHARGING: Final = frozenset(
    (ConnectorStatus.CHARGING, ConnectorStatus.SUSPENDED_EV, ConnectorStatus.SUSPENDED_EVSE)
)

KINDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        Kind.DIAGNOSTICS.value: _("Diagnostics"),
        Kind.LOG.value: _("Log"),
        Kind.SECURITY_LOG.value: _("Security log"),
    }
)
PERIODS: Final[Mapping[str, str]] = MappingProxyType(
    {"": _("All there is"), "1": _("Last hour"), "24": _("Last day"), "168": _("Last week")}
)

STAGE: Final[Mapping[str, Look]] = MappingProxyType(
    {
        "waiting": Look(_("Waiting for the charger"), "info", _("It is asked as soon as it is online.")),
        "asked": Look(_("Asked"), "info", _("The charger has accepted. It begins when it is ready.")),
        "refused": Look(_("Refused"), "bad", _("The charger refused. Its log of calls tells more.")),
        "unable": Look(_("Not supported"), "bad", _("The charger does not know how to do this.")),
        "offline": Look(
            _("Charger offline"), "warn", _("It was not asked. Check its power and network, then try again.")
        ),
        "silent": Look(
            _("No answer"), "warn", _("The charger gave no answer; it may have begun all the same.")
        ),
        "cancelled": Look(_("Cancelled"), "mute"),
        "replaced": Look(_("Replaced"), "mute", _("A later request took its place.")),
        "timed_out": Look(
            _("Timed out"), "bad", _("Nothing more was heard. See whether the charger reaches the address.")
        ),
        "uploading": Look(_("Uploading"), "live", _("The file is on its way.")),
        "received": Look(_("Received"), "good"),
        "sent": Look(_("Sent"), "good", _("The charger says that it has left the file at your address.")),
        "missing": Look(
            _("Nothing arrived"),
            "warn",
            _("The charger says that it has sent the file, but none has come. It may lack the way to us."),
        ),
        "nothing": Look(_("Nothing to send"), "mute", _("The charger has nothing of this time.")),
        "failed": Look(
            _("Failed"), "bad", _("The file did not get through. The charger may try again by itself.")
        ),
        "scheduled": Look(_("Scheduled"), "info", _("The charger fetches it at its time.")),
        "downloading": Look(_("Downloading"), "live", _("The charger fetches the firmware.")),
        "paused": Look(_("Download paused"), "warn", _("The charger goes on when it can.")),
        "downloaded": Look(_("Downloaded"), "live", _("The firmware is in the charger, not yet installed.")),
        "verified": Look(_("Signature verified"), "live", _("The firmware is what its maker signed.")),
        "install_scheduled": Look(_("Waits to install"), "info", _("The charger installs it at its time.")),
        "installing": Look(_("Installing"), "live", _("Do not cut the charger's power.")),
        "rebooting": Look(_("Restarting"), "live", _("The charger restarts to use the firmware.")),
        "installed": Look(_("Installed"), "good"),
        "download_failed": Look(
            _("Download failed"),
            "bad",
            _("The charger could not fetch the firmware: see whether it reaches the address."),
        ),
        "bad_signature": Look(
            _("Wrong signature"), "bad", _("The charger did not accept the signature. Nothing was installed.")
        ),
        "verification_failed": Look(
            _("Verification failed"), "bad", _("The firmware did not pass the charger's own check.")
        ),
        "install_failed": Look(
            _("Installation failed"), "bad", _("The charger keeps the firmware that it had.")
        ),
    }
)
PROVEN = Look(_("Installed"), "good", _("Now %(after)s."))
OTHER = Look(_("Installed"), "warn", _("Now %(after)s, not the %(wanted)s that was wanted."))
UNPROVEN = Look(
    _("Installed, not proven"), "warn", _("The charger says so, but it still tells version %(after)s.")
)
AWAITED = Look(
    _("Installed"), "good", _("The charger says so. Its next start tells whether the version is the new one.")
)


def look_of(transfer: Transfer) -> Look:
    """Return how a transfer is shown: badge, tone and a sentence."""
    if transfer.stage is not Stage.INSTALLED:
        return STAGE[transfer.stage.value]
    if transfer.is_proven is None:
        return AWAITED
    if transfer.is_proven:
        return PROVEN
    return UNPROVEN if transfer.version_after == transfer.version_before else OTHER


def name_of(transfer: Transfer) -> str:
    """Return what a transfer is about, in our words."""
    return KINDS.get(transfer.kind.value, _("Firmware"))


def view(work: Work, charger_id: str, after: str) -> dict[str, Any]:
    """Return the transfers of a charger, the firmware one may send it, and who asked for what."""
    values = frame(work, charger_id)
    charger = values["charger"]
    rows = transfers.list_transfers(work, charger_id, after=after or None, limit=PAGE_DEFAULT + 1)
    shown = rows[:PAGE_DEFAULT]
    files = firmware.list_firmware(work, limit=FIRMWARE_SHOWN)
    differs = {file.id: firmware.differs(file, charger) for file in files}
    return values | {
        "rows": shown,
        "more": shown[-1].id if len(rows) > PAGE_DEFAULT else "",
        "firmware": files,
        "differs": differs,
        "unfit": [file_id for file_id, found in differs.items() if found],
        "people": _people(work, shown),
        "is_updating": firmware.running(work, charger) is not None,
        "is_charging": any(connector.status in CHARGING for connector in charger.connectors),
        "is_near": security.is_on_this_machine(work, charger_id),
        "may_update": {Permission.CONTROL, Permission.EDIT_CHARGERS} <= values["may"],
    }


def _people(work: Work, rows: Sequence[Transfer]) -> dict[str, str]:
    asked = {each.actor_id for each in rows if each.actor_kind in {"user", "token"}}
    return {user_id: accounts.user(work, user_id).name for user_id in asked}


async def _page(
    here: Visit,
    charger_id: str,
    *,
    after: str = "",
    status: int = 200,
    is_unsure: bool = False,
    **forms: shells.Form,
) -> Response:
    values = await here.read(view, charger_id, after)
    base = here.ctx.settings.files_url
    shown: dict[str, Any] = {
        "fetch_form": BLANK,
        "update_form": BLANK,
        "upload_form": BLANK,
    }
    return here.page(
        "charger_updates.html",
        status=status,
        tab="updates",
        after=after,
        kinds=KINDS,
        periods=PERIODS,
        look_of=look_of,
        name_of=name_of,
        stages=STAGE,
        is_unsure=is_unsure,
        files_url=base,
        is_loopback=(urlsplit(base).hostname or "") in LOOPBACK and not values["is_near"],
        **values,
        **(shown | forms),
    )


@router.get("/chargers/{charger_id}/updates")
async def show(here: Here, charger_id: str, after: str = "") -> Response:
    """Show the firmware of a charger, and the files that came from it."""
    return await _page(here, charger_id, after=after)


# --- files from the charger -----------------------------------------------------------------------


@router.post("/chargers/{charger_id}/updates/fetch")
async def fetch(
    here: Here, charger_id: str, kind: Text = "", period: Text = "", fetch_address: Text = ""
) -> Response:
    """Ask a charger for its diagnostics or a log."""
    hours = to_number(period) if period in PERIODS else None
    from_at = here.now - timedelta(hours=hours) if hours else None
    try:
        begun = await transfers.fetch_diagnostics(
            here.ctx,
            here.actor,
            charger_id,
            kind=Kind(kind) if kind in UPLOADS else Kind.DIAGNOSTICS,
            from_at=from_at,
            address=fetch_address,
        )
    except (Invalid, transfers.StorageFull) as wrong:
        typed = {"kind": kind, "period": period, "fetch_address": fetch_address}
        form = _named(refused(typed, wrong), {"address": "fetch_address"})
        return await _page(here, charger_id, status=status_of(type(wrong)), fetch_form=form)
    return _went(here, charger_id, begun)


def _named(form: shells.Form, names: Mapping[str, str]) -> shells.Form:
    """Return a form whose errors stand at the fields as this page calls them."""
    errors = {names.get(field, field): error for field, error in form.errors.items()}
    return shells.Form(form.values, errors, form.alert, form.help)


def _went(here: Visit, charger_id: str, begun: Transfer) -> Response:
    look = look_of(begun)
    said = f"{here.text(look.word)}. {here.text(look.hint)}"
    return here.go(f"/chargers/{charger_id}/updates#transfers", said)


@router.get("/chargers/{charger_id}/updates/{transfer_id}/files/{file_id}")
async def download(here: Here, charger_id: str, transfer_id: str, file_id: str) -> Response:
    """Give a file that the charger sent, to be saved and never shown."""
    file = await here.read(_file, charger_id, transfer_id, file_id)
    if not here.ctx.files.is_there(file.stored):
        raise Gone("this file was deleted")
    return FileResponse(
        here.ctx.files.path(file.stored),
        media_type="application/octet-stream",
        filename=file.name,
        headers={"Cache-Control": "private, no-store"},
    )


def _file(work: Work, charger_id: str, transfer_id: str, file_id: str) -> transfers.ReceivedFile:
    if transfers.get(work, transfer_id).charger_id != charger_id:
        raise NotFound("this charger has sent no such file")
    return transfers.received(work, transfer_id, file_id)


@router.post("/chargers/{charger_id}/updates/{transfer_id}/delete")
async def delete(here: Here, charger_id: str, transfer_id: str) -> Response:
    """Delete a transfer with its files."""
    await transfers.remove(here.ctx, here.actor, transfer_id)
    return here.go(f"/chargers/{charger_id}/updates#transfers", _("Deleted."))


# --- firmware -------------------------------------------------------------------------------------


@router.post("/chargers/{charger_id}/updates/firmware")
async def update(
    here: Here,
    charger_id: str,
    chosen: Text = "",
    address: Text = "",
    version: Text = "",
    retrieve_at: Text = "",
    retries: Text = "",
    retry_interval_s: Text = "",
    is_signed: Text = "",
    is_sure: Text = "",
) -> Response:
    """Ask a charger to fetch and install firmware; for another model only on a second thought."""
    typed = {
        "chosen": chosen,
        "address": address,
        "version": version,
        "retrieve_at": retrieve_at,
        "retries": retries,
        "retry_interval_s": retry_interval_s,
        "is_signed": is_signed,
    }
    is_typed = chosen == TYPED
    try:
        _check_typed(address if is_typed else TYPED)
        values = await here.read(frame, charger_id)
        wish = Wish(
            retrieve_at=_instant(retrieve_at, values["zone"]),
            retries=_whole(retries, "retries"),
            retry_interval_s=_whole(retry_interval_s, "retry_interval_s"),
            is_signed=is_signed == "yes",
        )
        if not is_typed and not is_sure and await here.read(_is_other, charger_id, chosen):
            form = shells.Form(typed, {})
            return await _page(here, charger_id, status=409, update_form=form, is_unsure=True)
        begun = await firmware.update(
            here.ctx,
            here.actor,
            charger_id,
            firmware_id="" if is_typed else chosen,
            address=address if is_typed else "",
            version=version,
            wish=wish,
        )
    except (Invalid, firmware.UpdateRunning) as wrong:
        form = _named(refused(typed, wrong), {"firmware_id": "chosen"})
        return await _page(here, charger_id, status=status_of(type(wrong)), update_form=form)
    return _went(here, charger_id, begun)


def _check_typed(address: str) -> None:
    if not address.strip():
        raise Invalid("an address is needed", (("/address", "type where the charger finds the firmware"),))


def _is_other(work: Work, charger_id: str, firmware_id: str) -> bool:
    return bool(firmware.differs(firmware.get(work, firmware_id), chargers.get(work, charger_id)))


def _instant(text: str, zone: tzinfo) -> datetime | None:
    """Read what a field for date and time holds, in the time of the location. Raises: Invalid."""
    if not text.strip():
        return None
    try:
        return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)
    except (ValueError, OverflowError) as wrong:
        raise Invalid("that is no time", (("/retrieve_at", "choose a date and a time"),)) from wrong


def _whole(text: str, field: str) -> int | None:
    if not text.strip():
        return None
    number = to_number(text.strip())
    if number is None:
        raise Invalid("that is no number", ((f"/{field}", "a whole number"),))
    return number


@router.post("/firmware")
async def upload(here: Here, request: Request, charger: str = "") -> Response:
    """Take firmware from the page of a charger, and show it there."""
    await here.read(frame, charger)
    typed: dict[str, str] = {}
    try:
        await here.read(firmware.require_upload)
        taken = await take(request, here.ctx.files, bytes_max=FIRMWARE_BYTES_MAX)
        typed = dict(taken.fields)
        try:
            said = firmware.tidy(
                name=taken.name,
                version=typed.get("new_version", ""),
                vendor=typed.get("vendor", ""),
                model=typed.get("model", ""),
                signature=typed.get("signature", ""),
                certificate_pem=typed.get("certificate", ""),
            )
            await firmware.add(here.ctx, here.actor, taken.arriving, said)
        finally:
            await asyncio.to_thread(taken.arriving.drop)
    except NotFound:
        raise
    except VoltyardError as wrong:
        form = _named(refused(typed, wrong), {"version": "new_version", "name": "file"})
        return await _page(here, charger, status=status_of(type(wrong)), upload_form=form)
    return here.go(f"/chargers/{charger}/updates", _("The firmware is there: choose it to update a charger."))


@router.post("/firmware/{firmware_id}/delete")
async def delete_firmware(here: Here, firmware_id: str, charger: str = "") -> Response:
    """Delete firmware."""
    await firmware.remove(here.ctx, here.actor, firmware_id)
    place = f"/chargers/{charger}/updates" if charger else "/chargers"
    return here.go(place, _("The firmware is deleted."))


# --- many chargers --------------------------------------------------------------------------------


def many_view(work: Work, firmware_id: str) -> dict[str, Any]:
    """Return firmware with the chargers that one may update, those it is for first."""
    file = firmware.get(work, firmware_id)
    needed = {Permission.CONTROL, Permission.EDIT_CHARGERS}
    names = {each.id: each.name for each in all_locations(work)}
    may = {place for place in names if needed <= locations.permissions(work, place)}
    rows = [each for each in all_chargers(work) if each.location_id in may][:FIRMWARE_CHARGERS_MAX]
    fits = {each.id: not firmware.differs(file, each) for each in rows}
    return {
        "file": file,
        "rows": sorted(rows, key=lambda each: (not fits[each.id], each.label.casefold())),
        "fits": fits,
        "names": names,
        "is_there": {each.id: is_same_version(each.firmware or "", file.version) for each in rows},
    }


@router.get("/firmware/{firmware_id}")
async def show_many(here: Here, firmware_id: str) -> Response:
    """Show firmware, and the chargers that can be updated with it together."""
    return here.page("firmware.html", form=BLANK, **await here.read(many_view, firmware_id))


@router.post("/firmware/{firmware_id}/updates")
async def update_many(
    here: Here, firmware_id: str, charger: Annotated[list[str] | None, Form()] = None
) -> Response:
    """Order an update for many chargers."""
    try:
        ordered = await firmware.update_many(here.ctx, here.actor, charger or [], firmware_id=firmware_id)
    except Invalid as wrong:
        form = shells.Form({}, {}, shells.sentence(wrong.detail))
        values = await here.read(many_view, firmware_id)
        return here.page("firmware.html", status=status_of(type(wrong)), form=form, **values)
    said = here.text(_("%(count)s chargers are asked as soon as they are online.")) % {
        "count": len(ordered.transfers)
    }
    if ordered.skipped:
        skipped = here.text(_("%(count)s are left out: an update of theirs is under way."))
        said = f"{said} {skipped % {'count': len(ordered.skipped)}}"
    return here.go(f"/firmware/{firmware_id}", said)
