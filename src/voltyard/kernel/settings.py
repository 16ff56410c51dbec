"""Settings of an installation, read once from ``VOLTYARD_…`` and passed down.

They are for whoever runs Voltyard; what customers choose lives in tables, and limits are constants.
The docstring below each field is the manual.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from voltyard.kernel.errors import Invalid
from voltyard.kernel.limits import CALL_LOG_DAYS

LOG_LEVELS = ("debug", "info", "warning", "error")
INBOX = "inbox:"
MAIL_SCHEMES = ("smtp", "smtps", "inbox")
ROLES = ("gateway", "central", "lines", "api", "portal", "worker")


class UnknownChargers(StrEnum):
    """What happens to a charger that nobody has registered."""

    HOLD = "hold"
    REFUSE = "refuse"


class SignUp(StrEnum):
    """Whether people make accounts by themselves."""

    OPEN = "open"
    CLOSED = "closed"


class PrivateNetworks(StrEnum):
    """Whether operator links may go to private addresses."""

    REFUSE = "refuse"
    ALLOW = "allow"


class Settings(BaseSettings):
    """All settings; build it once, in the program's entrance."""

    model_config = SettingsConfigDict(
        env_prefix="VOLTYARD_",
        env_nested_delimiter="__",
        env_file="voltyard.env",
        # `VOLTYARD_SECRET=` of a compose file means unset; an empty key would hash nothing.
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        # A refusal would otherwise repeat what was given, passwords included.
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    data: Path = Path("voltyard-data")
    """Folder for the embedded database, files and the installation's secret."""
    database_url: SecretStr | None = None
    """``postgresql://user:password@host/name``; unset means SQLite in the data folder."""
    nats_url: SecretStr | None = None
    """``nats://host:4222``; unset means that all roles live in one process."""
    public_url: str = "http://localhost:8080"
    """The address that people's browsers use; https turns on secure cookies."""
    public_ocpp_url: str = ""
    """The address that chargers use, shown in the portal; guessed from ``public_url`` when empty."""
    charger_files_url: str = ""
    """The address at which chargers fetch firmware and leave diagnostics, if they reach us at another one
    than people do: ``http://192.168.1.10:8080`` for those that know no TLS. Empty: ``public_url``."""
    host: str = "0.0.0.0"  # noqa: S104 - chargers and phones of the house must reach it; see the manual
    """The address to listen on."""
    http_port: int = 8080
    """Portal and REST."""
    ocpp_port: int = 8887
    """Chargers."""
    ocpp_tls_port: int = 0
    """Chargers over TLS (wss); 0 means that there is no such listener."""
    ocpp_tls_certificate: Path | None = None
    """The certificate of that listener with its chain, as PEM; unset means one of the local authority."""
    ocpp_tls_key: Path | None = None
    """The key of that certificate, as PEM."""
    ocpp_tls_client_authorities: Path | None = None
    """Other authorities whose certificates chargers may come with, as PEM, those that issue them included."""
    cpo_name: str = ""
    """The organisation that a charger's request for a certificate must name; unset means any."""
    roles: str = "all"
    """Which roles this process plays: ``all`` or names with commas."""
    smtp_url: SecretStr | None = None
    """``smtp://user:password@host:587``, ``smtps://`` for TLS from the start; unset means no mail.
    ``smtp`` has to take STARTTLS unless it is on this machine; ``?tls=off`` at the end lets it go without.
    ``inbox:`` keeps letters for who sits at this machine, at ``/inbox``: for trying things out."""
    mail_from: str = ""
    """Whom letters come from, as in ``Voltyard <chargers@example.com>``; empty: as ``public_url`` says."""
    sign_up: SignUp = SignUp.OPEN
    """``open`` lets everybody make an account who can read mail at an address, ``closed`` nobody."""
    unknown_chargers: UnknownChargers = UnknownChargers.HOLD
    """``hold`` lets an unknown charger wait to be claimed, ``refuse`` answers its socket with 404."""
    operator_private_networks: PrivateNetworks = PrivateNetworks.REFUSE
    """May operator links go to loopback and private addresses, and by plain ws."""
    secret: SecretStr | None = None
    """Key for hashing machine secrets; unset means a file in the data folder, made at first start."""
    call_log_days: int = Field(default=CALL_LOG_DAYS, ge=1)
    """How long the frames that chargers and Voltyard exchange are kept."""
    call_log_gib: float = Field(default=8.0, gt=0)
    """About how much room they may take; beyond that the oldest go first."""
    log_level: str = "info"
    """debug, info, warning or error."""
    log_json: bool = False
    """One JSON object a line instead of text for people."""
    trusted_proxies: str = Field(default="127.0.0.1")
    """Addresses, with commas, whose X-Forwarded headers are believed."""

    @model_validator(mode="after")
    def _shapes_that_work(self) -> Settings:
        unknown = [role for role in self.role_names if role not in ROLES]
        if unknown:
            raise ValueError(f"no such role: {', '.join(unknown)}; there are {', '.join(ROLES)}, or all")
        if not self.role_names:
            raise ValueError("a process without any role has nothing to do")
        is_whole = set(self.role_names) == set(ROLES)
        if not is_whole and self.nats_url is None:
            raise ValueError("roles in separate processes need VOLTYARD_NATS_URL")
        if not is_whole and self.url.startswith("sqlite"):
            raise ValueError("roles in separate processes need PostgreSQL: set VOLTYARD_DATABASE_URL")
        if (self.ocpp_tls_certificate is None) != (self.ocpp_tls_key is None):
            raise ValueError("VOLTYARD_OCPP_TLS_CERTIFICATE and VOLTYARD_OCPP_TLS_KEY belong together")
        if self.secret is not None and not self.secret.get_secret_value():
            raise ValueError("an empty secret protects nothing; leave VOLTYARD_SECRET out to have one made")
        if self.log_level.lower() not in LOG_LEVELS:
            raise ValueError(f"no such log level; there are {', '.join(LOG_LEVELS)}")
        if (
            self.smtp_url is not None
            and urlsplit(self.smtp_url.get_secret_value()).scheme not in MAIL_SCHEMES
        ):
            raise ValueError("VOLTYARD_SMTP_URL must look like smtp://user:password@mail.example.com:587")
        people = urlsplit(self.public_url)
        if people.scheme not in {"http", "https"} or not people.hostname:
            raise ValueError("VOLTYARD_PUBLIC_URL must look like https://voltyard.example.com")
        chargers = urlsplit(self.files_url)
        if chargers.scheme not in {"http", "https"} or not chargers.hostname:
            raise ValueError("VOLTYARD_CHARGER_FILES_URL must look like http://192.168.1.10:8080")
        return self

    @property
    def role_names(self) -> tuple[str, ...]:
        """The roles of this process."""
        if self.roles == "all":
            return ROLES
        return tuple(role.strip() for role in self.roles.split(",") if role.strip())

    @property
    def url(self) -> str:
        """The database's address, password included."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.data / 'voltyard.db'}"

    @property
    def sends_mail(self) -> bool:
        """Say whether letters can be sent, or are kept for somebody who looks."""
        return self.smtp_url is not None

    def keeping_mail(self) -> Settings:
        """Return these settings with letters going into the inbox of this machine, unless a server is set."""
        if self.smtp_url is not None:
            return self
        return self.model_copy(update={"smtp_url": SecretStr(INBOX)})

    @property
    def keeps_mail(self) -> bool:
        """Say whether letters go into the inbox of this machine and nowhere else."""
        return self.smtp_url is not None and self.smtp_url.get_secret_value().startswith(INBOX)

    @property
    def sender(self) -> str:
        """Whom letters come from."""
        return self.mail_from or f"Voltyard <voltyard@{urlsplit(self.public_url).hostname}>"

    @property
    def is_https(self) -> bool:
        """Say whether people come over TLS, so that cookies may be marked secure."""
        return urlsplit(self.public_url).scheme == "https"

    @property
    def ocpp_url(self) -> str:
        """The address to type into a charger, without the identity.

        Where people come over TLS there is a proxy in front, and chargers come through the same one.
        """
        if self.public_ocpp_url:
            return self.public_ocpp_url.rstrip("/")
        people = urlsplit(self.public_url)
        if self.is_https:
            return f"wss://{people.netloc}/ocpp"
        host = people.hostname or ""
        return f"ws://{f'[{host}]' if ':' in host else host}:{self.ocpp_port}/ocpp"

    @property
    def files_url(self) -> str:
        """The address below which chargers find ``/files``."""
        return (self.charger_files_url or self.public_url).rstrip("/")

    @property
    def ocpp_tls_url(self) -> str:
        """The address that chargers type for TLS, without the identity; empty where there is none."""
        plain = urlsplit(self.ocpp_url)
        if plain.scheme == "wss":
            return self.ocpp_url
        if not self.ocpp_tls_port:
            return ""
        host = plain.hostname or ""
        path = plain.path.rstrip("/")
        return f"wss://{f'[{host}]' if ':' in host else host}:{self.ocpp_tls_port}{path}"

    def make_data(self) -> None:
        """Make the data folder if it is not there; nobody else on the machine may look into it."""
        if not self.data.exists():
            self.data.mkdir(parents=True, exist_ok=True, mode=0o700)

    def secret_key(self) -> bytes:
        """Return the installation's secret, making and keeping one in the data folder at first use.

        Raises: Invalid when the file is there but holds nothing.
        """
        if self.secret is not None:
            return self.secret.get_secret_value().encode()
        path = self.data / "secret.key"
        if not path.exists():
            self.make_data()
            part = path.with_name(f"secret.key.{secrets.token_hex(4)}")
            part.touch(mode=0o600)
            try:
                with part.open("w") as file:
                    file.write(secrets.token_hex(32))
                    file.flush()
                    os.fsync(file.fileno())  # what is hashed with it must not outlive it
                with contextlib.suppress(FileExistsError):  # another process was first; its secret counts
                    path.hardlink_to(part)
            finally:
                part.unlink()
        key = path.read_bytes()
        if not key.strip():
            raise Invalid(f"{path} is empty; put the secret back from the backup")
        return key
