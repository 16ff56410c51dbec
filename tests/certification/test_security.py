"""The test cases of the security white paper: TC_073 … TC_088, the ones with TLS over a real TLS listener."""

from __future__ import annotations

import base64
import ssl
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import websockets
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from dev_servers import free_port
from tests.certification.conftest import Lab, Station
from tests.certification.point import Payload, hours_ago
from tests.e2e.library_charger import instant
from tests.e2e.server import Server, until

NEW_PASSWORD = "00112233445566778899aabbccddeeff00112233"
WRONG = "ffffffffffffffffffffffffffffffff"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    settings = {"ocpp_tls_port": str(free_port())}
    with Server(tmp_path_factory.mktemp("serve"), **settings) as server:
        made = Lab(server)
        made.tls_url = f"wss://localhost:{settings['ocpp_tls_port']}/ocpp"
        yield made


class Papers:
    """What a charger keeps for TLS: the root that it trusts, a key of its own, and a certificate for that."""

    def __init__(self, folder: Path, root_pem: str) -> None:
        self.folder = folder
        self.root_pem = root_pem
        self.key = ec.generate_private_key(ec.SECP256R1())

    def request(self, identity: str) -> str:
        """Return a request for a certificate in this name, as PEM."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, identity)])
        request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(self.key, hashes.SHA256())
        return request.public_bytes(serialization.Encoding.PEM).decode()

    def of_nobody(self, identity: str, *, is_authority: bool = False) -> str:
        """Return a certificate that nobody has signed but its owner, as PEM."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, identity)])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(hours_ago(1))
            .not_valid_after(hours_ago(-24))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM).decode()

    def context(self, chain_pem: str = "") -> ssl.SSLContext:
        """Return what it takes to come over TLS, with this certificate or with none."""
        context = ssl.create_default_context(cadata=self.root_pem)
        if chain_pem:
            chain, key = self.folder / "chain.pem", self.folder / "key.pem"
            chain.write_text(chain_pem)
            key.write_bytes(
                self.key.private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.NoEncryption(),
                )
            )
            context.load_cert_chain(chain, key)
        return context


@pytest_asyncio.fixture
async def papers(lab: Lab, tmp_path: Path) -> Papers:
    return Papers(tmp_path, (await lab.person("GET", "/security/root"))["certificate"])


async def refused(cp: Station, **how: Any) -> int:
    """Try to connect; return the status with which that was refused."""
    with pytest.raises(websockets.InvalidStatus) as why:
        await cp.connect(**how)
    return why.value.response.status_code


async def get_certificate(cp: Station, papers: Papers, word: str = "Accepted") -> str:
    """Have the charger ask for a certificate; return the chain that it gets, which it answers with a word."""
    cp.answers["CertificateSigned"] = {"status": word}
    asked = await cp.api("POST", "/certificates")
    assert asked["word"] == "Accepted"
    assert cp.told("ExtendedTriggerMessage")[-1] == {"requestedMessage": "SignChargePointCertificate"}
    answer = await cp.say("SignCertificate", csr=papers.request(cp.identity))
    assert answer == {"status": "Accepted"}
    signed = await cp.until_told("CertificateSigned")

    async def is_settled() -> bool:
        (newest,) = (await cp.api("GET", "/certificates"))["items"]
        return newest["status"] == word.lower()

    await until(is_settled, "the charger's word on its certificate is known")
    return signed["certificateChain"]


async def events(cp: Station) -> list[str]:
    """Return the kinds of the security events that are known, newest first."""
    return [each["kind"] for each in (await cp.api("GET", "/security/events"))["items"]]


async def upgrade(cp: Station, profile: int) -> None:
    """Have the charger take a higher security profile, and restart it."""
    asked = await cp.api("POST", "/security/profile", profile=profile, trusts_already=True)
    assert (asked["status"], asked["word"]) == ("executed", "Accepted")
    assert cp.told("ChangeConfiguration")[-1] == {"key": "SecurityProfile", "value": str(profile)}
    asked = await cp.api("POST", "/actions/restart", type="hard")
    assert cp.told("Reset")[-1] == {"type": "Hard"}
    await cp.leave()


