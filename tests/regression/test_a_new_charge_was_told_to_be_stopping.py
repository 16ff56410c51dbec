"""After a stop and a start within two minutes, the new charge was told to be stopping.

A stop that was asked for before the running charge began is no news about it.
"""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

from voltyard.chargers.commands import Command, CommandStatus
from voltyard.chargers.service import Connector
from voltyard.portal.chargers import _said
from voltyard.speech import ConnectorStatus

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def said(*, stopped_s: int, began_s: int) -> str | None:
    """Return what is said of a running charge that began, and a stop that was asked for, so long ago."""
    asked_at = NOW - timedelta(seconds=stopped_s)
    stop = Command(
        "cmd_1", "chg_1", "RemoteStopTransaction", '{"transactionId":7}', CommandStatus.EXECUTED, "Accepted",
        "{}", "user", "usr_1", "portal", asked_at, asked_at, asked_at,
    )  # fmt: skip
    connector = cast(
        Connector, SimpleNamespace(number=1, status=ConnectorStatus.CHARGING, status_at=asked_at)
    )
    work, running = cast(Any, SimpleNamespace(now=NOW)), cast(Any, object())
    look = _said(work, connector, running, [stop], NOW - timedelta(seconds=began_s))
    return look and look.message


def test_a_stop_before_the_charge_says_nothing_of_it():
    assert said(stopped_s=60, began_s=20) is None


def test_a_stop_of_the_charge_is_told():
    assert said(stopped_s=20, began_s=60) == "Accepted: the charger is stopping."
