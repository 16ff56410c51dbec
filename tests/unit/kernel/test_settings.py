"""Settings: what cannot work is refused at start, and secrets are never shown."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from pydantic import ValidationError

from voltyard.kernel.errors import Invalid
from voltyard.kernel.settings import ROLES, PrivateNetworks, Settings, UnknownChargers

POSTGRES = "postgresql://volt:hunter2@db/voltyard"
NATS = "nats://volt:hunter3@bus:4222"
SMTP = "smtp://volt:hunter4@mail:587"
SECRET = "hunter5"
WORDS = ("hunter2", "hunter3", "hunter4", "hunter5")
ASKERS = 8

# Says that it is ready, waits for a word, then asks for the secret: so that all ask at the same time.
ASK = """
import sys
from pathlib import Path
from voltyard.kernel.settings import Settings
settings = Settings(data=Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
print(settings.secret_key().decode(), flush=True)
"""


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in an empty folder, with nothing of Voltyard's in the environment."""
    for name in list(os.environ):
        if name.startswith("VOLTYARD_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def whole() -> Settings:
    return Settings(database_url=POSTGRES, nats_url=NATS, smtp_url=SMTP, secret=SECRET)


def refusal(**values: object) -> str:
    with pytest.raises(ValidationError) as caught:
        Settings(**values)
    return str(caught.value)


# --- where they come from -------------------------------------------------------------------------


def test_without_any_setting_everything_runs_in_one_process_on_sqlite():
    settings = Settings()
    assert settings.role_names == ROLES
    assert settings.url == "sqlite:///voltyard-data/voltyard.db"
    assert settings.nats_url is None
    assert settings.unknown_chargers is UnknownChargers.HOLD
    assert settings.operator_private_networks is PrivateNetworks.REFUSE
    assert settings.trusted_proxies == "127.0.0.1"


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("VOLTYARD_HTTP_PORT", "9090")
    monkeypatch.setenv("VOLTYARD_DATABASE_URL", POSTGRES)
    monkeypatch.setenv("VOLTYARD_UNKNOWN_CHARGERS", "refuse")
    settings = Settings()
    assert (settings.http_port, settings.url) == (9090, POSTGRES)
    assert settings.unknown_chargers is UnknownChargers.REFUSE


def test_settings_come_from_a_file_and_the_environment_counts_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "voltyard.env").write_text("VOLTYARD_HTTP_PORT=1111\nVOLTYARD_OCPP_PORT=2222\nOTHER=1\n")
    monkeypatch.setenv("VOLTYARD_HTTP_PORT", "3333")
    settings = Settings()
    assert (settings.http_port, settings.ocpp_port) == (3333, 2222)


@pytest.mark.parametrize("name", ["SECRET", "DATABASE_URL", "NATS_URL", "SMTP_URL", "ROLES", "HTTP_PORT"])
def test_an_empty_variable_means_unset(monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.setenv(f"VOLTYARD_{name}", "")
    assert Settings() == Settings(_env_file=None)
    assert getattr(Settings(), name.lower()) == Settings.model_fields[name.lower()].default


def test_settings_do_not_change_while_the_program_runs():
    with pytest.raises(ValidationError):
        Settings().http_port = 1


# --- combinations ---------------------------------------------------------------------------------


@pytest.mark.parametrize("roles", ["gateway", "gateway,central", "api, portal", ",".join(ROLES[1:])])
def test_some_of_the_roles_without_nats_are_refused(roles: str):
    assert "VOLTYARD_NATS_URL" in refusal(roles=roles, database_url=POSTGRES)


@pytest.mark.parametrize("roles", ["gateway", "gateway,central"])
def test_some_of_the_roles_on_sqlite_are_refused(roles: str):
    assert "VOLTYARD_DATABASE_URL" in refusal(roles=roles, nats_url=NATS)
    assert "VOLTYARD_DATABASE_URL" in refusal(roles=roles, nats_url=NATS, database_url="sqlite:///a.db")


def test_some_of_the_roles_with_postgres_and_nats_are_welcome():
    settings = Settings(roles="gateway, central,", database_url=POSTGRES, nats_url=NATS)
    assert settings.role_names == ("gateway", "central")


@pytest.mark.parametrize("roles", ["all", ",".join(ROLES), " , ".join(reversed(ROLES))])
def test_all_the_roles_are_one_whole_however_they_are_written(roles: str):
    assert set(Settings(roles=roles).role_names) == set(ROLES)


def test_a_role_that_does_not_exist_is_refused_by_name():
    shown = refusal(roles="gateway,kitchen", database_url=POSTGRES, nats_url=NATS)
    assert "kitchen" in shown
    assert "gateway, central" in shown


@pytest.mark.parametrize("roles", ["", ",", " , "])
def test_a_process_without_any_role_is_refused(roles: str):
    assert "nothing to do" in refusal(roles=roles, database_url=POSTGRES, nats_url=NATS)


@pytest.mark.parametrize(
    "values",
    [
        {"http_port": "many"},
        {"unknown_chargers": "maybe"},
        {"operator_private_networks": "maybe"},
        {"log_level": "loud"},
        {"secret": ""},
        {"public_url": ""},
        {"public_url": "voltyard.example.com"},
        {"public_url": "ftp://voltyard.example.com"},
        {"public_url": "https://"},
    ],
)
def test_a_value_that_cannot_work_is_refused(values: dict[str, object]):
    assert refusal(**values)


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error", "INFO"])
def test_the_levels_of_the_log_are_known(level: str):
    assert Settings(log_level=level).log_level == level


# --- addresses ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("public_url", "ocpp_url"),
    [
        ("http://localhost:8080", "ws://localhost:8887/ocpp"),
        ("http://192.0.2.7", "ws://192.0.2.7:8887/ocpp"),
        ("http://voltyard.local:8080/", "ws://voltyard.local:8887/ocpp"),
        ("http://[2001:db8::7]:8080", "ws://[2001:db8::7]:8887/ocpp"),
        ("https://voltyard.example.com", "wss://voltyard.example.com/ocpp"),
        ("https://voltyard.example.com/", "wss://voltyard.example.com/ocpp"),
        ("https://voltyard.example.com:8443/portal", "wss://voltyard.example.com:8443/ocpp"),
        ("HTTPS://voltyard.example.com", "wss://voltyard.example.com/ocpp"),
        ("https://[2001:db8::7]", "wss://[2001:db8::7]/ocpp"),
    ],
)
def test_the_address_for_chargers_is_guessed_from_that_for_people(public_url: str, ocpp_url: str):
    assert Settings(public_url=public_url).ocpp_url == ocpp_url


def test_the_address_for_chargers_follows_the_port():
    assert Settings(ocpp_port=9000).ocpp_url == "ws://localhost:9000/ocpp"


def test_an_address_for_chargers_that_is_given_counts():
    settings = Settings(public_url="https://a.example", public_ocpp_url="wss://b.example/chargers/")
    assert settings.ocpp_url == "wss://b.example/chargers"


@pytest.mark.parametrize(
    ("public_url", "is_https"), [("http://a.example", False), ("https://a.example", True)]
)
def test_cookies_are_secure_where_people_come_over_tls(public_url: str, is_https: bool):
    assert Settings(public_url=public_url).is_https is is_https


def test_the_database_stands_in_the_data_folder_unless_it_is_elsewhere(tmp_path: Path):
    assert Settings(data=tmp_path).url == f"sqlite:///{tmp_path}/voltyard.db"
    assert Settings(data=tmp_path, database_url=POSTGRES).url == POSTGRES


# --- secrets --------------------------------------------------------------------------------------


def test_secrets_are_never_shown():
    settings = whole()
    for shown in (
        repr(settings),
        str(settings),
        f"{settings}",
        str(settings.model_dump()),
        str(settings.model_dump(mode="json")),
        settings.model_dump_json(),
    ):
        assert not [word for word in WORDS if word in shown]
    assert "**********" in repr(settings)


def test_a_refusal_does_not_repeat_the_secrets():
    shown = refusal(roles="gateway", database_url=POSTGRES, secret=SECRET, smtp_url=SMTP)
    assert not re.findall("hunter|input_value", shown)
    assert "hunter" not in refusal(roles="gateway", database_url=POSTGRES, secret=SECRET, http_port=SMTP)


def test_a_secret_that_is_given_is_the_key_and_no_file_is_made(tmp_path: Path):
    assert Settings(data=tmp_path / "data", secret=SECRET).secret_key() == SECRET.encode()
    assert not (tmp_path / "data").exists()


def test_a_secret_is_made_once_and_kept_for_its_owner_only(tmp_path: Path):
    data = tmp_path / "deep" / "data"
    first = Settings(data=data).secret_key()
    assert re.fullmatch(rb"[0-9a-f]{64}", first)
    assert Settings(data=data).secret_key() == first
    assert stat.S_IMODE((data / "secret.key").stat().st_mode) == 0o600
    assert [path.name for path in data.iterdir()] == ["secret.key"]


def test_two_installations_have_different_secrets(tmp_path: Path):
    assert Settings(data=tmp_path / "a").secret_key() != Settings(data=tmp_path / "b").secret_key()


def test_a_secret_that_was_put_there_by_hand_counts(tmp_path: Path):
    (tmp_path / "secret.key").write_bytes(b"from the backup")
    assert Settings(data=tmp_path).secret_key() == b"from the backup"


@pytest.mark.parametrize("content", [b"", b"\n"])
def test_an_empty_file_is_no_secret(tmp_path: Path, content: bytes):
    (tmp_path / "secret.key").write_bytes(content)
    with pytest.raises(Invalid, match="is empty"):
        Settings(data=tmp_path).secret_key()
    assert (tmp_path / "secret.key").read_bytes() == content


def test_threads_that_ask_at_once_get_the_same_secret(tmp_path: Path):
    start = Barrier(ASKERS)

    def ask(_number: int) -> bytes:
        settings = Settings(data=tmp_path / "data")
        start.wait()
        return settings.secret_key()

    with ThreadPoolExecutor(ASKERS) as pool:
        secrets = set(pool.map(ask, range(ASKERS)))
    assert len(secrets) == 1
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["secret.key"]


def test_processes_that_start_at_once_get_the_same_secret(tmp_path: Path):
    data = tmp_path / "data"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", ASK, str(data)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    assert [each.stdout.readline() for each in processes] == ["ready\n"] * 3
    for each in processes:
        each.stdin.write("\n")
        each.stdin.flush()
    secrets = {each.communicate(timeout=60)[0].strip() for each in processes}
    assert [each.returncode for each in processes] == [0, 0, 0]
    assert secrets == {(data / "secret.key").read_text()}
    assert [path.name for path in data.iterdir()] == ["secret.key"]
    assert stat.S_IMODE((data / "secret.key").stat().st_mode) == 0o600


def test_the_data_folder_is_for_its_owner_only(tmp_path):
    settings = Settings(data=tmp_path / "new", secret="x")
    settings.make_data()
    assert settings.data.stat().st_mode & 0o077 == 0


def test_chargers_find_files_where_people_find_the_portal_unless_they_come_another_way():
    assert Settings(public_url="https://v.example/").files_url == "https://v.example"
    own = Settings(public_url="https://v.example", charger_files_url="http://10.0.0.2:8080/")
    assert own.files_url == "http://10.0.0.2:8080"
    with pytest.raises(ValueError, match="VOLTYARD_CHARGER_FILES_URL"):
        Settings(charger_files_url="10.0.0.2")


@pytest.mark.parametrize(
    ("values", "tls_url"),
    [
        ({}, ""),
        ({"ocpp_tls_port": 8888}, "wss://localhost:8888/ocpp"),
        (
            {"ocpp_tls_port": 8888, "public_ocpp_url": "ws://[2001:db8::1]:80/x/"},
            "wss://[2001:db8::1]:8888/x",
        ),
        ({"public_url": "https://v.example"}, "wss://v.example/ocpp"),
        ({"public_ocpp_url": "wss://cs.example:444/o", "ocpp_tls_port": 8888}, "wss://cs.example:444/o"),
    ],
)
def test_the_address_for_tls_is_that_of_the_port_or_of_the_proxy(values: dict[str, object], tls_url: str):
    assert Settings(**values).ocpp_tls_url == tls_url


def test_a_certificate_and_its_key_belong_together(tmp_path: Path):
    with pytest.raises(ValueError, match="belong together"):
        Settings(ocpp_tls_certificate=tmp_path / "chain.pem")
    Settings(ocpp_tls_certificate=tmp_path / "chain.pem", ocpp_tls_key=tmp_path / "key.pem")


def test_the_readme_names_every_setting_and_no_other():
    readme = (Path(__file__).parents[3] / "README.md").read_text()
    table = "".join(line for line in readme.splitlines(keepends=True) if line.startswith("| `VOLTYARD_"))
    named = set(re.findall(r"VOLTYARD_([A-Z_]+)", table))
    assert named == {name.upper() for name in Settings.model_fields}
