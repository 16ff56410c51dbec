"""Structured logs: one line a decision, secrets masked in one place."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

SECRETS = frozenset({"password", "token", "secret", "authorization", "cookie", "pin", "authorization_key"})
TAGS = frozenset({"id_tag", "tag", "parent_tag", "email"})


def mask(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Hide secrets whole and show only the ends of tags and addresses."""
    for key, value in event.items():
        if key in SECRETS:
            event[key] = "***"
        elif key in TAGS and isinstance(value, str):
            event[key] = f"{value[:2]}…{value[-2:]}" if len(value) > 4 else "…"
    return event


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
