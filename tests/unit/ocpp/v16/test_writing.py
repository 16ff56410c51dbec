"""What fits is written to the letter, what does not is refused with what to do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from tests.unit.ocpp.v16.schemas import NOON
from voltyard.kernel.errors import Invalid
from voltyard.ocpp.v16 import firmware, local_list, messages, writing

BERLIN = timezone(timedelta(hours=2))


def test_a_request_bears_the_name_of_its_action_and_leaves_none_out() -> None:
    assert writing.request(messages.RemoteStartTransaction, {"idTag": "A", "connectorId": None}) == (
        "RemoteStartTransaction",
        b'{"idTag":"A"}',
    )


@pytest.mark.parametrize(
    ("kind", "values", "pointer", "hint"),
    [
        (messages.Authorize, {"idTag": "A" * 21}, "/idTag", "shorten it to at most 20 characters"),
        (messages.Authorize, {}, "", "idTag"),
        (
            local_list.SendLocalList,
            {"listVersion": 1, "updateType": "Full", "localAuthorizationList": [{"idTag": ""}]},
            "/localAuthorizationList/0/idTag",
            "leave it not empty",
        ),
        (
            firmware.GetDiagnostics,
            {"location": "somewhere"},
            "/location",
            "write a whole address, such as https://example.com/file",
        ),
        (messages.Reset, {"type": "Medium"}, "/type", "Medium"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(
    kind: type[messages.Payload], values: dict[str, object], pointer: str, hint: str
) -> None:
    with pytest.raises(Invalid) as refused:
        writing.checked(kind, values)
    assert refused.value.errors[0][0] == pointer
    assert hint in refused.value.detail


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(Invalid, match="no text"):
        writing.checked(messages.Authorize, {"idTag": "\ud800"})


@pytest.mark.parametrize(
    ("at", "written"),
    [
        (None, None),
        (NOON, NOON),
        (NOON.replace(microsecond=999_999), NOON),
        (NOON.astimezone(BERLIN), NOON),
        (datetime(2026, 3, 1, 12, 0, 0, 5), datetime(2026, 3, 1, 12, 0, 0)),  # noqa: DTZ001
    ],
)
def test_an_instant_is_written_in_whole_seconds_of_utc(
    at: datetime | None, written: datetime | None
) -> None:  # Q36
    found = writing.seconds(at)
    assert found == written
    assert found is None or found.tzinfo in {UTC, None}
