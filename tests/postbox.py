"""A mail server on a real socket, of another make than the client that speaks to it."""

from __future__ import annotations

import asyncio
import email
import email.policy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP


class Postbox:
    """Keeps what it is given, or answers as it is told; ``url`` is where it is."""

    def __init__(self) -> None:
        self.taken: asyncio.Queue[Any] = asyncio.Queue()
        self.answer = "250 OK"
        self.of_address = "250 OK"
        self.url = ""

    # The names are those by which aiosmtpd looks for them.

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, to: str, _options: Any) -> str:  # noqa: N802
        if self.of_address.startswith("250"):
            envelope.rcpt_tos.append(to)
        return self.of_address

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        if self.answer.startswith("250"):
            self.taken.put_nowait(envelope)
        return self.answer

    async def next(self) -> tuple[Any, EmailMessage]:
        """Return the next letter with its envelope."""
        async with asyncio.timeout(20):
            envelope = await self.taken.get()
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        return envelope, message


def text_of(message: EmailMessage, kind: str = "plain") -> str:
    """Return the text of a letter, or its page."""
    body = message.get_body((kind,))
    assert body is not None
    return str(body.get_content())


@asynccontextmanager
async def open_postbox() -> AsyncIterator[Postbox]:
    """Open a mail server at a free port."""
    box, loop = Postbox(), asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(box, loop=loop), "127.0.0.1", 0)
    box.url = f"smtp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield box
    server.close()