# --- the password and the certificate of a charger ------------------------------------------------


async def test_tc_073_update_charge_point_password_for_http_basic_authentication(cp: Station):
    asked = await cp.api("POST", "/security/password", password=NEW_PASSWORD)
    assert (asked["status"], asked["word"]) == ("executed", "Accepted")
    assert cp.told("ChangeConfiguration")[-1] == {"key": "AuthorizationKey", "value": NEW_PASSWORD}
    # What is remembered of it is no secret any more.
    (command, *_) = await cp.commands("ChangeConfiguration")
    assert NEW_PASSWORD not in str(command)
    await cp.leave()
    assert await refused(cp) == 401
    cp.password = NEW_PASSWORD
    await cp.connect()
    assert (await cp.boot())["status"] == "Accepted"


async def test_tc_074_update_charge_point_certificate_by_request_of_central_system(
    lab: Lab, cp: Station, papers: Papers
):
    chain = await get_certificate(cp, papers)
    certificates = x509.load_pem_x509_certificates(chain.encode())
    assert certificates[0].public_key() == papers.key.public_key()
    assert f"CN={cp.identity}" in certificates[0].subject.rfc4514_string()
    await cp.leave()
    cp.password = None
    await cp.connect(url=lab.tls_url, tls=papers.context(chain))
    assert (await cp.boot())["status"] == "Accepted"
    assert (await cp.api("GET", "/security"))["certificate"]["status"] == "accepted"


async def test_tc_077_invalid_charge_point_certificate_security_event(cp: Station, papers: Papers):
    await get_certificate(cp, papers, "Rejected")
    answer = await cp.say(
        "SecurityEventNotification", type="InvalidChargePointCertificate", timestamp=instant()
    )
    assert answer == {}
    assert await events(cp) == ["InvalidChargePointCertificate"]


# --- root certificates ----------------------------------------------------------------------------


def hashed(algorithm: str, serial: str) -> Payload:
    return {
        "hashAlgorithm": algorithm,
        "issuerNameHash": "ab" * 16,
        "issuerKeyHash": "cd" * 16,
        "serialNumber": serial,
    }


async def install_root(cp: Station, papers: Papers, kind: str, use: str, word: str = "Accepted") -> Payload:
    cp.answers["InstallCertificate"] = {"status": word}
    asked = await cp.api(
        "POST", "/roots", kind=kind, certificate=papers.of_nobody("Some root", is_authority=True)
    )
    told = cp.told("InstallCertificate")[-1]
    assert told["certificateType"] == use
    assert told["certificate"].startswith("-----BEGIN CERTIFICATE-----")
    assert asked["word"] == word
    return asked


async def read_roots(cp: Station, kind: str, use: str, *found: Payload) -> list[Payload]:
    cp.answers["GetInstalledCertificateIds"] = (
        {"status": "Accepted", "certificateHashData": list(found)} if found else {"status": "NotFound"}
    )
    asked = await cp.api("POST", "/roots/read", kind=kind)
    assert asked["status"] == "executed"
    assert cp.told("GetInstalledCertificateIds")[-1] == {"certificateType": use}
    listed = (await cp.api("GET", "/roots"))["items"]
    return [each["hash"] for each in listed if each["kind"] == kind]


async def install_and_read(cp: Station, papers: Papers, kind: str, use: str) -> None:
    assert (await install_root(cp, papers, kind, use))["status"] == "executed"
    (root,) = await read_roots(cp, kind, use, hashed("SHA256", "1f"))
    assert (root["algorithm"].upper(), root["serial"].lower()) == ("SHA256", "1f")


async def test_tc_075_1_install_manufacturer_root_certificate(cp: Station, papers: Papers):
    await install_and_read(cp, papers, "manufacturer", "ManufacturerRootCertificate")


