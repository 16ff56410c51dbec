"""Reboots, new firmware and diagnostics: what happens to a charger over minutes (OCPP 1.6 §4.4, §4.5, §5.14).

A file's address decides how its transfer goes: one that no charger could fetch fails.
"""

from __future__ import annotations

from datetime import datetime
from urllib.parse import urlsplit

from voltyard.sim.envelope import Payload
from voltyard.sim.station import Station

TRANSFER_SCHEMES = frozenset({"ftp", "ftps", "http", "https", "sftp"})
TRANSFER_S = 10.0
INSTALL_S = 20.0
PATIENCE_S = 10.0
"""How long a soft reset waits for the end of its transactions to be acknowledged."""


GRACE_S = 1.0
"""Between an answer and going down for it, so that the answer arrives."""


class Upkeep:
    """The slow procedures of one charger."""

    def __init__(self, station: Station) -> None:
        self._station = station
        self._firmware_steps: list[str] = []
        self._firmware_location = ""
        self._diagnostics_steps: list[str] = []
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
        if self.firmware_status == "Installing":
            self._station.firmware = self._firmware_location.rsplit("/", 1)[-1].rsplit(".", 1)[0][:50]
        for timer in ("reboot", "diagnostics", "firmware"):
            self._station.timers.pop((timer, 0), None)

    def accepted(self) -> None:
        """The boot was accepted: tell what the last installation came to."""
        if self.firmware_status == "Installing":
            self._tell_firmware("Installed")
            self.firmware_status = "Idle"

    def update_firmware(self, location: str, retrieve_at: datetime) -> None:
        """Fetch and install new firmware (§5.19); a running transaction is never interrupted."""
        fetchable = urlsplit(location).scheme in TRANSFER_SCHEMES
        self._firmware_steps = [
            "Downloading",
            *(["Downloaded", "Installing", "reboot"] if fetchable else ["DownloadFailed"]),
        ]
        self._firmware_location = location
        self._station.timers["firmware", 0] = max(retrieve_at, self._station.now)

    def send_diagnostics(self, location: str) -> str | None:
        """Upload a file (§5.9) and return its name, or None when there is nowhere to put it."""
        if urlsplit(location).scheme not in TRANSFER_SCHEMES:
            return None
        self._diagnostics_steps = ["Uploading", "Uploaded"]
        self._station.after("diagnostics", 0, 0)
        return f"{self._station.plate.identity}.log"

    def came_due(self, timer: str) -> None:
        """Take the next step of what is under way."""
        if timer == "diagnostics":
            self.diagnostics_status = self._diagnostics_steps.pop(0)
            self.tell_diagnostics()
            if self._diagnostics_steps:
                self._station.after("diagnostics", 0, TRANSFER_S)
            else:
                self.diagnostics_status = "Idle"
            return
        step = self._firmware_steps[0]
        charges = any(one.transaction for one in self._station.connectors.values())
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
        else:
            self.firmware_status = "Idle"

    def tell_diagnostics(self, is_triggered: bool = False) -> None:
        """Say how the upload goes (§4.4)."""
        self._station.tell("DiagnosticsStatusNotification", {"status": self.diagnostics_status}, is_triggered)

    def tell_firmware(self) -> None:
        """Say how the update goes, because TriggerMessage asked."""
        self._station.tell("FirmwareStatusNotification", {"status": self.firmware_status}, is_triggered=True)

    def _tell_firmware(self, status: str) -> None:
        self.firmware_status = status
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
