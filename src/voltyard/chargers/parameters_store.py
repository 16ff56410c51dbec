"""All SQL of parameters and of how a charger was set up."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from voltyard.chargers.tables import chargers, parameter_reads, parameters, setups
from voltyard.kernel.db import Work

Row = sa.Row[Any]

_told = (
    sa.update(parameters)
    .where(
        parameters.c.charger_id == sa.bindparam("of"),
        parameters.c.key == sa.bindparam("which"),
        # Somebody who saved meanwhile knows better.
        parameters.c.desired_at == sa.bindparam("since", type_=parameters.c.desired_at.type),
    )
    .values(
        {
            name: sa.bindparam(f"new_{name}", type_=parameters.c[name].type)
            for name in ("desired", "result", "is_pending", "tries")
        }
    )
)


def find_charger(work: Work, charger_id: str) -> Row | None:
    """Return where a charger is, since when, and what is known of reading it; whoever asks."""
    return work.row(
        sa.select(
            chargers.c.location_id,
            chargers.c.claimed_at,
            chargers.c.firmware,
            chargers.c.booted_at,
            parameter_reads.c.tried_at,
            parameter_reads.c.read_at,
            parameter_reads.c.firmware.label("read_firmware"),
            parameter_reads.c.is_by_key,
            parameter_reads.c.reboot_required_at,
            parameter_reads.c.recommended_at,
        )
        .outerjoin(parameter_reads, parameter_reads.c.charger_id == chargers.c.id)
        .where(chargers.c.id == charger_id)
    )


def find_parameters(work: Work, charger_id: str) -> list[Row]:
    """Return the parameters of a charger by name, those of an earlier owner among them."""
    return list(
        work.rows(
            sa.select(parameters).where(parameters.c.charger_id == charger_id).order_by(parameters.c.key)
        )
    )


def find_reads(work: Work, charger_ids: Iterable[str]) -> dict[str, Row]:
    """Return what is known of reading these chargers, whether something waits to be sent to them, and the
    heartbeat that somebody wants of them.
    """
    waiting = (
        sa.exists()
        .where(
            parameters.c.charger_id == chargers.c.id,
            parameters.c.is_pending,
            parameters.c.desired_at >= chargers.c.claimed_at,
        )
        .label("has_pending")
    )
    heartbeat = (
        sa.select(parameters.c.desired)
        .where(
            parameters.c.charger_id == chargers.c.id,
            parameters.c.key == "heartbeatinterval",
            parameters.c.desired_at >= chargers.c.claimed_at,
            parameters.c.result.in_(("accepted", "unchanged", "pending", "reboot_required")),
        )
        .scalar_subquery()
        .label("heartbeat")
    )
    rows = work.rows(
        sa.select(
            chargers.c.id,
            chargers.c.claimed_at,
            parameter_reads.c.tried_at,
            parameter_reads.c.firmware,
            parameter_reads.c.reboot_required_at,
            waiting,
            heartbeat,
        )
        .outerjoin(parameter_reads, parameter_reads.c.charger_id == chargers.c.id)
        .where(chargers.c.id.in_(sorted(set(charger_ids))))
    )
    return {row.id: row for row in rows}


def upsert_read(work: Work, charger_id: str, **values: Any) -> None:
    """Note something of reading a charger's parameters."""
    work.upsert(parameter_reads, [{"charger_id": charger_id, **values}], key=("charger_id",))


def clear_reboots(work: Work, charger_ids: Collection[str]) -> None:
    """Note that these chargers have been restarted."""
    work.run(
        sa.update(parameter_reads)
        .where(parameter_reads.c.charger_id.in_(sorted(charger_ids)))
        .values(reboot_required_at=None)
    )


def upsert_parameters(work: Work, rows: Sequence[Mapping[str, Any]]) -> None:
    """Store what was told of parameters, or what is wanted of them; all rows have the same columns."""
    work.upsert(parameters, rows, key=("charger_id", "key"))


def set_results(work: Work, charger_id: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Store what became of what was wanted; each row has ``which`` for the key and ``since``."""
    work.run_many(_told, [{"of": charger_id, **row} for row in rows])


def delete_untold(work: Work, charger_id: str, told: Collection[str]) -> None:
    """Forget the parameters that a charger does not tell any more, but for those that somebody wants."""
    work.run(
        sa.delete(parameters).where(
            parameters.c.charger_id == charger_id,
            parameters.c.key.not_in(sorted(told)),
            parameters.c.desired_at.is_(None),
            sa.not_(parameters.c.is_unknown),
        )
    )


def find_setup(work: Work, charger_id: str) -> Row | None:
    """Return how a charger was set up, if it was since it came where it is."""
    return work.row(
        sa.select(setups)
        .join(chargers, chargers.c.id == setups.c.charger_id)
        .where(setups.c.charger_id == charger_id, setups.c.set_at >= chargers.c.claimed_at)
    )


def upsert_setup(work: Work, charger_id: str, **values: Any) -> None:
    """Store how a charger was set up."""
    work.upsert(setups, [{"charger_id": charger_id, **values}], key=("charger_id",))
