"""Statements for many rows: compiled once, then run by the driver's own executemany.

SQLAlchemy compiles and converts row by row otherwise, which cost a fifth of the server's time for a
message. What is run is the same SQL with the same conversions of types.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

Convert = Callable[[Any], Any]


class Prepared(NamedTuple):
    """A statement as the driver takes it: its text, and each parameter's name and conversion in order."""

    text: str
    names: tuple[str, ...]
    conversions: tuple[tuple[int, Convert], ...]


def prepare(
    statement: sa.ClauseElement, dialect: sa.Dialect, columns: Sequence[str] | None = None
) -> Prepared:
    """Compile a statement for one database; ``columns`` names those that an insert fills."""
    compiled = statement.compile(dialect=dialect, column_keys=None if columns is None else list(columns))
    assert isinstance(compiled, sa.sql.compiler.SQLCompiler)
    names = tuple(compiled.positiontup or ())
    assert names, "the driver takes its parameters by position"
    conversions = []
    for place, name in enumerate(names):
        convert = compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect)
        if convert is not None:
            conversions.append((place, convert))
    return Prepared(compiled.string, names, tuple(conversions))


def parameters(prepared: Prepared, rows: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    """Return the rows as the driver takes them."""
    names, conversions = prepared.names, prepared.conversions
    found: list[tuple[Any, ...]] = []
    # Many rows carry the very same value, such as the time of their Work: it is converted once.
    seen: list[Any] = [conversions] * len(conversions)
    made: list[Any] = [None] * len(conversions)
    for row in rows:
        values = [row[name] for name in names]
        for index, (place, convert) in enumerate(conversions):
            value = values[place]
            if value is not seen[index]:
                seen[index], made[index] = value, convert(value)
            values[place] = made[index]
        found.append(tuple(values))
    return found
