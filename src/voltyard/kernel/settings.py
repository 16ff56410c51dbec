"""Settings of an installation, read once from ``VOLTYARD_…`` and passed down.

They are for whoever runs Voltyard; what customers choose lives in tables, and limits are constants.
The docstring below each field is the manual.
"""

from __future__ import annotations

import contextlib
import secrets
from enum import StrEnum
from pathlib import Path

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

ROLES = ("gateway", "central", "lines", "api", "portal", "worker")


class UnknownChargers(StrEnum):
    """What happens to a charger that nobody has registered."""

    HOLD = "hold"
    REFUSE = "refuse"


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
        extra="ignore",
        frozen=True,
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
    host: str = "0.0.0.0"  # noqa: S104 - chargers and phones of the house must reach it; see the manual
    """The address to listen on."""
    http_port: int = 8080
    """Portal and REST."""
    ocpp_port: int = 8887
    """Chargers."""
    roles: str = "all"
    """Which roles this process plays: ``all`` or names with commas."""
    smtp_url: SecretStr | None = None
    """``smtp://user:password@host:587``; unset means that no mail leaves."""
    unknown_chargers: UnknownChargers = UnknownChargers.HOLD
    """``hold`` lets an unknown charger wait to be claimed, ``refuse`` answers its socket with 404."""
    operator_private_networks: PrivateNetworks = PrivateNetworks.REFUSE
    """May operator links go to loopback and private addresses, and by plain ws."""
    secret: SecretStr | None = None
    """Key for hashing machine secrets; unset means a file in the data folder, made at first start."""
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
        is_whole = set(self.role_names) == set(ROLES)
        if not is_whole and self.nats_url is None:
            raise ValueError("roles in separate processes need VOLTYARD_NATS_URL")
        if not is_whole and self.url.startswith("sqlite"):
            raise ValueError("roles in separate processes need PostgreSQL: set VOLTYARD_DATABASE_URL")
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
    def is_https(self) -> bool:
        """Say whether people come over TLS, so that cookies may be marked secure."""
        return self.public_url.startswith("https://")

    @property
    def ocpp_url(self) -> str:
        """The address to type into a charger, without the identity."""
        if self.public_ocpp_url:
            return self.public_ocpp_url.rstrip("/")
        host = self.public_url.partition("://")[2].split("/")[0].split(":")[0]
        return f"ws://{host}:{self.ocpp_port}/ocpp"

    def secret_key(self) -> bytes:
        """Return the installation's secret, making and keeping one in the data folder at first use."""
        if self.secret is not None:
            return self.secret.get_secret_value().encode()
        path = self.data / "secret.key"
        if not path.exists():
            self.data.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f"secret.key.{secrets.token_hex(4)}")
            part.touch(mode=0o600)
            part.write_text(secrets.token_hex(32))
            with contextlib.suppress(FileExistsError):  # another process was first; its secret counts
                path.hardlink_to(part)
            part.unlink()
        return path.read_bytes()
