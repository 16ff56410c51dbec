"""The baseline: picows on uvloop that sends every frame back as it came."""

import argparse

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server
from picows import WSUpgradeResponse as Response
from picows import WSUpgradeResponseWithListener as Upgrade


class Echo(WSListener):
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.TEXT:
            transport.send(WSMsgType.TEXT, frame.get_payload_as_bytes())
        elif frame.msg_type is WSMsgType.CLOSE:
            transport.disconnect()


def accept(_request: WSUpgradeRequest) -> Upgrade:
    return Upgrade(Response.create_101_response({"Sec-WebSocket-Protocol": "ocpp1.6"}), Echo())


async def main(port: int) -> None:
    server = await ws_create_server(accept, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(main(parser.parse_args().port))
