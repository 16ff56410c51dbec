"""What all shapes of the API have in common, and how routes describe their refusals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, field_validator

from voltyard.web.paging import Slice

T = TypeVar("T")
S = TypeVar("S", bound=BaseModel)
MEDIA_TYPE = "application/problem+json"
ALWAYS = (401, 422, 429, 503)


class Inward(BaseModel):
    """A shape that comes in: unknown fields are mistakes."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    @field_validator("*")
    @classmethod
    def _storable(cls, value: Any) -> Any:
        """Refuse the one character that not every database can hold."""
        if isinstance(value, str) and "\0" in value:
            raise ValueError("text may not hold a NUL character")
        return value


class Outward(BaseModel):
    """A shape that goes out."""

    model_config = ConfigDict(from_attributes=True)


class Page(Outward, Generic[S]):
    """One page of a list; `next` is the cursor of the page behind it."""

    items: list[S]
    next: str | None

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        """Return the name that the shape has in the description, such as `CardPage`."""
        return f"{params[0].__name__}Page"


class ValueProblem(Outward):
    """One value that is not valid, with the JSON pointer of its place in what was sent."""

    pointer: str
    detail: str


class Problem(Outward):
    """An RFC 9457 problem document; the facts of the case stand beside these members."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    trace: str
    errors: list[ValueProblem] | None = None


def page(shown: Slice[T], shape: Callable[[T], S]) -> Page[S]:
    """Return a page with each item in its shape."""
    return Page(items=[shape(item) for item in shown.items], next=shown.next)


def whole(found: Sequence[T], shape: Callable[[T], S]) -> Page[S]:
    """Return a list that is short enough to have a single page."""
    return Page(items=[shape(item) for item in found], next=None)


_WORDS = (
    (401, "Nobody is logged in, or the token is not valid."),
    (403, "Known, but not allowed."),
    (404, "There is no such thing, or the caller may not know of it."),
    (409, "It does not fit the present state."),
    (410, "It was there, and is no longer."),
    (413, "The request is too large."),
    (422, "A value is not valid; `errors` says which."),
    (429, "Too many requests; `Retry-After` says when to come back."),
    (502, "The other side broke its protocol."),
    (503, "Not available just now; try again."),
    (504, "No answer in time."),
)


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe how a route may refuse, beside the ways in which every route may."""
    words = dict(_WORDS)
    return {
        status: {
            "description": words[status],
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in sorted({*ALWAYS, *statuses})
    }
