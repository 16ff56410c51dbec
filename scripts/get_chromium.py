"""Get a Chromium for the tests, when there is none: Debian's with apt as root, else one from npm.

The second needs neither apt nor root: program, libraries and fonts lie packed in one npm package, whose exact
content is fixed by requirements/chromium/package-lock.json.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time

from dev_servers import ROOT, ServerUnavailable, find_chromium
from set_up import BIN, REQUIREMENTS, SetUpFailed, install, node_folder, run

APT_WITHIN_S = 180
UNPACKED = ROOT / ".tools" / "chromium"


def from_apt() -> bool:
    """Try Debian's package; whatever goes wrong only means that the other way is taken."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return False
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"],
    ):
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, check=False, timeout=APT_WITHIN_S
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        if done.returncode != 0:
            return False
    return True


def from_npm() -> None:
    if node_folder() is None:
        install("node.lock")
    node = node_folder() or BIN
    packages = UNPACKED / "npm"
    packages.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy(REQUIREMENTS / "chromium" / name, packages / name)
    run([node / "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
        folder=packages, more_path=node)  # fmt: skip
    run([node / "node", ROOT / "scripts" / "unpack_chromium.mjs", UNPACKED], more_path=node)


def is_there() -> bool:
    try:
        find_chromium()
    except ServerUnavailable:
        return False
    return True


def main() -> None:
    if is_there():
        return
    started = time.monotonic()
    print("  Chromium … ", end="", flush=True)
    if not (from_apt() and is_there()):
        from_npm()
    find_chromium()
    print(f"{time.monotonic() - started:.1f} s")


if __name__ == "__main__":
    try:
        main()
    except (SetUpFailed, ServerUnavailable) as failed:
        sys.exit(f"failed\n\nNo Chromium for the tests. {failed}")
