"""What a simulated charger does over HTTP, against a listener of the test's own."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import NameOID

from voltyard.sim import files

DATA = b"firmware" * 10_000


@asynccontextmanager
async def listener(answer: str) -> AsyncIterator[tuple[str, list[tuple[str, bytes]]]]:
    """Answer every request like this; give the address and the list of what was asked."""
    heard: list[tuple[str, bytes]] = []

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(
            (
                int(line.split(":")[1])
                for line in head.split("\r\n")
                if line.lower().startswith("content-length")
            ),
            0,
        )
        heard.append((head.split("\r\n")[0], await reader.readexactly(length)))
        body = DATA if head.startswith("GET") and answer.startswith("200") else b"words"
        writer.write(f"HTTP/1.1 {answer}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(one, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", heard
    server.close()
    await server.wait_closed()


async def test_a_file_is_put_under_its_name_where_the_address_ends_in_a_slash():
    async with listener("200 OK") as (address, heard):
        assert await files.put(f"{address}/in/", "a b.log", DATA) == ""
        assert await files.put(f"{address}/in?x=1", "a.log", b"x") == ""
    assert heard == [("PUT /in/a%20b.log HTTP/1.1", DATA), ("PUT /in?x=1 HTTP/1.1", b"x")]


async def test_a_file_is_fetched():
    async with listener("200 OK") as (address, _):
        assert await files.get(f"{address}/fw.bin") == (DATA, "")


async def test_what_goes_wrong_is_told():
    async with listener("404 Not Found") as (address, _):
        assert await files.put(f"{address}/", "a", b"x") == "404 words"
        assert await files.get(f"{address}/") == (None, "404 words")
    for url in (address, "http://127.0.0.1:1/", "http://[broken/"):
        assert await files.put(url, "a", b"x")
        data, wrong = await files.get(url)
        assert data is None
        assert wrong


def certificate(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "maker")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=9_999))
        .sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


def test_a_signature_is_right_for_its_file_and_its_signer_only():
    curve, other = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    large = rsa.generate_private_key(65_537, 2_048)
    for key, signed in (
        (curve, curve.sign(DATA, ec.ECDSA(hashes.SHA256()))),
        (large, large.sign(DATA, padding.PKCS1v15(), hashes.SHA256())),
    ):
        pem, text = certificate(key), base64.b64encode(signed).decode()
        assert files.is_genuine(DATA, text, pem)
        assert not files.is_genuine(DATA + b"!", text, pem)
        assert not files.is_genuine(DATA, text, certificate(other))


@pytest.mark.parametrize(("signature", "pem"), [("", ""), ("c2ln", "no PEM"), ("ä", "")])
def test_what_is_no_signature_is_not_genuine(signature: str, pem: str):
    assert not files.is_genuine(DATA, signature, pem)
    key = ed25519.Ed25519PrivateKey.generate()
    assert not files.is_genuine(DATA, base64.b64encode(key.sign(DATA)).decode(), certificate(key))
