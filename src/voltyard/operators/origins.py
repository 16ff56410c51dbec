"""Who stands behind a call or a command, operators by their names too."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from voltyard.chargers import calls_report
from voltyard.chargers.calls import Call
from voltyard.chargers.calls_report import Origin
from voltyard.kernel.actor import Kind
from voltyard.kernel.db import Work
from voltyard.operators import store


def list_origins(work: Work, calls: Iterable[Call]) -> dict[str, Origin]:
    """Return who stands behind the origins of calls that the actor may see, by origin."""
    found = calls_report.list_origins(work, calls)
    known = names(work, {each.id for each in found.values() if each.kind == Kind.LINK})
    return {
        origin: replace(each, name=known[each.id]) if each.id in known else each
        for origin, each in found.items()
    }


def names(work: Work, link_ids: Collection[str]) -> dict[str, str]:
    """Return what these operators are called, also after they were disconnected."""
    return store.names_of(work, link_ids)
