"""How far a transfer is: what the charger's words mean for it, as functions of values.

Invariants: what has arrived stays arrived, whatever is said later; a word that we do not know, and Idle,
change nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Kind(StrEnum):
    """What is moved: new firmware towards a charger, or one of its logs from it."""

    FIRMWARE = "firmware"
    DIAGNOSTICS = "diagnostics"
    LOG = "log"
    SECURITY_LOG = "security_log"


UPLOADS: Final = (Kind.DIAGNOSTICS, Kind.LOG, Kind.SECURITY_LOG)


class Stage(StrEnum):
    """Where a transfer is."""

    WAITING = "waiting"
    ASKED = "asked"
    REFUSED = "refused"
    UNABLE = "unable"
    OFFLINE = "offline"
    SILENT = "silent"
    CANCELLED = "cancelled"
    REPLACED = "replaced"
    TIMED_OUT = "timed_out"

    UPLOADING = "uploading"
    RECEIVED = "received"
    SENT = "sent"
    MISSING = "missing"
    NOTHING = "nothing"
    FAILED = "failed"

    SCHEDULED = "scheduled"
    DOWNLOADING = "downloading"
    PAUSED = "paused"
    DOWNLOADED = "downloaded"
    VERIFIED = "verified"
    INSTALL_SCHEDULED = "install_scheduled"
    INSTALLING = "installing"
    REBOOTING = "rebooting"
    INSTALLED = "installed"
    DOWNLOAD_FAILED = "download_failed"
    BAD_SIGNATURE = "bad_signature"
    VERIFICATION_FAILED = "verification_failed"
    INSTALL_FAILED = "install_failed"


GOING_ON: Final = frozenset(
    (
        Stage.WAITING, Stage.ASKED, Stage.SILENT, Stage.UPLOADING, Stage.MISSING, Stage.SCHEDULED,
        Stage.DOWNLOADING, Stage.PAUSED, Stage.DOWNLOADED, Stage.VERIFIED, Stage.INSTALL_SCHEDULED,
        Stage.INSTALLING, Stage.REBOOTING,
    )
)  # fmt: skip
"""Stages behind which another one is expected."""

FETCHED: Final = frozenset(
    (
        Stage.DOWNLOADED, Stage.VERIFIED, Stage.INSTALL_SCHEDULED, Stage.INSTALLING, Stage.REBOOTING,
        Stage.INSTALLED,
    )
)  # fmt: skip
"""Stages in which a charger holds the new firmware whole."""

# OCPP 1.6 §7.24 and §7.25, and §5 of the security white paper, in lower case as some chargers write them.
_UPLOAD_WORDS: Final = MappingProxyType(
    {
        "uploading": Stage.UPLOADING,
        "uploadfailed": Stage.FAILED,
        "uploadfailure": Stage.FAILED,
        "badmessage": Stage.FAILED,
        "notsupportedoperation": Stage.FAILED,
        "permissiondenied": Stage.FAILED,
        "acceptedcanceled": Stage.REPLACED,
    }
)
_FIRMWARE_WORDS: Final[Mapping[str, Stage]] = MappingProxyType(
    {
        "downloadscheduled": Stage.SCHEDULED,
        "downloading": Stage.DOWNLOADING,
        "downloadpaused": Stage.PAUSED,
        "downloaded": Stage.DOWNLOADED,
        "downloadfailed": Stage.DOWNLOAD_FAILED,
        "signatureverified": Stage.VERIFIED,
        "invalidsignature": Stage.BAD_SIGNATURE,
        "installscheduled": Stage.INSTALL_SCHEDULED,
        "installing": Stage.INSTALLING,
        "installrebooting": Stage.REBOOTING,
        "installverificationfailed": Stage.VERIFICATION_FAILED,
        "installationfailed": Stage.INSTALL_FAILED,
        "installed": Stage.INSTALLED,
    }
)


def after_upload_word(stage: Stage, word: str, *, is_ours: bool) -> Stage:
    """Return where an upload is once a charger has said this word.

    ``is_ours`` tells whether the file comes to us: only then can we know that it is there.
    """
    if stage is Stage.RECEIVED:
        return stage
    said = word.strip().lower()
    if said == "uploaded":
        return Stage.MISSING if is_ours else Stage.SENT
    return _UPLOAD_WORDS.get(said, stage)


def after_firmware_word(stage: Stage, word: str) -> Stage:
    """Return where an update is once a charger has said this word."""
    return _FIRMWARE_WORDS.get(word.strip().lower(), stage)


def is_idle(word: str) -> bool:
    """Say whether a charger tells that it does nothing of the kind: it was only asked for its state."""
    return word.strip().lower() == "idle"


def after_boot(stage: Stage, *, before: str, wanted: str, told: str) -> Stage:
    """Return where an update is once the charger has started and told its firmware.

    Another version than before proves the installation, or the wanted one if the charger held the whole
    file; the same one as before proves nothing.
    """
    is_other = bool(told and before) and told != before
    if is_other or (stage in FETCHED and is_same_version(told, wanted)):
        return Stage.INSTALLED
    return stage


def is_same_version(told: str, wanted: str) -> bool:
    """Say whether a charger tells the version that was wanted, give or take a v in front and blanks."""
    return bool(wanted) and _tidy(told) == _tidy(wanted)


def _tidy(version: str) -> str:
    return version.strip().lower().removeprefix("v").strip()


def seen(stage: Stage, ends_at: datetime, now: datetime) -> Stage:
    """Return where a transfer is now: what should have gone on and did not has timed out."""
    return Stage.TIMED_OUT if stage in GOING_ON and now >= ends_at else stage
