"""JSON for people: indented, with a colour for each kind of value. Everything is escaped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from markupsafe import Markup, escape

STEP = "  "
DEPTH_MAX = 40
"""Deeper than this nothing is indented any more."""


def coloured(value: Any) -> Markup:
    """Return a value as markup for a ``pre``; a text that is no JSON is better given to ``escape``."""
    return Markup("").join(_drawn(value, 0))


def _drawn(value: Any, depth: int) -> Iterator[Markup]:
    if isinstance(value, dict) and value and depth < DEPTH_MAX:
        yield from _listed("{", "}", ((_key(name), each) for name, each in value.items()), depth)
    elif isinstance(value, list) and value and depth < DEPTH_MAX:
        yield from _listed("[", "]", ((Markup(""), each) for each in value), depth)
    else:
        yield _plain(value)


def _listed(begin: str, end: str, items: Iterator[tuple[Markup, Any]], depth: int) -> Iterator[Markup]:
    yield Markup(begin)  # noqa: S704 - a bracket of ours
    for number, (name, each) in enumerate(items):
        yield Markup(("," if number else "") + "\n" + STEP * (depth + 1)) + name  # noqa: S704 - spaces of ours
        yield from _drawn(each, depth + 1)
    yield Markup("\n" + STEP * depth + end)  # noqa: S704 - spaces and a bracket of ours


def _key(name: str) -> Markup:
    return Markup('<span class="json-key">{}</span>: ').format(_written(name))


def _plain(value: Any) -> Markup:
    kind = "text" if isinstance(value, str) else "value"
    return Markup('<span class="json-{}">{}</span>').format(kind, _written(value))


def _written(value: Any) -> Markup:
    return escape(json.dumps(value, ensure_ascii=False, default=str))
