"""An operator's back office that answers everything as well as it can be answered, at once, and keeps
nothing."""

import argparse
import itertools

import msgspec
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server
from picows import WSUpgradeResponse as Response
from picows import WSUpgradeResponseWithListener as Upgrade

ANSWERS = {
    "BootNotification": b'{"status":"Accepted","currentTime":"2026-11-29T00:00:00Z","interval":3600}',
    "Heartbeat": b'{"currentTime":"2026-11-29T00:00:00Z"}',
    "Authorize": b'{"idTagInfo":{"status":"Accepted"}}',
    "StopTransaction": b"{}",
}
SHAPE = msgspec.json.Decoder(tuple[int, msgspec.Raw, str, msgspec.Raw])
NUMBERS = itertools.count(1)


class Office(WSListener):
    is_dead = False

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.CLOSE:
            transport.disconnect()
        if frame.msg_type is not WSMsgType.TEXT:
            return
        _, message_id, action, _ = SHAPE.decode(frame.get_payload_as_bytes())
        if self.is_dead and action != "BootNotification":
            return
        answer = ANSWERS.get(action, b"{}")
        if action == "StartTransaction":
            answer = b'{"transactionId":%d,"idTagInfo":{"status":"Accepted"}}' % next(NUMBERS)
        transport.send(WSMsgType.TEXT, b"[3,%b,%b]" % (bytes(message_id), answer))


def accept(request: WSUpgradeRequest) -> Upgrade:
    office = Office()
    office.is_dead = b"/dead/" in request.path
    return Upgrade(Response.create_101_response({"Sec-WebSocket-Protocol": "ocpp1.6"}), office)


async def main(port: int) -> None:
    server = await ws_create_server(accept, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(main(parser.parse_args().port))
