import pytest
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request

from voltyard.kernel.errors import (
    ChargerOffline,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    PeerFault,
    Refused,
    TimedOut,
    TooMany,
    Unauthenticated,
    Unavailable,
    VoltyardError,
)
from voltyard.web.problems import document, headers_of, path_of, pointer, status_of, translate


class CarMissing(Conflict):
    """A kind that a room might have."""


CarMissing.__module__ = "elsewhere"


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (Unauthenticated, 401),
        (Forbidden, 403),
        (NotFound, 404),
        (Conflict, 409),
        (CarMissing, 409),
        (Invalid, 422),
        (TooMany, 429),
        (Refused, 400),
        (PeerFault, 502),
        (Unavailable, 503),
        (ChargerOffline, 503),
        (TimedOut, 504),
        (VoltyardError, 500),
    ],
)
def test_the_kind_decides_the_status(kind: type[VoltyardError], status: int):
    assert status_of(kind) == status


def test_a_document_tells_the_case_and_its_facts():
    error = CarMissing("no car is plugged in", connector=2, status="mine")
    assert document(error, instance="/chargers/1", trace="abc") == {
        "type": "/problems/car_missing",
        "title": "That does not fit the present state",
        "status": 409,
        "detail": "no car is plugged in",
        "instance": "/chargers/1",
        "code": "car_missing",
        "trace": "abc",
        "connector": 2,
    }


def test_invalid_values_are_pointed_at():
    shown = document(Invalid("wrong", (("/name", "too long"),)), instance="/", trace="")
    assert shown["errors"] == [{"pointer": "/name", "detail": "too long"}]


@pytest.mark.parametrize(
    ("place", "text"),
    [
        (("body",), ""),
        (("body", "name"), "/name"),
        (("query", "limit"), "/limit"),
        (("body", "items", 0, "a/b~c"), "/items/0/a~1b~0c"),
        ((), ""),
    ],
)
def test_a_place_becomes_a_json_pointer(place: tuple[object, ...], text: str):
    assert pointer(place) == text


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (HTTPException(404), "no_such_address"),
        (HTTPException(405), "wrong_method"),
        (HTTPException(413), "too_large"),
        (HTTPException(400), "invalid"),
        (HTTPException(500), "unexpected"),
        (RequestValidationError([]), "invalid"),
        (RuntimeError("secret"), "unexpected"),
        (TooMany(), "too_many"),
    ],
)
def test_what_the_framework_raises_becomes_ours(wrong: Exception, code: str):
    assert translate(wrong).code() == code
    assert "secret" not in translate(wrong).detail


@pytest.mark.parametrize(
    ("error", "headers"),
    [
        (TooMany(retry_after_s=7), {"Retry-After": "7"}),
        (Unavailable(), {"Retry-After": "5"}),
        (TimedOut(), {}),
        (NotFound(), {}),
        (translate(HTTPException(405, headers={"Allow": "GET"})), {"Allow": "GET"}),
    ],
)
def test_headers_go_with_the_kind(error: VoltyardError, headers: dict[str, str]):
    assert headers_of(error) == {"Cache-Control": "no-store"} | headers


def test_the_token_of_a_file_is_not_written_down():
    for path, shown in (
        ("/files/up/vyf_s3cret/a.log", "/files/up/***/a.log"),
        ("/files/down/vyf_s3cret", "/files/down/***"),
        ("/chargers", "/chargers"),
    ):
        assert path_of(Request({"type": "http", "path": path, "headers": []})) == shown
