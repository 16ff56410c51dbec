"""What became of commands, in the language of whoever looks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from voltyard.chargers import outcomes
from voltyard.chargers.commands import Command
from voltyard.chargers.outcomes import Told
from voltyard.chargers.service import Connector
from voltyard.portal.shell import Visit
from voltyard.speech import ConnectorStatus

PLUGGED = frozenset((ConnectorStatus.PREPARING, ConnectorStatus.FINISHING, ConnectorStatus.SUSPENDED_EV))


class Said(NamedTuple):
    """A sentence, translated and filled in, and its tone."""

    text: str
    tone: str


def explain(command: Command, connectors: Sequence[Connector]) -> Told:
    """Return what became of a command, as far as the present state of the connectors tells more."""
    named = [each for each in connectors if command.connector in {None, 0, each.number}]
    return outcomes.explain(command, is_plugged=any(each.status in PLUGGED for each in named))


def say(here: Visit, told: Told) -> Said:
    """Return a sentence in the person's language."""
    return Said(here.text(told.text) % told.facts, told.tone)
