"""Set up a checkout on a bare machine: Python packages, the portal's bundle, the browser of the tests.

Needs Python >= 3.11 and nothing else; imports only the standard library. A step runs again only when the
content of its inputs changed, so a second call is over in a moment. What is asked for:

    set_up.py run     what a running server needs
    set_up.py dev     that, and what building and checking need
    set_up.py test    that, a foreign back office on Node, and a Chromium
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TextIO

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
BIN = VENV / "bin"
STAMPS = VENV / ".set-up"
FRONTEND = ROOT / "frontend"
FOREIGN = ROOT / "tests" / "e2e" / "ocpp_rpc"
STATIC = ROOT / "src" / "voltyard" / "portal" / "static"
REQUIREMENTS = ROOT / "requirements"

OLDEST_PYTHON = (3, 11)
OLDEST_NODE = 22

UNREACHABLE = re.compile(
    r"connection (refused|reset|error|timed out)|name resolution|\b(ENOTFOUND|EAI_AGAIN)\b"
    r"|\b(ECONNREFUSED|ETIMEDOUT)\b|dns error|error sending request|failed to fetch|network is unreachable"
    r"|could not find a version|certificate",
    re.IGNORECASE,
)


class SetUpFailed(Exception):
    """A step did not work; the text says what to do."""


def say(text: str) -> None:
    print(text, flush=True)


def run(command: Sequence[str | Path], *, folder: Path = ROOT, more_path: Path | None = None) -> str:
    """Run a program quietly; show the end of its output only when it fails."""
    environment = dict(os.environ)
    environment.pop("PYTHONPATH", None)
    environment["VIRTUAL_ENV"] = str(VENV)
    path = environment.get("PATH", os.defpath)
    environment["PATH"] = os.pathsep.join([str(more_path), path]) if more_path else path
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
    except OSError as error:
        raise SetUpFailed(f"{command[0]} cannot be started: {error}") from error
    if done.returncode == 0:
        return done.stdout
    tail = "\n".join("    " + line for line in done.stdout.strip().splitlines()[-15:])
    hint = ""
    if UNREACHABLE.search(done.stdout):
        hint = (
            "\nThe package registry seems out of reach. Check the network; behind a mirror set "
            "PIP_INDEX_URL and UV_DEFAULT_INDEX (Python) and `npm config set registry` (portal), "
            "then run it again."
        )
    shown = " ".join(str(part) for part in command)
    raise SetUpFailed(f"`{shown}` ended with {done.returncode}:\n{tail}{hint}")


def digest(inputs: Iterable[Path]) -> str:
    """Tell the state of files and folders by their content, so that switching branches costs nothing."""
    state = hashlib.sha256()
    for given in inputs:
        found = sorted(p for p in given.rglob("*") if p.is_file()) if given.is_dir() else [given]
        for path in found:
            state.update(str(path.relative_to(ROOT)).encode())
            state.update(path.read_bytes() if path.exists() else b"-")
    return state.hexdigest()


def step(name: str, what: str, inputs: Sequence[Path], product: Path, do: Callable[[], str | None]) -> None:
    """Do a step unless its product stands and was made from the same inputs; show what it has to tell."""
    stamp, now = STAMPS / name, digest(inputs)
    if product.exists() and stamp.exists() and stamp.read_text() == now:
        return
    started = time.monotonic()
    print(f"  {what} … ", end="", flush=True)
    try:
        told = (do() or "").strip()
    except SetUpFailed:
        say("failed")
        raise
    STAMPS.mkdir(parents=True, exist_ok=True)
    stamp.write_text(now)
    say(f"{time.monotonic() - started:.1f} s")
    if told:
        say(f"    {told}")


def make_environment() -> None:
    """Make .venv, or make it anew when its Python has gone or is another one."""
    python = BIN / "python"
    wanted = f"{sys.version_info.major}.{sys.version_info.minor}"
    question = "import sys; print('%d.%d' % sys.version_info[:2])"
    if python.exists():
        asked = subprocess.run([python, "-c", question], capture_output=True, text=True, check=False)
        if asked.returncode == 0 and asked.stdout.strip() == wanted:
            return
    started = time.monotonic()
    print(f"  Python {wanted} environment in .venv … ", end="", flush=True)
    try:
        run([sys.executable, "-m", "venv", "--clear", VENV])
    except SetUpFailed as failed:
        say("failed")
        raise SetUpFailed(
            f"{failed}\nOn Debian and Ubuntu the module venv comes with `apt install python3-venv`."
        ) from failed
    say(f"{time.monotonic() - started:.1f} s")


def install_build_tools() -> None:
    lock = REQUIREMENTS / "build.lock"
    run([BIN / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
         "--require-hashes", "--requirement", lock])  # fmt: skip


def install(lock: str) -> None:
    # Compiled once, here: where Python may not write byte code, every start would compile everything again.
    run([BIN / "uv", "pip", "install", "--quiet", "--python", BIN / "python", "--compile-bytecode",
         "--require-hashes", "--requirement", REQUIREMENTS / lock])  # fmt: skip


def install_voltyard() -> None:
    run([BIN / "uv", "pip", "install", "--quiet", "--python", BIN / "python",
         "--no-deps", "--no-build-isolation", "--editable", ROOT])  # fmt: skip


def node_folder() -> Path | None:
    """Find the folder of a Node that is new enough: the system's, else that of node.lock."""
    node = shutil.which("node")
    if node and shutil.which("npm"):
        asked = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
        version = re.match(r"v(\d+)\.", asked.stdout)
        if version and int(version.group(1)) >= OLDEST_NODE:
            return Path(node).parent
    return BIN if (BIN / "node").exists() and (BIN / "npm").exists() else None


