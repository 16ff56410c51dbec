"""`make scale`: PostgreSQL, NATS and one process per role on this machine, until Ctrl+C.

The shape of a large installation in small: the same code, the parts in processes of their own.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from dev_servers import DevNats, DevPostgres

ROLES = ("central", "gateway", "api,portal", "worker")


def main() -> None:
    """Start everything, wait, stop everything in the reverse order."""
    parser = argparse.ArgumentParser(prog="make scale")
    parser.add_argument("--data", type=Path, default=Path(".demo/scale"))
    parser.add_argument("--http-port", type=int, default=8080)
    parser.add_argument("--ocpp-port", type=int, default=8887)
    arguments = parser.parse_args()
    arguments.data.mkdir(parents=True, exist_ok=True)
    postgres = DevPostgres((arguments.data / "postgres").resolve())
    nats = DevNats((arguments.data / "nats").resolve())
    voltyard = [sys.executable, "-m", "voltyard"]
    environment = os.environ | {
        "VOLTYARD_DATABASE_URL": postgres.url,
        "VOLTYARD_NATS_URL": nats.url,
        "VOLTYARD_DATA": str(arguments.data / "data"),
        "VOLTYARD_HTTP_PORT": str(arguments.http_port),
        "VOLTYARD_OCPP_PORT": str(arguments.ocpp_port),
    }
    processes: list[subprocess.Popen[bytes]] = []
    try:
        subprocess.run([*voltyard, "migrate"], env=environment, check=True)
        processes += [
            subprocess.Popen([*voltyard, "serve", "--roles", roles], env=environment) for roles in ROLES
        ]
        print(f"\n  PostgreSQL  {postgres.url}\n  NATS        {nats.url}")
        print(f"  Portal      http://localhost:{arguments.http_port}")
        print(f"  Chargers    ws://localhost:{arguments.ocpp_port}/ocpp/IDENTITY")
        print("\n  Add a person with the same variables set: voltyard user add EMAIL --admin\n", flush=True)
        while all(process.poll() is None for process in processes):
            time.sleep(0.5)
        print("a part has ended: stopping the others", file=sys.stderr)
    except KeyboardInterrupt:
        print("stopping …")
    finally:
        for process in reversed(processes):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait(20)
        nats.stop()
        postgres.stop()


if __name__ == "__main__":
    main()
