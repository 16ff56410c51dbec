"""A disk on which nothing more can be written: no false answer, and work goes on when there is room again.

The room is taken away with a limit on the size of files, which needs no right to mount a small disk.
"""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.anomaly.wire import RawCharger, frame
from tests.e2e.library_charger import instant
from tests.e2e.server import Server, deliver, make_person, settle_in


@contextmanager
def full_disk(server: Server) -> Iterator[None]:
    """Let no file of the server grow beyond what the log of the database has already."""
    unlimited = resource.RLIM_INFINITY
    room = (server.data / "voltyard.db-wal").stat().st_size
    assert room > 16 * 1024
    # The log of the database begins anew now and then, and needs no more room then; so leave it none at all.
    server.memory.rlimit(resource.RLIMIT_FSIZE, (4096, unlimited))
    try:
        yield
    finally:
        server.memory.rlimit(resource.RLIMIT_FSIZE, (unlimited, unlimited))


async def test_on_a_full_disk_nothing_is_answered_and_with_room_again_all_is_stored_once(tmp_path: Path):
    with Server(tmp_path) as server:
        person = make_person(server)
        deliver(server, "FULL-1,1234,")
        _, charger_id = await settle_in(person, "FULL-1")
        boot = {"chargePointVendor": "V", "chargePointModel": "M"}
        start = {"connectorId": 1, "idTag": "CARD1", "meterStart": 5, "timestamp": instant()}
        raw = await RawCharger.connect(server.ocpp_port, "FULL-1")
        assert (await raw.call("BootNotification", boot))[2]["status"] == "Accepted"
        with full_disk(server):
            await raw.send(frame(json.dumps([2, "start", "StartTransaction", start]).encode()))
            assert await raw.closed() == 1011, "closed, and nothing else was said"
            # What is there can still be read.
            assert (await person("GET", f"/chargers/{charger_id}"))["identity"] == "FULL-1"
        raw.drop()
        raw = await RawCharger.connect(server.ocpp_port, "FULL-1")
        answers = [await raw.call("StartTransaction", start, message_id=str(turn)) for turn in range(2)]
        assert {answer[2]["idTagInfo"]["status"] for answer in answers} == {"Accepted"}
        raw.drop()
        (only,) = (await person("GET", f"/transactions?charger={charger_id}"))["items"]
        assert only["number"] == answers[0][2]["transactionId"] == answers[1][2]["transactionId"]