def set_up_python() -> None:
    make_environment()
    step("build", "installer", [REQUIREMENTS / "build.lock"], BIN / "uv", install_build_tools)
    step("runtime", "Python packages", [REQUIREMENTS / "runtime.lock"], BIN / "alembic",
         lambda: install("runtime.lock"))  # fmt: skip
    step("voltyard", "voltyard itself", [ROOT / "pyproject.toml"], BIN / "voltyard", install_voltyard)


def ready_node() -> Path:
    """Return the folder of a Node that is new enough, after bringing one along where there is none."""
    if node_folder() is None:
        step("node", "Node (this machine has none that is new enough)", [REQUIREMENTS / "node.lock"],
             BIN / "node", lambda: install("node.lock"))  # fmt: skip
    folder = node_folder()
    if folder is None:
        raise SetUpFailed(f"No Node >= {OLDEST_NODE} found. Install one, or remove .venv and run it again.")
    return folder


def packages_of(folder: Path) -> list[Path]:
    """Return the files that say which npm packages a folder has."""
    return [folder / name for name in ("package.json", "package-lock.json", ".npmrc")]


def set_up_portal() -> None:
    """Install the portal's packages and bundle them into the package."""
    packages = packages_of(FRONTEND)
    sources = [*packages, FRONTEND / "src", FRONTEND / "icons.txt", FRONTEND / "build.mjs"]
    manifest = STATIC / "manifest.json"
    modules = FRONTEND / "node_modules"
    stamp = STAMPS / "bundle"
    if manifest.exists() and modules.exists() and stamp.exists() and stamp.read_text() == digest(sources):
        return
    node = ready_node()
    step("npm", "portal packages", packages, modules, lambda: install_npm_packages(node, FRONTEND))
    step("bundle", "portal bundle", sources, manifest,
         lambda: run([node / "node", "build.mjs"], folder=FRONTEND, more_path=node))  # fmt: skip


def install_npm_packages(node: Path, folder: Path) -> None:
    run([node / "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
        folder=folder, more_path=node)  # fmt: skip


def set_up_development() -> None:
    step("dev", "test and check packages", [REQUIREMENTS / "dev.lock"], BIN / "pytest",
         lambda: install("dev.lock"))  # fmt: skip


def set_up_foreign_back_office() -> None:
    """Install the back office of the end-to-end tests that runs on Node."""
    step("foreign", "packages of a foreign back office", packages_of(FOREIGN), FOREIGN / "node_modules",
         lambda: install_npm_packages(ready_node(), FOREIGN))  # fmt: skip


def set_up_browser() -> None:
    """Fetch a Chromium, if there is none; a program of its own, because it may also be called alone."""
    fetched = subprocess.run([BIN / "python", ROOT / "scripts" / "get_chromium.py"], check=False)
    if fetched.returncode != 0:
        raise SetUpFailed("The tests need a browser; the reason why there is none stands above.")


def one_at_a_time(path: Path) -> TextIO:
    """Wait until nobody else sets up this checkout; the lock ends with the process."""
    lock = path.open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("  another set-up of this checkout is at work; waiting for it")
        fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def main(asked: str) -> None:
    if sys.version_info < OLDEST_PYTHON:
        raise SetUpFailed(f"Voltyard needs Python 3.11 or newer; this is {sys.version.split()[0]}.")
    tools = ROOT / ".tools"
    tools.mkdir(exist_ok=True)
    with one_at_a_time(tools / "set-up.lock"):
        set_up_python()
        set_up_portal()
        if asked in {"dev", "test"}:
            set_up_development()
        if asked == "test":
            set_up_foreign_back_office()
            set_up_browser()


if __name__ == "__main__":
    wanted = sys.argv[1] if len(sys.argv) == 2 else ""
    if wanted not in {"run", "dev", "test"}:
        sys.exit(__doc__)
    try:
        main(wanted)
    except SetUpFailed as failed:
        sys.exit(f"\nSet-up stopped. {failed}")
