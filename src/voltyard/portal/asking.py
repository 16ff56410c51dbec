"""A command of OCPP that somebody is writing: as a form and as JSON, which are kept in step."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import tzinfo
from typing import Any, Final

from starlette.datastructures import UploadFile
from starlette.requests import Request

from voltyard.kernel.errors import Invalid
from voltyard.kernel.wire import decode, encode
from voltyard.portal import ocpp_forms
from voltyard.portal.ocpp_forms import CommandForm
from voltyard.portal.shell import Form, sentence
from voltyard.portal.words import _

FIRST: Final = "Reset"
AS_FORM: Final = "form"
AS_JSON: Final = "json"


@dataclass(frozen=True, slots=True)
class Asking:
    """What was written of a command up to now, in both shapes; ``mode`` is the one that counts."""

    command: CommandForm
    mode: str
    form: Form
    raw: str
    payload: dict[str, Any] | None
    left: tuple[str, ...] = ()
    """Fields of the JSON for which the form has no place."""

    @property
    def is_ready(self) -> bool:
        """Say whether it can be sent."""
        return self.payload is not None and not self.form.errors and not self.form.alert

    @property
    def payload_text(self) -> str:
        """The payload as it is sent."""
        return encode(self.payload or {}).decode()


async def typed(request: Request) -> dict[str, str]:
    """Return the fields of a form whose names depend on the command."""
    form = await request.form()
    return {name: "" if isinstance(value, UploadFile) else value for name, value in form.items()}


def untouched(action: str, zone: tzinfo) -> Asking:
    """Return a command of which nothing was written yet; one that does not exist gives way to a restart."""
    command = ocpp_forms.FORMS.get(action) or ocpp_forms.FORMS[FIRST]
    values = ocpp_forms.defaults(command)
    payload, _errors = ocpp_forms.build(command, values, zone)
    return Asking(command, AS_FORM, Form(values, {}), pretty(payload), payload)


def written(values: Mapping[str, str], zone: tzinfo) -> Asking:
    """Return a command as far as it was written; the shape that does not count is made from the other."""
    command = ocpp_forms.FORMS.get(values.get("action", "")) or ocpp_forms.FORMS[FIRST]
    if values.get("mode") == AS_JSON:
        return _from_json(command, values.get("raw", ""), zone)
    payload, errors = ocpp_forms.build(command, values, zone)
    return Asking(command, AS_FORM, Form(values, errors), pretty(payload), payload)


def _from_json(command: CommandForm, raw: str, zone: tzinfo) -> Asking:
    try:
        payload = decode(raw, object) if raw.strip() else {}
    except Invalid:
        return _broken(command, raw, _("This is not JSON: look for a missing quote, comma or bracket."))
    if not isinstance(payload, dict):
        return _broken(command, raw, _("Write an object, between { and }."))
    values, left = ocpp_forms.fill(command, payload, zone)
    return Asking(command, AS_JSON, Form(values, {}), raw, payload, tuple(left))


def _broken(command: CommandForm, raw: str, problem: str) -> Asking:
    form = Form(ocpp_forms.defaults(command), {"raw": problem})
    return Asking(command, AS_JSON, form, raw, None)


def refused(asking: Asking, wrong: Invalid) -> Asking:
    """Return a command that its protocol refuses, with the fields marked that are to blame."""
    names = {field.name for field in asking.command.fields}
    errors: dict[str, str] = {}
    rest: list[str] = []
    for pointer, problem in wrong.errors:
        name = pointer.strip("/").replace("/", ".")
        place = next((each for each in names if name == each or name.startswith(f"{each}.")), "")
        if place:
            errors[place] = problem
        else:
            rest.append(problem)
    alert = sentence(wrong.detail) if rest or not errors or asking.mode == AS_JSON else ""
    form = Form(asking.form.values, errors, alert)
    return replace(asking, form=form)


def pretty(value: object) -> str:
    """Return a value as JSON for people."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def pretty_text(text: str | None) -> str:
    """Return a JSON text for people; what is none stays as it is."""
    if not text:
        return ""
    try:
        return pretty(decode(text, object))
    except Invalid:
        return text
