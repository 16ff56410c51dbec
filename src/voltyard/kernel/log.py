"""Structured logs: one line a decision, secrets masked in one place."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

SECRETS = frozenset({"password", "token", "secret", "authorization", "cookie", "pin", "authorization_key"})
TAGS = frozenset({"id_tag", "tag", "parent_tag", "email"})
HIDDEN = "***"


def mask(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Hide secrets whole and show only the ends of tags and addresses, also one level down.

    What is masked is a copy: a value that was logged belongs to whoever logged it.
    """
    for key, value in event.items():
        event[key] = _masked(key, _inner(value))
    return event


def _inner(value: Any) -> Any:
    """Mask what stands in a mapping, or in the mappings of a list."""
    if isinstance(value, Mapping):
        return {key: _masked(key, inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_inner(each) if isinstance(each, Mapping) else each for each in value]
    return value


def _masked(key: object, value: Any) -> Any:
    """Mask a value as its name demands, however that is spelled: ``id_tag``, ``idTag``, ``Id-Tag``."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", str(key)).lower().replace("-", "_")
    if name in SECRETS or name.rpartition("_")[2] in SECRETS:
        return HIDDEN
    if name not in TAGS:
        return value
    if isinstance(value, list | tuple):
        return [_ends(each) for each in value]
    return _ends(value)


def _ends(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return f"{value[:2]}…{value[-2:]}" if len(value) > 4 else "…"


def set_up(*, level: str = "info", is_json: bool = False) -> None:
    """Choose how this process logs; call it once, in the program's entrance."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            mask,
            structlog.processors.format_exc_info if is_json else structlog.dev.set_exc_info,
            structlog.processors.JSONRenderer()
            if is_json
            # Plain: the renderer's own choice shows local variables, secrets among them, and takes seconds.
            else structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            ),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )


def logger(part: str) -> structlog.typing.FilteringBoundLogger:
    """Return the log of one part of Voltyard."""
    bound: structlog.typing.FilteringBoundLogger = structlog.get_logger(part=part)
    return bound
