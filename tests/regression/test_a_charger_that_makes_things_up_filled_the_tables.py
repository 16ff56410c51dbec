"""A charger could add rows without end: connectors, findings, parameters with names of its own making.

Pages that show a charger read all of them, so one such charger took its location's pages down.
"""

from tests.factories import SYSTEM, make_charger, make_location, place_of
from voltyard.chargers import findings, findings_store, parameters, parameters_store
from voltyard.chargers import service as chargers
from voltyard.chargers.findings import ROWS_PER_CHARGER_MAX
from voltyard.chargers.parameters import PARAMETERS_MAX, Entry, Told
from voltyard.chargers.service import CONNECTOR_NUMBER_MAX
from voltyard.speech import Booted, ConnectorStatus, FlawTold, StatusTold


def is_told(number: int) -> StatusTold:
    return StatusTold(number, ConnectorStatus.AVAILABLE, "NoError", None, None, None, None)


async def test_connectors_that_no_charger_has_are_not_kept(ctx):
    charger = await make_charger(ctx, (await make_location(ctx)).id)
    for number in (1, CONNECTOR_NUMBER_MAX, CONNECTOR_NUMBER_MAX + 1, 2**31 - 1):
        await ctx.db.work(SYSTEM, chargers.tell_status, [(place_of(charger), is_told(number))])
    known = await ctx.db.read(SYSTEM, chargers.get, charger.id)
    assert [each.number for each in known.connectors] == [1, CONNECTOR_NUMBER_MAX]


async def test_findings_of_a_charger_with_a_new_firmware_at_each_boot_stay_few(sqlite_ctx):
    ctx = sqlite_ctx
    charger = await make_charger(ctx, (await make_location(ctx)).id)

    def reboot(work, number: int) -> None:
        said = Booted("Acme", f"Model {number}", None, None, f"{number}", None, None, None, None)
        chargers.boot(work, [(place_of(charger), said)])
        findings.told(work, [FlawTold(charger.id, "wrong_type", 1, "StatusNotification", "")])

    rounds = 3 * ROWS_PER_CHARGER_MAX
    for number in range(rounds):
        await ctx.db.work(SYSTEM, reboot, number)
    rows = await ctx.db.read(SYSTEM, findings_store.list_of_charger, charger.id)
    assert len(rows) <= ROWS_PER_CHARGER_MAX + 1
    assert sum(row.times for row in rows) == rounds


async def test_parameters_of_a_charger_that_tells_others_each_time_stay_few(ctx):
    charger = await make_charger(ctx, (await make_location(ctx)).id)
    await ctx.db.work(
        SYSTEM,
        parameters._keep,
        charger.id,
        Told({"heartbeatinterval": Entry("HeartbeatInterval", "300", False)}, {}),
    )
    for turn in range(3):
        made_up = {f"key{turn}x{number}": Entry(f"Key{turn}x{number}", "1", False) for number in range(400)}
        unknown = {f"no{turn}x{number}": f"No{turn}x{number}" for number in range(400)}
        again = {"heartbeatinterval": Entry("HeartbeatInterval", f"{turn}", False)}
        await ctx.db.work(SYSTEM, parameters._keep, charger.id, Told(made_up | again, unknown))
    rows = await ctx.db.read(SYSTEM, parameters_store.find_parameters, charger.id)
    assert len(rows) <= 2 * PARAMETERS_MAX
    assert next(row.reported for row in rows if row.key == "heartbeatinterval") == "2"
