import pytest

from voltyard.web.csrf import ForeignPage, check

from .conftest import Make

COOKIE = "voltyard_session=secret"


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_reading_is_free(make: Make, method: str):
    check(make(method, cookie=COOKIE, sec_fetch_site="cross-site"))


@pytest.mark.parametrize(
    "headers",
    [
        {"sec_fetch_site": "same-origin"},
        {"sec_fetch_site": "none"},
        {"origin": "http://localhost:8080", "host": "localhost:8080"},
        {"origin": "https://localhost:8080", "host": "localhost:8080"},
        {"origin": "http://voltyard.test", "host": "10.0.0.5:8080"},
    ],
)
def test_our_own_page_may_write(make: Make, headers: dict[str, str]):
    check(make("POST", cookie=COOKIE, **headers))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "cross-site", "origin": "http://voltyard.test", "host": "voltyard.test"},
        {"origin": "http://evil.test", "host": "voltyard.test"},
        {"origin": "null", "host": "voltyard.test"},
        {"origin": "null"},
        {"origin": "http://voltyard.test.evil.test", "host": "voltyard.test"},
    ],
)
def test_a_foreign_page_may_not_write(make: Make, headers: dict[str, str]):
    for method in ("POST", "PATCH", "DELETE", "PUT"):
        with pytest.raises(ForeignPage):
            check(make(method, cookie=COOKIE, **headers))


def test_a_token_is_exempt_even_beside_a_cookie(make: Make):
    check(make("POST", cookie=COOKIE, authorization="Bearer x", sec_fetch_site="cross-site"))


def test_a_foreign_page_may_not_even_log_somebody_in(make: Make):
    with pytest.raises(ForeignPage):
        check(make("POST", sec_fetch_site="cross-site"))
    check(make("POST"))
