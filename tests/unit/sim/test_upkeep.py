from __future__ import annotations

from tests.unit.sim.driving import Bench
from voltyard.sim.upkeep import Download, Upload

PEM = "-----BEGIN CERTIFICATE-----"


def told(bench: Bench, action: str) -> list[str]:
    return [one["status"] for one in bench.all(action)]


def update(bench: Bench, location: str, at: str = "2026-03-01T12:01:00Z") -> None:
    assert bench.ask("UpdateFirmware", location=location, retrieveDate=at) == {}


def test_new_firmware_is_fetched_at_its_time_installed_and_told_after_the_reboot():
    bench = Bench().connect()
    update(bench, "ftp://example.org/fw-2.1.0.bin")
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


def finish_download(bench: Bench, data: bytes | None, is_genuine: bool = True) -> None:
    bench.do(bench.machine.downloaded(data, is_genuine, bench.now))


def test_firmware_over_http_is_really_fetched_and_tells_its_own_version():
    bench = Bench().connect()
    update(bench, "http://example.org/files/down/token/fw.bin", "2020-01-01T00:00:00Z")
    bench.wait(600)
    assert bench.files == [Download("http://example.org/files/down/token/fw.bin")]
    assert told(bench, "FirmwareStatusNotification") == ["Downloading"]
    finish_download(bench, b"voltyard-sim-firmware 2.1.0\nmore of it")
    bench.wait(60, 5)
    bench.connect()
    assert told(bench, "FirmwareStatusNotification")[1:] == ["Downloaded", "Installing", "Installed"]
    assert bench.all("BootNotification")[-1]["firmwareVersion"] == "2.1.0"


def test_firmware_that_cannot_be_had_is_tried_for_again_as_often_as_was_asked():
    bench = Bench().connect()
    bench.ask(
        "UpdateFirmware", location="https://example.org/2.bin", retrieveDate="2020-01-01T00:00:00Z",
        retries=1, retryInterval=30,
    )  # fmt: skip
    finish_download(bench, None)
    finish_download(bench, b"a foreign result")
    bench.wait(29)
    assert len(bench.files) == 1
    bench.wait(2)
    assert len(bench.files) == 2
    finish_download(bench, None)
    bench.wait(600)
    assert told(bench, "FirmwareStatusNotification") == [
        "Downloading", "DownloadFailed", "Downloading", "DownloadFailed",
    ]  # fmt: skip
    assert len(bench.files) == 2


def sign(bench: Bench, **over: object) -> str:
    firmware = {
        "location": "http://example.org/2.0.bin", "retrieveDateTime": "2020-01-01T00:00:00Z",
        "signingCertificate": PEM, "signature": "c2ln",
    } | over  # fmt: skip
    return str(bench.ask("SignedUpdateFirmware", requestId=7, firmware=firmware)["status"])


def test_signed_firmware_is_installed_at_its_time_once_its_signature_is_right():
    bench = Bench().connect()
    assert sign(bench, installDateTime="2026-03-01T13:00:00Z") == "Accepted"
    assert bench.files == [Download("http://example.org/2.0.bin", "c2ln", PEM)]
    finish_download(bench, b"x")
    bench.wait(1_800, 10)
    assert told(bench, "SignedFirmwareStatusNotification") == [
        "Downloading", "Downloaded", "SignatureVerified", "InstallScheduled",
    ]  # fmt: skip
    bench.wait(1_900, 10)
    bench.connect()
    assert told(bench, "SignedFirmwareStatusNotification")[4:] == ["Installing", "Installed"]
    assert {one["requestId"] for one in bench.all("SignedFirmwareStatusNotification")} == {7}
    assert bench.all("BootNotification")[-1]["firmwareVersion"] == "2.0"


def test_a_wrong_signature_keeps_firmware_out():
    bench = Bench().connect()
    assert sign(bench, signingCertificate="none") == "InvalidCertificate"
    assert sign(bench) == "Accepted"
    finish_download(bench, b"x", is_genuine=False)
    bench.wait(600)
    assert told(bench, "SignedFirmwareStatusNotification") == [
        "Downloading", "Downloaded", "InvalidSignature",
    ]  # fmt: skip
    assert bench.reboots == []


def log(bench: Bench, location: str, number: int) -> dict[str, object]:
    return bench.ask("GetLog", logType="SecurityLog", requestId=number, log={"remoteLocation": location})


def test_a_log_over_http_is_really_sent_and_told_with_its_number():
    bench = Bench().connect()
    assert log(bench, "http://example.org/in/", 4) == {"status": "Accepted", "filename": "CP1.log"}
    (upload,) = bench.files
    assert isinstance(upload, Upload)
    assert (upload.url, upload.name) == ("http://example.org/in/", "CP1.log")
    assert b'"identity": "CP1"' in upload.data
    bench.wait(60)
    assert log(bench, "http://example.org/in/", 5)["status"] == "AcceptedCanceled"
    bench.do(bench.machine.uploaded(False, bench.now))
    bench.do(bench.machine.uploaded(True, bench.now))
    bench.wait(1)
    assert [(one["status"], one["requestId"]) for one in bench.all("LogStatusNotification")] == [
        ("Uploading", 4), ("Uploading", 5), ("UploadFailure", 5),
    ]  # fmt: skip
    assert log(bench, "nowhere", 6) == {"status": "Rejected"}


def test_diagnostics_over_http_are_really_sent():
    bench = Bench().connect()
    bench.ask("GetDiagnostics", location="https://example.org/in/")
    bench.do(bench.machine.uploaded(True, bench.now))
    bench.wait(1)
    assert told(bench, "DiagnosticsStatusNotification") == ["Uploading", "Uploaded"]
