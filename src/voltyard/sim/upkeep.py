"""Reboots, new firmware and diagnostics: what happens to a charger over minutes (OCPP 1.6 §4.4, §4.5, §5.14).

A file's address decides how its transfer goes: over http it really takes place, done by whoever runs the
charger; over ftp it is only played; one that no charger could fetch fails.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote, urlsplit

from voltyard.sim.envelope import Payload, written
from voltyard.sim.station import Station

TRANSFER_SCHEMES = frozenset({"ftp", "ftps", "http", "https", "sftp"})
REAL_SCHEMES = frozenset({"http", "https"})
FIRMWARE_MARK = b"voltyard-sim-firmware "
"""Firmware that begins with this tells its version behind it, in the same line."""
RETRY_S = 60
TRANSFER_S = 10.0
INSTALL_S = 20.0
PATIENCE_S = 10.0
"""How long a soft reset waits for the end of its transactions to be acknowledged."""


GRACE_S = 1.0
"""Between an answer and going down for it, so that the answer arrives."""


@dataclass(frozen=True)
class Download:
    """Fetch this file, compare it with its signature if there is one, and hand it to ``downloaded``."""

    url: str
    signature: str = ""
    certificate: str = ""


@dataclass(frozen=True)
class Upload:
    """Send this file to there, and tell ``uploaded`` how it went."""

    url: str
    name: str
    data: bytes


@dataclass(frozen=True)
class Order:
    """An update as it was asked for; ``number`` is set for a signed one."""

    location: str
    retries: int = 0
    retry_interval_s: int = RETRY_S
    number: int | None = None
    signature: str = ""
    certificate: str = ""
    install_at: datetime | None = None


class Upkeep:
    """The slow procedures of one charger."""

    def __init__(self, station: Station) -> None:
        self._station = station
        self._firmware_steps: list[str] = []
        self._order = Order("")
        self._tries_left = 0
        self._version = ""
        self._is_downloading = False
        self._diagnostics_steps: list[str] = []
        self._log_number: int | None = None
        self._is_uploading = False
        self.wanted: list[Download | Upload] = []
        """What is to be done over the network, taken by whoever can."""
        self.firmware_status = "Idle"
        self.diagnostics_status = "Idle"
        self.reboots_when_said = False
        """A soft reset waits for the transaction messages to go out."""

    def reset(self, kind: str) -> None:
        """Restart soon (§5.14): soft says everything first, hard does not wait."""
        self._station.end_all(f"{kind}Reset")
        self.reboots_when_said = kind == "Soft"
        self._station.after("reboot", 0, PATIENCE_S if kind == "Soft" else GRACE_S)

    def all_is_said(self) -> None:
        """Nothing of a transaction waits any more: a soft reset goes on."""
        if self.reboots_when_said:
            self.reboots_when_said = False
            self._station.after("reboot", 0, GRACE_S)

    def rebooted(self) -> None:
        """The charger went down: what was under way is forgotten, a finished installation is not."""
        self.reboots_when_said = False
        self._diagnostics_steps = []
        self.diagnostics_status = "Idle"
        self._is_uploading = self._is_downloading = False
        if self.firmware_status == "Installing":
            stem = unquote(urlsplit(self._order.location).path.rsplit("/", 1)[-1]).rsplit(".", 1)[0]
            self._station.firmware = (self._version or stem)[:50]
        for timer in ("reboot", "diagnostics", "firmware"):
            self._station.timers.pop((timer, 0), None)

    def accepted(self) -> None:
        """The boot was accepted: tell what the last installation came to."""
        if self.firmware_status == "Installing":
            self._tell_firmware("Installed")
            self.firmware_status = "Idle"

    def update_firmware(self, order: Order, retrieve_at: datetime) -> None:
        """Fetch and install new firmware (§5.19); a running transaction is never interrupted."""
        scheme = urlsplit(order.location).scheme
        self._firmware_steps = ["Downloading"]
        if scheme not in REAL_SCHEMES:
            self._firmware_steps += (
                self._after_download() if scheme in TRANSFER_SCHEMES else ["DownloadFailed"]
            )
        self._order, self._tries_left, self._version = order, order.retries, ""
        self._is_downloading = False
        self._station.timers["firmware", 0] = max(retrieve_at, self._station.now)

    def _after_download(self) -> list[str]:
        verified = ["SignatureVerified"] if self._order.number is not None else []
        return ["Downloaded", *verified, "Installing", "reboot"]

    def downloaded(self, data: bytes | None, is_genuine: bool) -> None:
        """The firmware has been fetched, or could not be (None); ``is_genuine`` tells of its signature."""
        if not self._is_downloading:
            return
        self._is_downloading = False
        if data is None:
            self._tell_firmware("DownloadFailed")
            if self._tries_left > 0:
                self._tries_left -= 1
                self._firmware_steps = ["Downloading"]
                self._station.after("firmware", 0, self._order.retry_interval_s)
            else:
                self.firmware_status = "Idle"
            return
        if data.startswith(FIRMWARE_MARK):
            line = data[len(FIRMWARE_MARK) :].split(b"\n", 1)[0]
            self._version = line.decode(errors="replace").strip()
        signed = self._order.number is not None
        self._firmware_steps = self._after_download() if is_genuine or not signed else [
            "Downloaded", "InvalidSignature",
        ]  # fmt: skip
        self._station.after("firmware", 0, 0)

    def send_diagnostics(self, location: str, log_number: int | None = None) -> str | None:
        """Upload a file (§5.9) and return its name, or None when there is nowhere to put it.

        ``log_number`` is set where GetLog asked for it.
        """
        if urlsplit(location).scheme not in TRANSFER_SCHEMES:
            return None
        name = f"{self._station.plate.identity}.log"
        self._log_number = log_number
        self._diagnostics_steps = ["Uploading", "Uploaded"]
        self._is_uploading = urlsplit(location).scheme in REAL_SCHEMES
        if self._is_uploading:
            self._diagnostics_steps = ["Uploading"]
            self.wanted.append(Upload(location, name, self._diagnostics()))
        self._station.after("diagnostics", 0, 0)
        return name

    @property
    def is_sending(self) -> bool:
        """Whether a file is on its way out."""
        return self._is_uploading or bool(self._diagnostics_steps)

    def _diagnostics(self) -> bytes:
        """Return what a technician wants to know, as text."""
        station = self._station
        told = {
            "identity": station.plate.identity,
            "model": station.plate.model,
            "firmware": station.firmware,
            "at": written(station.now),
            "connectors": [connector.snapshot() for connector in station.connectors.values()],
        }
        return f"{json.dumps(told, indent=1)}\n".encode()

    def uploaded(self, is_done: bool) -> None:
        """The file has arrived, or could not be sent."""
        if not self._is_uploading:
            return
        self._is_uploading = False
        failed = "UploadFailed" if self._log_number is None else "UploadFailure"
        self._diagnostics_steps.append("Uploaded" if is_done else failed)
        self._station.timers.setdefault(("diagnostics", 0), self._station.now)

    def came_due(self, timer: str) -> None:
        """Take the next step of what is under way."""
        if timer == "diagnostics":
            self.diagnostics_status = self._diagnostics_steps.pop(0)
            self.tell_diagnostics()
            if self._diagnostics_steps:
                self._station.after("diagnostics", 0, TRANSFER_S)
            elif not self._is_uploading:
                self.diagnostics_status = "Idle"
            return
        step = self._firmware_steps[0]
        charges = any(one.transaction for one in self._station.connectors.values())
        install_at = self._order.install_at
        if step == "Installing" and install_at is not None and install_at > self._station.now:
            if self.firmware_status != "InstallScheduled":
                self._tell_firmware("InstallScheduled")
            self._station.timers["firmware", 0] = install_at
            return
        if step == "Installing" and charges:
            self._station.after("firmware", 0, INSTALL_S)
            return
        self._firmware_steps.pop(0)
        if step == "reboot":
            self._station.after("reboot", 0, 0)
            return
        self._tell_firmware(step)
        if self._firmware_steps:
            self._station.after("firmware", 0, INSTALL_S if step == "Installing" else TRANSFER_S)
        elif step == "Downloading":
            self._is_downloading = True
            self.wanted.append(Download(self._order.location, self._order.signature, self._order.certificate))
        else:
            self.firmware_status = "Idle"

    def tell_diagnostics(self, is_triggered: bool = False) -> None:
        """Say how the upload goes (§4.4)."""
        if self._log_number is not None and not is_triggered:
            said = {"status": self.diagnostics_status, "requestId": self._log_number}
            self._station.tell("LogStatusNotification", said)
            return
        self._station.tell("DiagnosticsStatusNotification", {"status": self.diagnostics_status}, is_triggered)

    def tell_firmware(self) -> None:
        """Say how the update goes, because TriggerMessage asked."""
        self._station.tell("FirmwareStatusNotification", {"status": self.firmware_status}, is_triggered=True)

    def _tell_firmware(self, status: str) -> None:
        self.firmware_status = status
        if self._order.number is not None:
            said = {"status": status, "requestId": self._order.number}
            self._station.tell("SignedFirmwareStatusNotification", said)
            return
        self._station.tell("FirmwareStatusNotification", {"status": status})

    def boot_payload(self) -> Payload:
        """Return what BootNotification tells (§4.2)."""
        plate = self._station.plate
        serial = plate.serial or plate.identity
        return {
            "chargePointVendor": plate.vendor[:20],
            "chargePointModel": plate.model[:20],
            "chargePointSerialNumber": serial[:25],
            "chargeBoxSerialNumber": serial[:25],
            "firmwareVersion": self._station.firmware,
            "meterType": "Simulated",
        }
