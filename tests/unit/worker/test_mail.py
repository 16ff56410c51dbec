"""Letters as they reach a real mail server, and what is done when it does not take them."""

from __future__ import annotations

import asyncio
import email
import email.policy
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP
from pydantic import SecretStr

from voltyard.accounts import letters, proofs
from voltyard.accounts.letters import SendLetter
from voltyard.kernel.actor import ANYONE
from voltyard.kernel.context import Context
from voltyard.kernel.ids import new_id
from voltyard.worker import mail
from voltyard.worker.mail import LetterRefused, MailUnavailable, render, send

KINDS = sorted(each.stem for each in Path(mail.__file__).parent.glob("templates/*.txt"))
VALUES = {"name": "Zoë <b>", "email": "other@example.com"}


class Postbox:
    """A mail server that keeps what it is given, or answers as it is told."""

    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.answer = "250 OK"
        self.of_address = "250 OK"

    # The names are those by which aiosmtpd looks for them.

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, to: str, _options: Any) -> str:  # noqa: N802
        if self.of_address.startswith("250"):
            envelope.rcpt_tos.append(to)
        return self.of_address

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        if self.answer.startswith("250"):
            self.taken.append(envelope)
        return self.answer


@pytest.fixture
async def box() -> AsyncIterator[tuple[Postbox, str]]:
    postbox, loop = Postbox(), asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(postbox, loop=loop), "127.0.0.1", 0)
    yield postbox, f"smtp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


def by(ctx: Context, url: str) -> Context:
    changes = {
        "smtp_url": SecretStr(url),
        "public_url": "https://charge.example",
        "mail_from": "Yard <y@charge.example>",
    }
    return replace(ctx, settings=ctx.settings.model_copy(update=changes))


@pytest.mark.parametrize("kind", KINDS)
def test_every_letter_has_a_subject_a_text_and_a_page(sqlite_ctx: Context, kind: str):
    proof_id = new_id("prf")
    letter = SendLetter(kind, "to@example.com", "en", VALUES, proof_id)
    subject, text, html = render(letter, sqlite_ctx.settings)
    assert 10 < len(subject) < 80
    assert "{{" not in text + html
    assert "Zoë <b>" in text
    assert "Zoë &lt;b&gt;" in html
    assert "Zoë <b>" not in html
    if kind not in {"password_changed", "email_changed"}:
        link = f"/proofs/{proofs.token_of(proof_id, sqlite_ctx.settings.secret_key())}"
        assert link in text
        assert link in html


async def test_a_letter_reaches_a_mail_server(sqlite_ctx: Context, box):
    postbox, url = box
    await send(by(sqlite_ctx, url), SendLetter("reset", "zoe@example.com", "en", VALUES, new_id("prf")))
    (taken,) = postbox.taken
    assert (taken.mail_from, taken.rcpt_tos) == ("y@charge.example", ["zoe@example.com"])
    message = email.message_from_bytes(taken.content, policy=email.policy.default)
    assert (message["From"], message["To"]) == ("Yard <y@charge.example>", "zoe@example.com")
    assert message["Subject"] == "A new password for Voltyard"
    assert message["Auto-Submitted"] == "auto-generated"
    for kind in ("plain", "html"):
        body = message.get_body((kind,))
        assert body is not None
        assert "https://charge.example/proofs/prf_" in body.get_content()


@pytest.mark.parametrize(
    ("answer", "of_address", "wrong"),
    [
        ("451 later", "250 OK", MailUnavailable),
        ("554 spam", "250 OK", LetterRefused),
        ("250 OK", "450 busy", MailUnavailable),
        ("250 OK", "550 nobody", LetterRefused),
    ],
)
async def test_what_is_refused_for_good_is_not_tried_again(
    sqlite_ctx: Context, box, answer, of_address, wrong
):
    postbox, url = box
    postbox.answer, postbox.of_address = answer, of_address
    with pytest.raises(wrong):
        await send(by(sqlite_ctx, url), SendLetter("reset", "zoe@example.com", "en", VALUES, new_id("prf")))
    assert postbox.taken == []


async def test_a_server_that_is_away_or_knows_no_tls_gets_no_password(sqlite_ctx: Context, box):
    postbox, url = box
    letter = SendLetter("reset", "zoe@example.com", "en", VALUES, new_id("prf"))
    for wrong in ("smtp://127.0.0.1:1", url.replace("//", "//me:secret@"), url.replace("smtp:", "smtps:")):
        with pytest.raises(MailUnavailable) as refused:
            await send(by(sqlite_ctx, wrong), letter)
        assert "secret" not in str(refused.value)
    assert postbox.taken == []


async def test_without_a_server_letters_stay_here_or_are_refused(sqlite_ctx: Context):
    letter = SendLetter("reset", "zoe@example.com", "en", VALUES, new_id("prf"))
    with pytest.raises(LetterRefused):
        await send(sqlite_ctx, letter)
    await send(replace(sqlite_ctx, settings=sqlite_ctx.settings.keeping_mail()), letter)
    (kept,) = await sqlite_ctx.db.read(ANYONE, letters.list_letters)
    assert (kept.to, kept.subject) == ("zoe@example.com", "A new password for Voltyard")
