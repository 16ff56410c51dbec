"""Statements of the hot path: compiled once, then run by the driver itself.

SQLAlchemy compiles and converts row by row otherwise, which cost a fifth of the server's time for a
message; and a question for many ids is put together anew each time, which cost as much again. What is
run is the same SQL with the same conversions of types.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

Convert = Callable[[Any], Any]


class Prepared(NamedTuple):
    """A statement as the driver takes it: its text, and each parameter's name and conversion in order.

    ``fixed`` holds the values that the statement itself brings.
    """

    text: str
    names: tuple[str, ...]
    conversions: tuple[tuple[int, Convert], ...]
    fixed: Mapping[str, Any]


class Found(NamedTuple):
    """A question as the driver takes it, and how its rows are read."""

    prepared: Prepared
    row: Callable[[Iterable[Any]], Any]
    conversions: tuple[tuple[int, Convert], ...]


class _Values(sa.types.TypeDecorator[Any]):
    """Many values as one parameter: a JSON text on SQLite, an array on PostgreSQL."""

    impl = sa.Text
    cache_ok = True

    def __init__(self, *, is_number: bool) -> None:
        super().__init__()
        self.is_number = is_number

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        """Choose the type of this database."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(sa.Text())
        return dialect.type_descriptor(postgresql.ARRAY(sa.BigInteger() if self.is_number else sa.Text()))

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> Any:
        """Turn the values into what the driver takes."""
        return msgspec.json.encode(value).decode() if dialect.name == "sqlite" else list(value)


class among(sa.ColumnElement[bool]):  # noqa: N801 - a word of SQL, written like the others
    """``column`` is one of many values, given as a list under this parameter's name; for ``Work.find``."""

    inherit_cache = False
    type = sa.Boolean()
    # Else SQLite is asked whether it ``= 1``, and reads the whole table instead of an index.
    _is_implicitly_boolean = True

    def __init__(self, column: sa.Column[Any], name: str) -> None:
        self.column = column
        is_number = isinstance(column.type, sa.Integer)
        self.values = sa.bindparam(name, type_=_Values(is_number=is_number))


@compiles(among, "sqlite")
def _among_sqlite(element: among, compiler: SQLCompiler, **options: Any) -> str:
    column, values = compiler.process(element.column, **options), compiler.process(element.values, **options)
    return f"{column} IN (SELECT value FROM json_each({values}))"  # noqa: S608 - both are compiled SQL


@compiles(among, "postgresql")
def _among_postgresql(element: among, compiler: SQLCompiler, **options: Any) -> str:
    column, values = compiler.process(element.column, **options), compiler.process(element.values, **options)
    return f"{column} = ANY ({values})"


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
    fixed = {
        name: compiled.binds[name].effective_value
        for name in names
        if not compiled.binds[name].required and compiled.binds[name].effective_value is not None
    }
    return Prepared(compiled.string, names, tuple(conversions), fixed)


def prepare_find(statement: sa.Select[Any], dialect: sa.Dialect) -> Found:
    """Compile a question for one database; its rows are tuples with the names of its columns."""
    columns = statement.selected_columns
    conversions = []
    for place, column in enumerate(columns):
        kind = column.type.dialect_impl(dialect)
        # A float is one for both drivers; SQLAlchemy would ask which of PostgreSQL's it is.
        convert = None if isinstance(kind, sa.Float) else kind.result_processor(dialect, None)
        if convert is not None:
            conversions.append((place, convert))
    row = namedtuple("row", columns.keys(), rename=True)  # type: ignore[misc] # noqa: PYI024 - names are data
    return Found(prepare(statement, dialect), row._make, tuple(conversions))


def found_rows(found: Found, rows: Iterable[Sequence[Any]]) -> list[Any]:
    """Return what the driver gave as rows of the question's columns."""
    make, conversions = found.row, found.conversions
    if not conversions:
        return [make(row) for row in rows]
    read: list[Any] = []
    for row in rows:
        values = list(row)
        for place, convert in conversions:
            values[place] = convert(values[place])
        read.append(make(values))
    return read


def parameters(prepared: Prepared, rows: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    """Return the rows as the driver takes them."""
    names, conversions, fixed = prepared.names, prepared.conversions, prepared.fixed
    if fixed:
        rows = [{**fixed, **row} for row in rows]
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
