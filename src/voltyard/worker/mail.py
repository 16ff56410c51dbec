"""Writes letters and gives them to a mail server, or to the inbox of an installation without one.

A letter is two templates of one kind: text, whose first line is the subject, and HTML. What the server
refuses for good is not tried again; anything else is, with growing pauses, as all jobs are.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid, parseaddr
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

import aiosmtplib
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from voltyard.accounts import letters, proofs
from voltyard.accounts.letters import SendLetter
from voltyard.kernel.actor import system
from voltyard.kernel.context import Context
from voltyard.kernel.errors import Refused, Unavailable
from voltyard.kernel.log import logger
from voltyard.kernel.settings import Settings

ACTOR: Final = system("mail")
TEMPLATES: Final = Path(__file__).parent / "templates"
PORTS: Final[Mapping[str, int]] = {"smtp": 587, "smtps": 465}
TIMEOUT_S: Final = 30.0
REFUSED_FOR_GOOD: Final = 500


class LetterRefused(Refused):
    """The mail server does not take this letter, now or later."""

    title = "The mail server refused a letter"


class MailUnavailable(Unavailable):
    """The mail server could not be reached, or asks to be tried later."""

    title = "The mail server could not be reached"


_LETTERS: Final = Environment(
    loader=FileSystemLoader(TEMPLATES),
    autoescape=select_autoescape(("html",)),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(letter: SendLetter, settings: Settings) -> tuple[str, str, str]:
    """Return subject, text and HTML of a letter."""
    home = settings.public_url.rstrip("/")
    values: dict[str, Any] = {"to": letter.to, "home": home, **letter.values}
    if letter.proof_id:
        values["link"] = f"{home}/proofs/{proofs.token_of(letter.proof_id, settings.secret_key())}"
    subject, _, text = _LETTERS.get_template(f"{letter.kind}.txt").render(values).partition("\n")
    html = _LETTERS.get_template(f"{letter.kind}.html").render(values | {"subject": subject})
    return subject.strip(), text.strip() + "\n", html


async def send(ctx: Context, job: SendLetter) -> None:
    """Send a letter. Raises: MailUnavailable, LetterRefused."""
    settings = ctx.settings
    if job.proof_id:
        is_dead = await ctx.db.read(ACTOR, proofs.is_dead, job.proof_id)
        if is_dead:
            return  # nobody needs a link that is dead on arrival
    if settings.smtp_url is None and not job.proof_id:
        return  # a word of what was done, in an installation that writes to nobody
    if settings.smtp_url is None:
        raise MailUnavailable("this process sends no e-mail: set VOLTYARD_SMTP_URL")
    subject, text, html = render(job, settings)
    if settings.keeps_mail:
        await ctx.db.work(ACTOR, letters.keep, job.to, subject, text, html)
        return
    message = EmailMessage()
    name, sender = parseaddr(settings.sender)
    user, _, domain = sender.rpartition("@")
    message["From"] = Address(name, user, domain)
    message["To"] = Address(addr_spec=job.to)
    message["Subject"] = subject
    message["Date"] = format_datetime(ctx.clock.now())
    # The same on each try, so that a mailbox that was given it twice can tell.
    message["Message-ID"] = f"<{job.proof_id}@{domain}>" if job.proof_id else make_msgid(domain=domain)
    # Out-of-office machines answer nobody (RFC 3834 §5).
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text)
    message.add_alternative(html, subtype="html")
    await _hand_over(settings.smtp_url.get_secret_value(), sender, job.to, message)
    logger("mail").info("a letter was sent", kind=job.kind)


async def _hand_over(url: str, sender: str, to: str, message: EmailMessage) -> None:
    parts = urlsplit(url)
    host = parts.hostname or ""
    client = aiosmtplib.SMTP(
        hostname=host,
        port=parts.port or PORTS[parts.scheme],
        use_tls=parts.scheme == "smtps",
        start_tls=parts.scheme == "smtp" and needs_tls(host, parts.query),
        tls_context=ssl.create_default_context(),
        timeout=TIMEOUT_S,
    )
    try:
        async with client:
            if parts.username:
                await client.login(unquote(parts.username), unquote(parts.password or ""))
            await client.send_message(message, sender=sender, recipients=[to])
    except aiosmtplib.SMTPRecipientsRefused as wrong:
        if all(each.code >= REFUSED_FOR_GOOD for each in wrong.recipients):
            raise LetterRefused("the mail server refuses the address") from wrong
        raise MailUnavailable("the mail server asks to be tried later") from wrong
    except aiosmtplib.SMTPDataError as wrong:
        if wrong.code >= REFUSED_FOR_GOOD:
            raise LetterRefused(f"the mail server refuses the letter with {wrong.code}") from wrong
        raise MailUnavailable(f"the mail server asks to be tried later, with {wrong.code}") from wrong
    except ValueError as wrong:
        raise LetterRefused("this letter cannot be written as mail") from wrong
    except (aiosmtplib.SMTPException, OSError) as wrong:
        # Also a password or a sender that is refused: somebody has to set it right, and then it shall go.
        raise MailUnavailable(
            f"the mail server could not be used ({type(wrong).__name__}): check VOLTYARD_SMTP_URL"
        ) from wrong


def needs_tls(host: str, query: str) -> bool:
    """Say whether a mail server has to speak TLS before it is told anything.

    One on this machine need not; ``?tls=off`` or ``?tls=required`` at the end of its address say otherwise.
    """
    wanted = dict(parse_qsl(query)).get("tls", "")
    if wanted in {"off", "required"}:
        return wanted == "required"
    return host not in {"localhost", "127.0.0.1", "::1"}
