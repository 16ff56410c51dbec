from __future__ import annotations

from tests.unit.sim.driving import Bench


def told(bench: Bench, action: str) -> list[str]:
    return [one["status"] for one in bench.all(action)]


def update(bench: Bench, location: str, at: str = "2026-03-01T12:01:00Z") -> None:
    assert bench.ask("UpdateFirmware", location=location, retrieveDate=at) == {}


def test_new_firmware_is_fetched_at_its_time_installed_and_told_after_the_reboot():
    bench = Bench().connect()
    update(bench, "https://example.org/fw-2.1.0.bin")
    bench.wait(59)
    assert told(bench, "FirmwareStatusNotification") == []
    bench.wait(50, 5)
    assert bench.reboots == [5.0]
    bench.wait(5)
    bench.connect()
    assert told(bench, "FirmwareStatusNotification") == [
        "Downloading", "Downloaded", "Installing", "Installed",
    ]  # fmt: skip
    assert bench.all("BootNotification")[-1]["firmwareVersion"] == "fw-2.1.0"


def test_installing_waits_for_the_end_of_the_session():
    bench = Bench().connect().charge()
    update(bench, "ftp://example.org/fw.bin")
    bench.wait(600)
    assert told(bench, "FirmwareStatusNotification") == ["Downloading", "Downloaded"]
    bench.unplug()
    bench.wait(60)
    assert bench.reboots == [5.0]


def test_firmware_from_nowhere_fails():
    bench = Bench().connect()
    update(bench, "gopher://example.org/fw.bin", "2020-01-01T00:00:00Z")
    bench.wait(60)
    assert told(bench, "FirmwareStatusNotification") == ["Downloading", "DownloadFailed"]
    bench.ask("TriggerMessage", requestedMessage="FirmwareStatusNotification")
    assert told(bench, "FirmwareStatusNotification")[-1] == "Idle"


def test_diagnostics_are_uploaded_and_told():
    bench = Bench().connect()
    assert bench.ask("GetDiagnostics", location="ftp://example.org/in") == {"fileName": "CP1.log"}
    assert told(bench, "DiagnosticsStatusNotification") == ["Uploading"]
    bench.wait(10)
    assert told(bench, "DiagnosticsStatusNotification") == ["Uploading", "Uploaded"]
    assert bench.ask("GetDiagnostics", location="nowhere") == {}


def test_a_reboot_forgets_an_upload():
    bench = Bench().connect()
    bench.ask("GetDiagnostics", location="ftp://example.org/in")
    bench.ask("Reset", type="Hard")
    bench.wait(6)
    bench.connect().wait(60)
    assert told(bench, "DiagnosticsStatusNotification") == ["Uploading"]


def test_what_happens_offline_is_not_told_afterwards():
    bench = Bench().connect()
    bench.ask("GetDiagnostics", location="ftp://example.org/in")
    bench.lose()
    bench.wait(60)
    bench.connect()
    assert told(bench, "DiagnosticsStatusNotification") == ["Uploading"]
