"""Letters as they reach a real mail server, and what is done when it does not take them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.factories import SYSTEM
from tests.postbox import Postbox, open_postbox, text_of
from voltyard.accounts import letters, proofs, proofs_store
from voltyard.accounts.letters import SendLetter
from voltyard.kernel.actor import ANYONE
from voltyard.kernel.context import Context
from voltyard.kernel.ids import new_id
from voltyard.worker import mail
from voltyard.worker.mail import LetterRefused, MailUnavailable, needs_tls, render, send

KINDS = sorted(each.stem for each in Path(mail.__file__).parent.glob("templates/*.txt"))
VALUES = {"name": "Zoë <b>", "email": "other@example.com"}


@pytest.fixture
async def box() -> AsyncIterator[Postbox]:
    async with open_postbox() as found:
        yield found


async def proof(ctx: Context) -> str:
    """Return the id of a link that works."""
    proof_id = new_id("prf")
    values = {"id": proof_id, "kind": "reset", "email": "zoe@example.com", "name": "Z", "language": "en"}
    until_at = ctx.clock.now() + timedelta(hours=1)
    await ctx.db.work(SYSTEM, lambda work: proofs_store.insert_proof(work, **values, until_at=until_at))
    return proof_id


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
    # Whoever signs up names whom they like: strangers put no words into our letters.
    assert ("Zoë <b>" in text) is (kind != "sign_up")
    assert ("Zoë &lt;b&gt;" in html) is (kind != "sign_up")
    assert "Zoë <b>" not in html
    if kind not in {"password_changed", "email_changed", "factor_on", "factor_off"}:
        link = f"/proofs/{proofs.token_of(proof_id, sqlite_ctx.settings.secret_key())}"
        assert link in text
        assert link in html


async def test_a_letter_reaches_a_mail_server(sqlite_ctx: Context, box: Postbox):
    letter = SendLetter("reset", "zoe@example.com", "en", VALUES, await proof(sqlite_ctx))
    await send(by(sqlite_ctx, box.url), letter)
    taken, message = await box.next()
    assert (taken.mail_from, taken.rcpt_tos) == ("y@charge.example", ["zoe@example.com"])
    assert (message["From"], message["To"]) == ("Yard <y@charge.example>", "zoe@example.com")
    assert message["Subject"] == "A new password for Voltyard"
    assert message["Auto-Submitted"] == "auto-generated"
    for kind in ("plain", "html"):
        assert "https://charge.example/proofs/prf_" in text_of(message, kind)


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
    box.answer, box.of_address = answer, of_address
    letter = SendLetter("reset", "zoe@example.com", "en", VALUES, await proof(sqlite_ctx))
    with pytest.raises(wrong):
        await send(by(sqlite_ctx, box.url), letter)
    assert box.taken.empty()


async def test_a_server_that_is_away_or_knows_no_tls_gets_no_password(sqlite_ctx: Context, box):
    letter = SendLetter("reset", "zoe@example.com", "en", VALUES, await proof(sqlite_ctx))
    for wrong in (
        "smtp://127.0.0.1:1",
        box.url.replace("//", "//me:secret@"),
        box.url.replace("smtp:", "smtps:"),
    ):
        with pytest.raises(MailUnavailable) as refused:
            await send(by(sqlite_ctx, wrong), letter)
        assert "secret" not in str(refused.value)
    assert box.taken.empty()


async def test_a_link_that_is_dead_is_sent_to_nobody(sqlite_ctx: Context, box: Postbox, clock):
    letter = SendLetter("reset", "zoe@example.com", "en", VALUES, await proof(sqlite_ctx))
    clock.advance(3_600)
    await send(by(sqlite_ctx, box.url), letter)
    assert box.taken.empty()


async def test_each_try_is_the_same_letter(sqlite_ctx: Context, box: Postbox):
    letter = SendLetter("reset", "zoe@example.com", "en", VALUES, await proof(sqlite_ctx))
    for _ in range(2):
        await send(by(sqlite_ctx, box.url), letter)
    ids = {(await box.next())[1]["Message-ID"] for _ in range(2)}
    assert len(ids) == 1


@pytest.mark.parametrize(
    ("host", "query", "is_needed"),
    [
        ("127.0.0.1", "", False), ("::1", "", False), ("localhost", "tls=required", True),
        ("mail.example", "", True), ("mail.example", "tls=off", False),
    ],
)  # fmt: skip
def test_only_a_server_on_this_machine_goes_without_tls(host, query, is_needed):
    assert needs_tls(host, query) is is_needed


async def test_without_a_server_letters_stay_here_or_are_refused(sqlite_ctx: Context):
    letter = SendLetter("reset", "zoe@example.com", "en", VALUES, await proof(sqlite_ctx))
    with pytest.raises(MailUnavailable):
        await send(sqlite_ctx, letter)
    await send(sqlite_ctx, SendLetter("password_changed", "zoe@example.com", "en", VALUES))
    await send(replace(sqlite_ctx, settings=sqlite_ctx.settings.keeping_mail()), letter)
    (kept,) = await sqlite_ctx.db.read(ANYONE, letters.list_letters)
    assert (kept.to, kept.subject) == ("zoe@example.com", "A new password for Voltyard")
