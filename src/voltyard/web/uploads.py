"""Files in requests: read piece by piece into the store of files, never whole into memory.

The body itself is the file, or one part of a form (``multipart/form-data``) is, with short fields beside it.
Whatever ends before it is whole leaves no trace.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from voltyard.kernel.errors import Invalid
from voltyard.kernel.files import Arriving, Files
from voltyard.kernel.limits import BODY_PAUSE_S, BODY_S_MAX, FORM_BYTES_MAX
from voltyard.web.problems import TooLarge

MIB = 1024 * 1024
BUFFER_BYTES = 512 * 1024
"""Written at once, in a thread: many small writes would cost more than they hold up."""


class NotWhole(Invalid):
    """The body ended, or paused for too long, before it was whole: send it again."""

    title = "The file did not arrive whole"


@dataclass(frozen=True, slots=True)
class Taken:
    """What a request held: a file that somebody has to keep or drop, its name, and the fields beside it."""

    arriving: Arriving
    name: str
    fields: Mapping[str, str]


async def take(request: Request, files: Files, *, bytes_max: int) -> Taken:
    """Read the file of a request. Raises: TooLarge; NotWhole; Invalid for a form without a file."""
    kind, options = parse_options_header(request.headers.get("content-type"))
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > bytes_max + FORM_BYTES_MAX:
        raise _too_large(bytes_max)
    arriving = await asyncio.to_thread(files.arriving)
    intake = _Intake(arriving, bytes_max)
    try:
        if kind == b"multipart/form-data":
            name, fields = await _take_form(request, intake, options.get(b"boundary", b""))
        else:
            async for piece in _pieces(request):
                await intake.add(piece)
            name, fields = "", {}
        await intake.flush()
    except BaseException:
        await asyncio.to_thread(arriving.drop)
        raise
    return Taken(arriving, name, fields)


def _too_large(bytes_max: int) -> TooLarge:
    return TooLarge(f"a file has at most {bytes_max // MIB} MiB", bytes_max=bytes_max)


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    """Give the body as it comes, as long as it keeps coming."""
    stream = request.stream()
    loop = asyncio.get_running_loop()
    ends_s = loop.time() + BODY_S_MAX
    while True:
        try:
            async with asyncio.timeout_at(min(ends_s, loop.time() + BODY_PAUSE_S)):
                piece = await anext(stream, None)
        except (ClientDisconnect, TimeoutError):
            raise NotWhole("the file did not arrive whole: send it again") from None
        if piece is None:
            return
        yield piece


class _Intake:
    """Collects pieces until there are enough for one write."""

    def __init__(self, arriving: Arriving, bytes_max: int) -> None:
        self._arriving = arriving
        self._bytes_max = bytes_max
        self._buffer = bytearray()

    async def add(self, piece: bytes) -> None:
        """Take a piece of the file. Raises: TooLarge."""
        if self._arriving.size_bytes + len(self._buffer) + len(piece) > self._bytes_max:
            raise _too_large(self._bytes_max)
        self._buffer += piece
        if len(self._buffer) >= BUFFER_BYTES:
            await self.flush()

    async def flush(self) -> None:
        """Write what was collected."""
        if self._buffer:
            whole, self._buffer = bytes(self._buffer), bytearray()
            await asyncio.to_thread(self._arriving.write, whole)


class _Form:
    """What a parser of forms tells, part by part: the first part with a file name is the file."""

    def __init__(self) -> None:
        self.name: str | None = None
        self.fields: dict[str, str] = {}
        self.pieces: list[bytes] = []
        self.is_over = False
        self._header = bytearray()
        self._value = bytearray()
        self._disposition = b""
        self._field = ""
        self._text = bytearray()
        self.file_bytes = 0
        self._is_file = False

    def on_part_begin(self) -> None:
        """Begin a part."""
        self._disposition, self._field, self._is_file = b"", "", False
        self._text.clear()

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        """Read a part's header."""
        self._header += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        """Read what a header says."""
        self._value += data[start:end]

    def on_header_end(self) -> None:
        """Keep the one header that matters."""
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def on_headers_finished(self) -> None:
        """Find out what the part is."""
        _, options = parse_options_header(self._disposition)
        self._field = options.get(b"name", b"").decode(errors="replace")
        if b"filename" not in options:
            return
        if self.name is not None:
            raise Invalid("one file at a time", (("/file", "choose one file"),))
        self._is_file = True
        self.name = options[b"filename"].decode(errors="replace")

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        """Take what a part holds."""
        if self._is_file:
            self.pieces.append(data[start:end])
            self.file_bytes += end - start
            return
        self._text += data[start:end]

    def on_part_end(self) -> None:
        """End a part."""
        if not self._is_file and self._field:
            self.fields[self._field] = self._text.decode(errors="replace")

    def on_end(self) -> None:
        """End the form."""
        self.is_over = True


async def _take_form(request: Request, intake: _Intake, boundary: bytes) -> tuple[str, dict[str, str]]:
    form = _Form()
    callbacks = {name: getattr(form, name) for name in dir(form) if name.startswith("on_")}
    try:
        parser = MultipartParser(boundary, callbacks)  # type: ignore[arg-type]
        taken_bytes = 0
        async for piece in _pieces(request):
            parser.write(piece)
            # Names, heads and what divides them count, too: a field without content has all of these.
            taken_bytes += len(piece)
            if taken_bytes - form.file_bytes > FORM_BYTES_MAX:
                raise Invalid("the fields of the form are too long", (("", "shorten them"),))
            for each in form.pieces:
                await intake.add(each)
            form.pieces.clear()
        parser.finalize()
    except FormParserError as wrong:
        raise Invalid("the form cannot be read", (("", "send it as multipart/form-data"),)) from wrong
    if not form.is_over:
        raise NotWhole("the form did not arrive whole: send it again")
    if form.name is None:
        raise Invalid("there is no file in this form", (("/file", "choose a file"),))
    return form.name, form.fields
