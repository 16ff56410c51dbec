"""Letters: what is written to people by e-mail, as jobs; and the inbox of an installation that sends none.

A job holds who is written to and what about, never a secret: the link in a letter is made of the id of its
proof when it is sent (see ``proofs``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from voltyard.accounts import letters_store as store
from voltyard.kernel import jobs
from voltyard.kernel.db import Work
from voltyard.kernel.errors import Conflict, NotFound
from voltyard.kernel.ids import check, new_id
from voltyard.kernel.settings import Settings
from voltyard.kernel.wire import Message

KEPT_MAX: Final = 500
"""Letters that an inbox holds."""
PAGE: Final = 50


class NoMail(Conflict):
    """This installation sends no e-mail, so nothing can be done that needs one."""

    title = "This installation sends no e-mail"


class SendLetter(Message, frozen=True):
    """Job: write to somebody.

    ``kind`` is the name of the letter's template, ``proof_id`` the proof whose link stands in it.
    """

    kind: str
    to: str
    language: str
    values: dict[str, str]
    proof_id: str = ""


@dataclass(frozen=True, slots=True)
class Letter:
    """A letter as it was written."""

    id: str
    to: str
    subject: str
    text: str
    html: str
    at: datetime


def _letter(row: Any) -> Letter:
    return Letter(row.id, row.to, row.subject, row.text, row.html, row.at)


def require_mail(settings: Settings) -> None:
    """Refuse what needs a letter where none can be sent. Raises: NoMail."""
    if not settings.sends_mail:
        raise NoMail("this installation sends no e-mail: ask whoever runs it, who can set VOLTYARD_SMTP_URL")


def write(
    work: Work, kind: str, to: str, language: str, values: Mapping[str, str], *, proof_id: str = ""
) -> None:
    """Have a letter sent once this is committed, and again until it is taken."""
    jobs.enqueue(work, SendLetter(kind, to, language, dict(values), proof_id))


def keep(work: Work, to: str, subject: str, text: str, html: str) -> None:
    """Put a letter into the inbox that takes the place of a mail server."""
    store.insert_letter(work, id=new_id("let"), to=to, subject=subject, text=text, html=html)
    store.delete_beyond(work, KEPT_MAX)


def list_letters(work: Work) -> list[Letter]:
    """Return the latest letters of the inbox, newest first; for who sits at the machine itself."""
    return [_letter(row) for row in store.letters(work, PAGE)]


def get(work: Work, letter_id: str) -> Letter:
    """Return a letter of the inbox. Raises: NotFound."""
    row = store.find_letter(work, check("let", letter_id))
    if row is None:
        raise NotFound("there is no such letter", id=letter_id)
    return _letter(row)