async def test_tc_075_2_install_central_system_root_certificate(cp: Station, papers: Papers):
    await install_and_read(cp, papers, "central", "CentralSystemRootCertificate")


async def test_tc_076_delete_a_specific_certificate_from_the_charge_point(cp: Station, papers: Papers):
    kind, use = "central", "CentralSystemRootCertificate"
    for serial, algorithm in (("1a", "SHA256"), ("1b", "SHA384"), ("1c", "SHA512")):
        await install_root(cp, papers, kind, use)
        wanted = hashed(algorithm, serial)
        (root,) = await read_roots(cp, kind, use, wanted)
        asked = await cp.api("POST", "/roots/delete", **root)
        assert (asked["status"], asked["word"]) == ("executed", "Accepted")
        assert cp.told("DeleteCertificate")[-1] == {"certificateHashData": wanted}
        assert await read_roots(cp, kind, use) == []


async def test_tc_078_invalid_central_system_certificate_security_event(cp: Station, papers: Papers):
    asked = await install_root(cp, papers, "central", "CentralSystemRootCertificate", "Rejected")
    assert asked["status"] == "rejected"
    answer = await cp.say(
        "SecurityEventNotification",
        type="InvalidCentralSystemCertificate",
        timestamp=instant(),
        techInfo="no such issuer",
    )
    assert answer == {}
    assert await events(cp) == ["InvalidCentralSystemCertificate"]


# --- logs and signed firmware ---------------------------------------------------------------------


async def test_tc_079_get_security_log(cp: Station):
    begun = await cp.api(
        "POST", "/transfers", kind="security_log", address="https://files.example.com/security"
    )
    (told,) = cp.told("GetLog")
    assert (told["logType"], told["log"]["remoteLocation"]) == (
        "SecurityLog",
        "https://files.example.com/security",
    )
    for status in ("Uploading", "Uploaded"):
        answer = await cp.say("LogStatusNotification", status=status, requestId=told["requestId"])
        assert answer == {}
    done = await cp.until_stage(begun["id"], "sent")
    assert [step["word"] for step in done["steps"]][-2:] == ["Uploading", "Uploaded"]


async def update_firmware(cp: Station, papers: Papers) -> tuple[str, int]:
    """Order an update with signed firmware; return the ids by which the API and the charger know it."""
    signature = papers.key.sign(b"whatever", ec.ECDSA(hashes.SHA256()))
    file = await cp.upload_firmware(
        "2.0",
        signature=base64.b64encode(signature).decode(),
        certificate=papers.of_nobody("Manufacturer"),
    )
    begun = await cp.api("POST", "/firmware", firmware_id=file["id"], is_signed=True)
    (told,) = cp.told("SignedUpdateFirmware")
    assert told["firmware"]["signature"] == base64.b64encode(signature).decode()
    assert told["firmware"]["signingCertificate"].startswith("-----BEGIN CERTIFICATE-----")
    return begun["id"], told["requestId"]


async def test_tc_080_secure_firmware_update(cp: Station, papers: Papers):
    transfer_id, number = await update_firmware(cp, papers)

    async def tell(*statuses: str) -> None:
        for status in statuses:
            answer = await cp.say("SignedFirmwareStatusNotification", status=status, requestId=number)
            assert answer == {}

    await tell("Downloading", "Downloaded", "SignatureVerified")
    await cp.all_are("Unavailable")
    await tell("Installing", "InstallRebooting")
    await cp.leave()
    await cp.connect()
    assert (await cp.boot(firmware="2.0"))["status"] == "Accepted"
    await cp.say("SecurityEventNotification", type="FirmwareUpdated", timestamp=instant())
    await cp.all_are("Available")
    await tell("Installed")
    done = await cp.until_stage(transfer_id, "installed")
    assert (done["version_before"], done["version_after"], done["is_proven"]) == ("1.0", "2.0", True)
    assert "FirmwareUpdated" in await events(cp)


