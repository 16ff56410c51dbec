"""Ten thousand who never finish their handshake: whoever knocks properly gets in; nothing stays behind."""

from __future__ import annotations

import asyncio
import resource
import socket
import time
from contextlib import suppress
from pathlib import Path

from tests.anomaly.wire import RawCharger
from tests.e2e.server import Server, until
from voltyard.kernel.limits import HANDSHAKES_MAX, HANDSHAKES_PER_ADDRESS_MAX

HALVES = 10_000
ADDRESSES = 25
MIB = 1024 * 1024


def knock(port: int, source: str) -> socket.socket:
    """Open a socket and say half of a head."""
    half = socket.socket()
    half.bind((source, 0))
    half.connect(("127.0.0.1", port))
    half.send(b"GET /ocpp/HALF HTTP/1.1\r\nHost: voltyard\r\nX: " + b"x" * 200)
    half.setblocking(False)
    return half


async def test_ten_thousand_half_handshakes_shut_nobody_out_and_leave_nothing_behind(tmp_path: Path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, HALVES + 2_000), hard))
    halves: list[socket.socket] = []
    try:
        with Server(tmp_path) as server:
            good = await RawCharger.connect(server.ocpp_port, "GOOD-1")
            assert (await good.call())[0] == 3
            fresh = await RawCharger.connect(server.ocpp_port, "WARM-UP")
            fresh.drop()
            before, files_before = server.memory.memory_info().rss, server.memory.num_fds()
            began = time.monotonic()
            slowest = 0.0
            most_files = 0
            for number in range(HALVES):
                halves.append(knock(server.ocpp_port, f"127.0.0.{2 + number % ADDRESSES}"))
                if number % 500 == 499:
                    asked_at = time.monotonic()
                    assert (await good.call(message_id=str(number)))[0] == 3
                    # One from an address of its own, and one from where the crowd comes from.
                    for source in ("127.0.0.1", "127.0.0.2"):
                        fresh = await RawCharger.connect(server.ocpp_port, "FRESH", source=source)
                        assert (await fresh.call())[0] == 3
                        fresh.drop()
                    slowest = max(slowest, time.monotonic() - asked_at)
                    most_files = max(most_files, server.memory.num_fds())
            grown = server.memory.memory_info().rss - before
            assert most_files - files_before <= HANDSHAKES_MAX + 20
            assert grown < 40 * MIB
            took = time.monotonic() - began
            # Those that are left are closed by their deadline, although their clients hold on.
            await until(lambda: server.memory.num_fds() <= files_before + 5, "they are gone", within_s=15)
            assert (await good.call(message_id="last"))[0] == 3
            left = server.memory.memory_info().rss - before
            print(
                f"{HALVES} half handshakes in {took:.1f} s, at most {most_files} files; the slowest round of "
                f"others {slowest:.2f} s; memory {before / MIB:.1f} MiB, {grown / MIB:+.1f} then, "
                f"{left / MIB:+.1f} afterwards"
            )
            assert left < 24 * MIB
            assert slowest < 5
            good.drop()
    finally:
        for half in halves:
            half.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_one_address_cannot_hold_more_than_its_share(tmp_path: Path):
    with Server(tmp_path) as server:
        files_before = server.memory.num_fds()
        halves = [knock(server.ocpp_port, "127.0.0.9") for _ in range(HANDSHAKES_PER_ADDRESS_MAX + 200)]
        try:
            fresh = await RawCharger.connect(server.ocpp_port, "FRESH", source="127.0.0.9")
            assert (await fresh.call())[0] == 3
            await until(
                lambda: server.memory.num_fds() <= files_before + HANDSHAKES_PER_ADDRESS_MAX + 5,
                "the oldest went",
            )
            fresh.drop()
        finally:
            for half in halves:
                half.close()
        await until(lambda: server.memory.num_fds() <= files_before + 5, "all are gone")


async def test_a_thousand_chargers_that_come_and_go_leave_nothing_behind(tmp_path: Path):
    with Server(tmp_path) as server:

        async def visit(number: int) -> None:
            peer = await RawCharger.connect(server.ocpp_port, f"VISIT-{number % 50}")
            with suppress(asyncio.IncompleteReadError):  # another visit under this name may be newer
                await peer.call()
            peer.drop()

        async def wave(first: int) -> None:
            await asyncio.gather(*(visit(first + number) for number in range(50)))

        for turn in range(6):
            await wave(turn * 50)
        files_before, before = server.memory.num_fds(), server.memory.memory_info().rss
        for turn in range(20):
            await wave(turn * 50)
        await until(lambda: server.memory.num_fds() <= files_before + 5, "sockets are gone")
        grown = server.memory.memory_info().rss - before
        print(f"memory after 1 000 visits: {grown / MIB:+.1f} MiB")
        assert grown < 16 * MIB
