"""What one HTTP door keeps while it is open, found from any request through its app."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field

from starlette.requests import HTTPConnection

from voltyard.kernel.buckets import KEYS_MAX
from voltyard.kernel.context import Context
from voltyard.web.limits import Limits


class Recent:
    """Keys that were there a short time ago; bounded, the oldest is forgotten first."""

    def __init__(self, period_s: float, *, keys_max: int = KEYS_MAX) -> None:
        self._period_s = period_s
        self._keys_max = keys_max
        self._seen: OrderedDict[str, float] = OrderedDict()

    def is_new(self, key: str, now_s: float) -> bool:
        """Note a key; say whether it had not been noted within the period."""
        at_s = self._seen.get(key)
        if at_s is not None and now_s - at_s < self._period_s:
            return False
        self._seen[key] = now_s
        self._seen.move_to_end(key)
        if len(self._seen) > self._keys_max:
            self._seen.popitem(last=False)
        return True


TOKEN_USE_S = 300.0


def _recent_tokens() -> Recent:
    return Recent(TOKEN_USE_S)


@dataclass(frozen=True, slots=True)
class Door:
    """One HTTP door: its name in metrics, the parts it works with, and what it counts.

    ``closing`` is set when the server stops, for whatever would else go on.
    """

    name: str
    ctx: Context
    key: bytes = field(repr=False)
    limits: Limits
    noted_tokens: Recent = field(default_factory=_recent_tokens)
    closing: asyncio.Event = field(default_factory=asyncio.Event)


def open_door(name: str, ctx: Context) -> Door:
    """Return a new door that works with these parts."""
    limits = Limits(ctx.clock, trusted_proxies=ctx.settings.trusted_proxies)
    return Door(name, ctx, ctx.settings.secret_key(), limits)


def door_of(request: HTTPConnection) -> Door:
    """Return the door through which a request came."""
    door = request.app.state.door
    assert isinstance(door, Door), "this app was not furnished: call doorway.furnish"
    return door