async def test_tc_081_secure_firmware_update_invalid_signature(cp: Station, papers: Papers):
    transfer_id, number = await update_firmware(cp, papers)
    for status in ("Downloading", "Downloaded", "InvalidSignature"):
        await cp.say("SignedFirmwareStatusNotification", status=status, requestId=number)
    await cp.say("SecurityEventNotification", type="InvalidFirmwareSignature", timestamp=instant())
    assert (await cp.until_stage(transfer_id, "bad_signature"))["is_going_on"] is False
    assert await events(cp) == ["InvalidFirmwareSignature"]


# --- security profiles ----------------------------------------------------------------------------


async def test_tc_083_upgrade_charge_point_security_profile_accepted(lab: Lab, cp: Station, papers: Papers):
    await upgrade(cp, 2)
    await cp.connect(url=lab.tls_url, tls=papers.context())
    assert (await cp.boot())["status"] == "Accepted"
    await cp.all_are("Available")
    shown = await cp.api("GET", "/security")
    assert (shown["enforced_profile"], shown["profile_in_use"], shown["is_tls"]) == (2, 2, True)
    await cp.leave()
    # The old way is closed, the new one stays open.
    assert await refused(cp) == 403
    await cp.connect(url=lab.tls_url, tls=papers.context())
    # And on to profile 3: a certificate first.
    chain = await get_certificate(cp, papers)
    await upgrade(cp, 3)
    await cp.connect(url=lab.tls_url, tls=papers.context(chain))
    assert (await cp.boot())["status"] == "Accepted"
    await cp.leave()
    assert await refused(cp, url=lab.tls_url, tls=papers.context()) == 403
    # It is never lowered (the counterpart of TC_084).
    for profile in (1, 2, 3):
        await cp.api("POST", "/security/profile", status=409, profile=profile, trusts_already=True)


async def test_tc_085_basic_authentication_valid_username_password_combination(plain: Station):
    good = plain.password
    for password in (None, "", WRONG):
        plain.password = password
        assert await refused(plain) == 401
    plain.password = good
    await plain.connect()
    assert (await plain.boot())["status"] == "Accepted"
    await plain.all_are("Available")


async def test_tc_086_tls_server_side_certificate_valid_certificate(lab: Lab, plain: Station, papers: Papers):
    await plain.connect(url=lab.tls_url, tls=papers.context())
    assert (await plain.boot())["status"] == "Accepted"
    await plain.all_are("Available")
    shown = await plain.api("GET", "/security")
    assert (shown["profile_in_use"], shown["is_tls"]) == (2, True)
    # Older versions of TLS are not spoken.
    await plain.leave()
    old = papers.context()
    old.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await plain.connect(url=lab.tls_url, tls=old)


async def test_tc_087_tls_client_side_certificate_valid_certificate(lab: Lab, cp: Station, papers: Papers):
    chain = await get_certificate(cp, papers)
    await upgrade(cp, 3)
    cp.password = None
    await cp.connect(url=lab.tls_url, tls=papers.context(chain))
    assert (await cp.boot())["status"] == "Accepted"
    await cp.all_are("Available")
    shown = await cp.api("GET", "/security")
    assert (shown["profile_in_use"], shown["enforced_profile"]) == (3, 3)
    await cp.leave()
    # A certificate of nobody does not get in: TLS ends before anything is said.
    with pytest.raises((ssl.SSLError, ConnectionError, websockets.InvalidHandshake)):
        await cp.connect(url=lab.tls_url, tls=papers.context(papers.of_nobody(cp.identity)))
    assert await refused(cp, url=lab.tls_url, tls=papers.context()) == 403


async def test_tc_088_websocket_subprotocol_negotiation(plain: Station):
    # 1.6-J §3.1.2: the handshake is completed without a subprotocol, then the socket is closed.
    await plain.connect(versions=["ocpp0.1"])
    assert plain.subprotocol is None
    await plain.closed()
    await plain.connect(versions=["ocpp0.1", "ocpp1.6"])
    assert plain.subprotocol == "ocpp1.6"
    assert (await plain.boot())["status"] == "Accepted"
