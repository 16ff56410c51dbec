"""Parameters: read, saved, read back, kept for later, and hidden from the next owner."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.factories import SYSTEM, make_charger, make_location, make_member, make_user
from tests.unit.chargers.keyed import FACTORY, KeyedCharger
from voltyard.chargers import commands, keys, parameters, service
from voltyard.chargers.events import ParametersChanged
from voltyard.chargers.keys import Form
from voltyard.chargers.parameters import (
    ReadParameters,
    Result,
    SendParameters,
    understand,
)
from voltyard.kernel import jobs
from voltyard.kernel.errors import ChargerOffline, Forbidden, Invalid, NotFound
from voltyard.kernel.wire import decode
from voltyard.locations.access import Level
from voltyard.speech import Asked, GetKeys, Hello, SetKey


async def connect(ctx, charger) -> None:
    hello = Hello(charger.identity, "soc_1", "gateway-1", "ocpp1.6", "192.0.2.1")
    await ctx.db.work(SYSTEM, service.connect, [hello], key=ctx.settings.secret_key(), is_holding=False)


async def charger_of(ctx, *, is_there: bool = True, **habits):
    """Return an owner and their charger, connected and serving unless told otherwise."""
    owner = await make_user(ctx)
    location = await make_location(ctx, owner)
    charger = await make_charger(ctx, location.id)
    keyed = KeyedCharger(ctx, charger.id, **habits)
    if is_there:
        await connect(ctx, charger)
        await keyed.serve()
    return owner, keyed


async def shown(ctx, owner, keyed):
    return await ctx.db.read(owner.actor, parameters.get, keyed.charger_id)


async def waiting(ctx) -> list[object]:
    """Take our jobs that wait, however long."""
    ctx.clock.advance(3600)
    taken = await ctx.db.work(SYSTEM, jobs.claim, "test", most=50)
    for job in taken:
        await ctx.db.work(SYSTEM, jobs.done, job.id, "test")
    kinds = {kind.__name__: kind for kind in (SendParameters, ReadParameters)}
    return [decode(job.body, kinds[job.kind]) for job in taken if job.kind in kinds]


def results(saving) -> dict[str, Result]:
    return {each.name: each.result for each in saving.results}


# --- understanding --------------------------------------------------------------------------------


def test_an_answer_is_understood():
    told = understand('{"configurationKey":[{"key":"A","readonly":true,"value":"1"}],"unknownKey":["B"]}')
    assert told.entries == {"a": parameters.Entry("A", "1", True)}
    assert told.unknown == {"b": "B"}


@pytest.mark.parametrize(
    ("answer", "value", "is_readonly"),
    [
        ('{"configurationKey":[{"key":"A"}]}', None, None),
        ('{"configurationKey":[{"key":"A","readonly":"False","value":null}]}', None, False),
        ('{"configurationKey":{"key":"A","readonly":true,"value":12}}', "12", True),
        ('{"ConfigurationKey":[{"Key":" A ","Readonly":0,"Value":true}],"unknownKey":null}', "true", None),
        ('{"configurationKey":[7,{"value":"x"},{"key":"A","value":["x",2]}],"unknownKey":"B"}', "x,2", None),
        ('{"configurationKey":[{"key":"A","value":null},{"key":"a","value":"x"}]}', "x", None),
        ('{"configurationKey":[{"key":"A","value":"x\\u0000"}],"unknownKey":["A",""," ",5]}', "x", None),
    ],
)  # fmt: skip
def test_odd_answers_are_understood_q33(answer, value, is_readonly):
    told = understand(answer)
    assert told.entries["a"].value == value
    assert told.entries["a"].is_readonly is is_readonly


@pytest.mark.parametrize("answer", [None, "", "nonsense", "[]", "3", '{"errorCode":"NotSupported"}'])
def test_what_is_no_answer_tells_nothing(answer):
    assert understand(answer) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["configurationKey", "unknownKey", "x"]), json_values))
def test_understanding_never_raises(said):
    told = understand(json.dumps(said))
    assert told is None or not told.entries.keys() & told.unknown.keys()


@given(st.text(max_size=40))
def test_understanding_any_text_never_raises(text):
    understand(text)


# --- reading --------------------------------------------------------------------------------------


async def test_all_that_a_charger_tells_is_kept(ctx):
    owner, keyed = await charger_of(ctx)
    listening = await ctx.bus.listen("live.>", queue_max=20)
    read = await parameters.read(ctx, owner.actor, keyed.charger_id)
    assert (read.count, read.is_complete) == (len(FACTORY), True)
    assert keyed.questions == [()]
    found = await shown(ctx, owner, keyed)
    assert {each.name: each.reported for each in found.items} == FACTORY | {"WifiPassword": "***"}
    assert (found.read_at, found.is_by_key) == (ctx.clock.now(), False)
    rotation = found.find("numberofconnectors")
    assert (rotation.is_readonly, rotation.form, rotation.range) == (True, Form.INTEGER, "0 or more")
    url = found.find("BackOfficeUrl")
    assert (url.standard, url.form, url.range, url.is_risky, url.is_readonly) == (
        None,
        Form.TEXT,
        "",
        True,
        False,
    )
    async with asyncio.timeout(5):
        while not isinstance((await listening.next())[1], ParametersChanged):
            pass


async def test_a_long_value_a_missing_one_and_another_case_are_kept_q33(ctx):
    values = FACTORY | {"heartBeatINTERVAL": "60", "Big": "x" * 3000, "Missing": None}
    values.pop("HeartbeatInterval")
    owner, keyed = await charger_of(ctx, values=values)
    await parameters.read(ctx, owner.actor, keyed.charger_id)
    found = await shown(ctx, owner, keyed)
    assert found.value("Big") == "x" * 3000
    assert found.find("Missing").reported is None
    assert found.find("HeartbeatInterval").name == "heartBeatINTERVAL"
    assert found.find("HeartbeatInterval").standard is keys.find("HeartbeatInterval")


async def test_a_charger_that_cannot_list_is_asked_key_by_key_and_ever_after_q49(ctx):
    owner, keyed = await charger_of(ctx, can_list=False)
    read = await parameters.read(ctx, owner.actor, keyed.charger_id)
    assert read.is_complete
    assert keyed.questions[0] == ()
    assert all(len(names) == 1 for names in keyed.questions[1:])
    found = await shown(ctx, owner, keyed)
    assert found.is_by_key
    assert found.value("HeartbeatInterval") == "300"
    assert found.find("LightIntensity").is_unknown
    keyed.asked.clear()
    await parameters.read(ctx, owner.actor, keyed.charger_id)
    assert () not in keyed.questions
    # What it said it does not know it is not asked again.
    assert ("LightIntensity",) not in keyed.questions
    keyed.asked.clear()
    keyed.can_list = True
    await parameters.read(ctx, owner.actor, keyed.charger_id, is_listing_anew=True)
    assert keyed.questions == [()]
    assert not (await shown(ctx, owner, keyed)).is_by_key


async def test_a_charger_that_errs_at_what_it_does_not_know_is_read_all_the_same_q49(ctx):
    owner, keyed = await charger_of(ctx, can_list=False, errs_at_unknown=True)
    await parameters.read(ctx, owner.actor, keyed.charger_id)
    assert (await shown(ctx, owner, keyed)).value("HeartbeatInterval") == "300"


async def test_an_empty_list_and_silence_are_asked_key_by_key_too_q49(ctx):
    owner, keyed = await charger_of(ctx, values=FACTORY | {"ListsAtMost": "0"})
    keyed.values["ListsAtMost"] = "0"
    keyed.silent_at = lambda ask: ask == GetKeys(())
    await parameters.read(ctx, owner.actor, keyed.charger_id)
    assert (await shown(ctx, owner, keyed)).is_by_key


async def test_new_firmware_may_have_learned_to_list(ctx):
    owner, keyed = await charger_of(ctx, can_list=False)
    await parameters.read(ctx, owner.actor, keyed.charger_id)
    await ctx.db.work(SYSTEM, lambda work: service.store.set_charger(work, keyed.charger_id, firmware="2.0"))
    keyed.asked.clear()
    await parameters.read(ctx, owner.actor, keyed.charger_id)
    assert keyed.questions[0] == ()


async def test_a_list_that_is_cut_is_completed_by_name_and_no_more_at_once_than_it_takes_q49(ctx):
    values = FACTORY | {"GetConfigurationMaxKeys": "5", "ListsAtMost": "5"}
    owner, keyed = await charger_of(ctx, values=values)
    await parameters.read(ctx, owner.actor, keyed.charger_id)
    assert keyed.questions[0] == ()
    assert len(keyed.questions) > 1
    assert all(0 < len(names) <= 5 for names in keyed.questions[1:])
    found = await shown(ctx, owner, keyed)
    assert found.value("UnlockConnectorOnEVSideDisconnect") == "true"
    assert found.find("LightIntensity") is None or found.find("LightIntensity").is_unknown


async def test_a_charger_that_takes_fewer_than_it_says_is_asked_one_by_one(ctx):
    owner, keyed = await charger_of(ctx, values=FACTORY | {"ListsAtMost": "5"})
    keyed.silent_at = lambda ask: isinstance(ask, GetKeys) and len(ask.keys) > 1
    await parameters.read(ctx, owner.actor, keyed.charger_id)
    assert (await shown(ctx, owner, keyed)).value("UnlockConnectorOnEVSideDisconnect") == "true"


async def test_a_charger_that_is_not_there_is_offline(ctx):
    owner, keyed = await charger_of(ctx, is_there=False)
    with pytest.raises(ChargerOffline):
        await parameters.read(ctx, owner.actor, keyed.charger_id)
    assert not await parameters.read_quietly(ctx, keyed.charger_id)


async def test_a_charger_that_tells_nothing_is_left_alone_soon(ctx):
    owner, keyed = await charger_of(ctx, silent_at=lambda _ask: True)
    with pytest.raises(parameters.NotRead):
        await parameters.read(ctx, owner.actor, keyed.charger_id)
    assert len(keyed.asked) == parameters.SILENCES_MAX
    _, broken = await charger_of(ctx, values={}, can_list=False, errs_at_unknown=True)
    assert not await parameters.read_quietly(ctx, broken.charger_id)
    assert len(broken.asked) == 1 + parameters.FRUITLESS_MAX


async def test_what_takes_too_long_for_a_person_is_read_on_by_a_job(ctx, clock):
    owner, keyed = await charger_of(ctx, can_list=False)

    def tick(ask):
        clock.advance(1.0)
        return False

    keyed.silent_at = tick
    read = await parameters.read(ctx, owner.actor, keyed.charger_id)
    assert not read.is_complete
    (job,) = await waiting(ctx)
    heard = {names for names in keyed.questions if names}
    assert job.charger_id == keyed.charger_id
    assert not heard & {(name,) for name in job.names}
    await parameters.read_left(ctx, job)
    assert {names[0] for names in keyed.questions if names} >= {key.name for key in keys.KEYS.values()} - {
        "AuthorizationKey"
    }
    assert await waiting(ctx) == []


async def test_a_key_that_is_told_no_more_is_forgotten_unless_somebody_wants_it(ctx):
    owner, keyed = await charger_of(ctx, values=FACTORY | {"Old": "1", "Wanted": "1"})
    await parameters.read(ctx, owner.actor, keyed.charger_id)
    await parameters.save(ctx, owner.actor, keyed.charger_id, {"Wanted": "2"})
    keyed.values.pop("Old")
    keyed.values.pop("Wanted")
    ctx.clock.advance(60)
    await parameters.read(ctx, owner.actor, keyed.charger_id)
    found = await shown(ctx, owner, keyed)
    assert found.find("Old") is None
    wanted = found.find("Wanted")
    assert (wanted.reported, wanted.is_unknown, wanted.is_drifted) == (None, True, True)


async def test_no_more_keys_are_kept_than_anybody_needs(ctx):
    owner, keyed = await charger_of(ctx, values=FACTORY | {f"K{number}": "x" for number in range(900)})
    await parameters.read(ctx, owner.actor, keyed.charger_id)
    assert len((await shown(ctx, owner, keyed)).items) == parameters.PARAMETERS_MAX


# --- saving ---------------------------------------------------------------------------------------


async def test_only_what_changes_is_sent_and_then_read_back(ctx):
    owner, keyed = await charger_of(ctx)
    await parameters.read(ctx, owner.actor, keyed.charger_id)
    keyed.asked.clear()
    saving = await parameters.save(
        ctx, owner.actor, keyed.charger_id, {"heartbeatinterval": "60", "LocalPreAuthorize": "FALSE"}
    )
    assert keyed.changes == [("HeartbeatInterval", "60")]
    assert keyed.questions == [("HeartbeatInterval",)]
    assert results(saving) == {"HeartbeatInterval": Result.ACCEPTED, "LocalPreAuthorize": Result.UNCHANGED}
    assert not saving.is_reboot_required
    found = (await shown(ctx, owner, keyed)).find("HeartbeatInterval")
    assert (found.reported, found.desired, found.result, found.is_pending) == (
        "60",
        "60",
        Result.ACCEPTED,
        False,
    )
    assert (found.actor_kind, found.actor_id, found.door) == ("user", owner.user.id, "portal")
    assert found.desired_at == ctx.clock.now()


async def test_what_a_charger_makes_of_a_value_is_kept_key_by_key(ctx):
    owner, keyed = await charger_of(
        ctx, after_reboot=frozenset({"ConnectionTimeOut"}), ignores=frozenset({"ResetRetries"})
    )
    await parameters.read(ctx, owner.actor, keyed.charger_id)
    saving = await parameters.save(
        ctx,
        owner.actor,
        keyed.charger_id,
        {"ConnectionTimeOut": "90", "ResetRetries": "5", "BackOfficeUrl": "wrong", "Nonsense": "1"},
    )
    assert results(saving) == {
        "ConnectionTimeOut": Result.REBOOT_REQUIRED,
        "ResetRetries": Result.NOT_APPLIED,  # quirk Q50
        "BackOfficeUrl": Result.REJECTED,
        "Nonsense": Result.NOT_SUPPORTED,
    }
    assert saving.is_reboot_required
    found = await shown(ctx, owner, keyed)
    assert found.reboot_required_at == ctx.clock.now()
    assert not any(each.is_pending or each.is_drifted for each in found.items)
    # Until it restarts, it tells the old value: wanting that one back has to be sent.
    saving = await parameters.save(ctx, owner.actor, keyed.charger_id, {"ConnectionTimeOut": "60"})
    assert results(saving) == {"ConnectionTimeOut": Result.REBOOT_REQUIRED}


async def test_a_value_out_of_range_is_refused_with_the_range_unless_one_insists(ctx):
    owner, keyed = await charger_of(ctx)
    with pytest.raises(Invalid) as caught:
        await parameters.save(
            ctx, owner.actor, keyed.charger_id, {"HeartbeatInterval": "soon", "LocalPreAuthorize": "false"}
        )
    assert caught.value.errors == (
        ("/changes/HeartbeatInterval", "must be a whole number of seconds, 0 or more"),
    )
    assert keyed.asked == []
    assert (await shown(ctx, owner, keyed)).items == ()
    await parameters.save(ctx, owner.actor, keyed.charger_id, {"HeartbeatInterval": "soon"}, is_forced=True)
    assert keyed.changes == [("HeartbeatInterval", "soon")]


@pytest.mark.parametrize(
    ("changes", "pointer", "says"),
    [
        ({"NumberOfConnectors": "3"}, "/changes/NumberOfConnectors", "read-only"),
        ({"ChargeProfileMaxStackLevel": "3"}, "/changes/ChargeProfileMaxStackLevel", "read-only"),
        ({"SecurityProfile": "2"}, "/changes/SecurityProfile", "Voltyard sets this itself: see security"),
        ({"authorizationkey": "x" * 20}, "/changes/authorizationkey", "Voltyard sets this itself"),
        ({"ConnectorPhaseRotation": "1.RST"}, "/changes/ConnectorPhaseRotation", "see configuration"),
        ({"a/b~c" * 20: "1"}, "/changes/" + "a~1b~0c" * 20, "50 printable characters"),
        ({"Vendor": "x" * 501}, "/changes/Vendor", "the value 500"),
        ({"Vendor": "1", "VENDOR": "2"}, "/changes/VENDOR", "named twice"),
        ({}, "/changes", "1 to 100"),
    ],
)
@pytest.mark.parametrize("is_forced", [False, True])
async def test_what_nobody_may_save_is_refused_even_if_one_insists(ctx, changes, pointer, says, is_forced):
    owner, keyed = await charger_of(ctx)
    await parameters.read(ctx, owner.actor, keyed.charger_id)
    keyed.asked.clear()
    with pytest.raises(Invalid) as caught:
        await parameters.save(ctx, owner.actor, keyed.charger_id, changes, is_forced=is_forced)
    assert caught.value.errors[0][0] == pointer
    assert says in caught.value.errors[0][1]
    assert keyed.asked == []


async def test_what_an_absent_charger_should_have_waits_and_is_sent_later(ctx):
    owner, keyed = await charger_of(ctx, is_there=False)
    saving = await parameters.save(
        ctx, owner.actor, keyed.charger_id, {"HeartbeatInterval": "60", "ResetRetries": "2"}
    )
    assert set(results(saving).values()) == {Result.PENDING}
    found = await shown(ctx, owner, keyed)
    assert [(each.name, each.is_pending, each.tries) for each in found.items] == [
        ("HeartbeatInterval", True, 0),
        ("ResetRetries", True, 0),
    ]
    # Only the first was asked for: a charger that is not there need not be asked again.
    asked = await ctx.db.read(owner.actor, commands.list_commands, keyed.charger_id)
    assert len(asked) == 1
    assert (await parameters.send_pending(ctx, keyed.charger_id)).results == ()
    await connect(ctx, await ctx.db.read(SYSTEM, service.get, keyed.charger_id))
    await keyed.serve()
    assert results(await parameters.send_pending(ctx, keyed.charger_id)) == {
        "HeartbeatInterval": Result.ACCEPTED,
        "ResetRetries": Result.ACCEPTED,
    }
    assert keyed.priorities == {"background"}
    found = await shown(ctx, owner, keyed)
    assert [(each.reported, each.is_pending, each.result) for each in found.items] == [
        ("60", False, Result.ACCEPTED),
        ("2", False, Result.ACCEPTED),
    ]
    # Who wanted it stays who set it.
    assert {each.actor_id for each in found.items} == {owner.user.id}


async def test_a_value_at_which_a_charger_falls_over_is_not_sent_for_ever(ctx):
    owner, keyed = await charger_of(ctx, gone_at=lambda ask: isinstance(ask, SetKey))
    await parameters.save(ctx, owner.actor, keyed.charger_id, {"HeartbeatInterval": "60"})
    for _ in range(5):
        await parameters.send_pending(ctx, keyed.charger_id)
    assert len(keyed.changes) == parameters.TRIES_MAX
    found = (await shown(ctx, owner, keyed)).find("HeartbeatInterval")
    assert (found.result, found.is_pending) == (Result.NO_ANSWER, False)


async def test_an_answer_that_is_lost_is_made_up_for_by_reading(ctx):
    owner, keyed = await charger_of(ctx)

    def obey_silently(ask):
        if isinstance(ask, SetKey):
            keyed.values[ask.key] = ask.value
            return True
        return False

    keyed.silent_at = obey_silently
    saving = await parameters.save(ctx, owner.actor, keyed.charger_id, {"HeartbeatInterval": "60"})
    assert results(saving) == {"HeartbeatInterval": Result.ACCEPTED}
    assert not (await shown(ctx, owner, keyed)).find("HeartbeatInterval").is_pending


async def test_a_silent_charger_is_tried_again_in_a_moment(ctx):
    owner, keyed = await charger_of(ctx, silent_at=lambda ask: isinstance(ask, SetKey))
    saving = await parameters.save(ctx, owner.actor, keyed.charger_id, {"HeartbeatInterval": "60"})
    assert results(saving) == {"HeartbeatInterval": Result.NO_ANSWER}
    assert (await shown(ctx, owner, keyed)).find("HeartbeatInterval").is_pending
    assert await waiting(ctx) == [SendParameters(keyed.charger_id)]
    keyed.silent_at = lambda ask: False
    await parameters.send_left(ctx, SendParameters(keyed.charger_id))
    assert (await shown(ctx, owner, keyed)).value("HeartbeatInterval") == "60"


async def test_what_a_person_cannot_wait_for_is_sent_by_a_job(ctx, clock):
    owner, keyed = await charger_of(ctx)

    def slow(ask):
        clock.advance(16)
        return False

    keyed.silent_at = slow
    saving = await parameters.save(
        ctx,
        owner.actor,
        keyed.charger_id,
        {"HeartbeatInterval": "60", "ResetRetries": "2", "ConnectionTimeOut": "30"},
    )
    assert list(results(saving).values()) == [Result.ACCEPTED, Result.ACCEPTED, Result.PENDING]
    keyed.silent_at = lambda ask: False
    assert await waiting(ctx) == [SendParameters(keyed.charger_id)]
    await parameters.send_left(ctx, SendParameters(keyed.charger_id))
    assert keyed.values["ConnectionTimeOut"] == "30"


async def test_what_the_protocol_cannot_carry_is_rejected_and_forgotten(ctx):
    owner, keyed = await charger_of(ctx, is_there=False)

    async def refuse(asked):
        keyed.asked.append(asked.ask)
        raise Invalid("no such field")

    await ctx.bus.serve(f"charger.{keyed.charger_id}.ask", Asked, refuse)
    saving = await parameters.save(ctx, owner.actor, keyed.charger_id, {"Odd": "1"})
    assert results(saving) == {"Odd": Result.REJECTED}
    assert not (await shown(ctx, owner, keyed)).find("Odd").is_pending
    with pytest.raises(Invalid):
        await commands.ask(ctx, owner.actor, keyed.charger_id, GetKeys(("Odd",)))
    with pytest.raises(parameters.NotRead):
        await parameters.read(ctx, owner.actor, keyed.charger_id)


async def test_a_secret_is_sent_and_never_kept(ctx):
    owner, keyed = await charger_of(ctx)
    await parameters.read(ctx, owner.actor, keyed.charger_id)
    saving = await parameters.save(ctx, owner.actor, keyed.charger_id, {"WifiPassword": "new secret"})
    assert results(saving) == {"WifiPassword": Result.ACCEPTED}
    assert saving.results[0].value == "***"
    assert keyed.values["WifiPassword"] == "new secret"
    found = (await shown(ctx, owner, keyed)).find("WifiPassword")
    assert (found.desired, found.reported, found.is_secret, found.is_drifted) == ("***", "***", True, False)
    await keyed.leave()
    saving = await parameters.save(ctx, owner.actor, keyed.charger_id, {"WifiPassword": "other secret"})
    assert results(saving) == {"WifiPassword": Result.NO_ANSWER}

    def rows(work):
        return repr(parameters.store.find_parameters(work, keyed.charger_id))

    assert "secret" not in await ctx.db.read(SYSTEM, rows)
    assert not (await shown(ctx, owner, keyed)).find("WifiPassword").is_pending


# --- drift ----------------------------------------------------------------------------------------


async def test_a_value_that_somebody_else_changed_is_seen(ctx):
    owner, keyed = await charger_of(ctx)
    await parameters.save(
        ctx,
        owner.actor,
        keyed.charger_id,
        {"HeartbeatInterval": "60", "MeterValuesSampledData": "Voltage,SoC"},
    )
    keyed.values |= {"HeartbeatInterval": "300", "MeterValuesSampledData": "SoC, Voltage"}
    ctx.clock.advance(60)
    await parameters.read(ctx, owner.actor, keyed.charger_id)
    found = await shown(ctx, owner, keyed)
    assert [each.name for each in found.items if each.is_drifted] == ["HeartbeatInterval"]
    # One may send it again, or be content with what there is.
    await parameters.save(ctx, owner.actor, keyed.charger_id, {"HeartbeatInterval": "300"})
    assert not (await shown(ctx, owner, keyed)).find("HeartbeatInterval").is_drifted
    assert ("HeartbeatInterval", "300") not in keyed.changes


async def test_a_value_that_needed_a_restart_is_judged_after_it(ctx):
    owner, keyed = await charger_of(ctx, after_reboot=frozenset({"ConnectionTimeOut", "ResetRetries"}))
    await parameters.save(
        ctx, owner.actor, keyed.charger_id, {"ConnectionTimeOut": "90", "ResetRetries": "4"}
    )
    keyed.waiting.pop("ResetRetries")
    keyed.reboot()
    await ctx.db.work(SYSTEM, parameters.store.clear_reboots, [keyed.charger_id])
    await parameters.read(ctx, owner.actor, keyed.charger_id)
    found = await shown(ctx, owner, keyed)
    assert found.find("ConnectionTimeOut").result is Result.ACCEPTED
    assert found.find("ResetRetries").result is Result.NOT_APPLIED


# --- measurands -----------------------------------------------------------------------------------

WANTED = ("Energy.Active.Import.Register", "Current.Import", "Current.Offered", "Voltage", "SoC")


async def test_a_list_is_cut_to_what_the_charger_takes(ctx):
    owner, keyed = await charger_of(ctx, measurands_max=3)
    saved = await parameters.set_measurands(
        ctx, owner.actor, keyed.charger_id, "MeterValuesSampledData", WANTED
    )
    assert (saved.result, saved.value) == (Result.CUT, ",".join(WANTED[:3]))
    assert keyed.values["MeterValuesSampledData"] == ",".join(WANTED[:3])
    found = (await shown(ctx, owner, keyed)).find("MeterValuesSampledData")
    assert (found.desired, found.result, found.is_drifted) == (",".join(WANTED[:3]), Result.CUT, False)


async def test_a_list_is_cut_to_what_the_charger_says_it_takes_before_it_is_sent(ctx):
    values = FACTORY | {"MeterValuesSampledDataMaxLength": "2"}
    owner, keyed = await charger_of(ctx, values=values)
    await parameters.read(ctx, owner.actor, keyed.charger_id)
    saved = await parameters.set_measurands(
        ctx, owner.actor, keyed.charger_id, "MeterValuesSampledData", WANTED
    )
    assert keyed.changes == [("MeterValuesSampledData", ",".join(WANTED[:2]))]
    assert saved.result is Result.CUT


async def test_a_list_of_which_nothing_is_taken_is_rejected_after_a_few_tries(ctx):
    owner, keyed = await charger_of(ctx, measurands_max=0)
    saved = await parameters.set_measurands(
        ctx, owner.actor, keyed.charger_id, "MeterValuesSampledData", WANTED
    )
    assert saved.result is Result.REJECTED
    assert len(keyed.changes) <= keys.CUT_TRIES_MAX


async def test_a_charger_that_restarts_at_each_list_is_not_offered_the_next(ctx):
    owner, keyed = await charger_of(ctx, gone_at=lambda ask: isinstance(ask, SetKey))
    saved = await parameters.set_measurands(
        ctx, owner.actor, keyed.charger_id, "MeterValuesSampledData", WANTED
    )
    assert saved.result is Result.PENDING
    assert len(keyed.changes) == 1


async def test_nothing_to_measure_is_a_list_too(ctx):
    owner, keyed = await charger_of(ctx)
    await parameters.read(ctx, owner.actor, keyed.charger_id)
    saved = await parameters.set_measurands(ctx, owner.actor, keyed.charger_id, "MeterValuesSampledData", ())
    assert (saved.result, keyed.values["MeterValuesSampledData"]) == (Result.ACCEPTED, "")


async def test_only_lists_of_measurands_are_cut(ctx):
    owner, keyed = await charger_of(ctx)
    with pytest.raises(Invalid):
        await parameters.set_measurands(ctx, owner.actor, keyed.charger_id, "HeartbeatInterval", ("1",))


# --- who may --------------------------------------------------------------------------------------


async def test_who_may_look_read_and_save(ctx):
    owner, keyed = await charger_of(ctx)
    await parameters.read(ctx, owner.actor, keyed.charger_id)
    location_id = (await ctx.db.read(SYSTEM, service.get, keyed.charger_id)).location_id
    basic = await make_member(ctx, location_id, Level.BASIC)
    sensitive = await make_member(ctx, location_id, Level.SENSITIVE)
    stranger = await make_user(ctx)
    keyed.asked.clear()
    for person, wrong in ((basic, Forbidden), (stranger, NotFound)):
        with pytest.raises(wrong):
            await shown(ctx, person, keyed)
        with pytest.raises(wrong):
            await parameters.read(ctx, person.actor, keyed.charger_id)
        with pytest.raises(wrong):
            await parameters.save(ctx, person.actor, keyed.charger_id, {"HeartbeatInterval": "60"})
    with pytest.raises(Forbidden):
        await parameters.save(ctx, sensitive.actor, keyed.charger_id, {"HeartbeatInterval": "60"})
    assert keyed.asked == []
    assert len((await shown(ctx, sensitive, keyed)).items) == len(FACTORY)
    await parameters.read(ctx, sensitive.actor, keyed.charger_id)


async def test_the_next_owner_sees_nothing_of_the_last_one(ctx):
    owner, keyed = await charger_of(ctx)
    await parameters.read(ctx, owner.actor, keyed.charger_id)
    await keyed.leave()
    await parameters.save(ctx, owner.actor, keyed.charger_id, {"HeartbeatInterval": "60"})
    charger = await ctx.db.read(owner.actor, service.get, keyed.charger_id)
    await ctx.db.work(owner.actor, service.unlink, charger.location_id, charger.id)
    ctx.clock.advance(60)
    other = await make_user(ctx)
    location = await make_location(ctx, other)
    await service.claim(ctx, other.actor, location.id, identity=charger.identity, pin="4711")
    found = await shown(ctx, other, keyed)
    assert (found.items, found.read_at) == ((), None)
    # Nor is anything sent that the last one wanted.
    await keyed.serve()
    assert (await parameters.send_pending(ctx, keyed.charger_id)).results == ()
    await parameters.read(ctx, other.actor, keyed.charger_id)
    found = (await shown(ctx, other, keyed)).find("HeartbeatInterval")
    assert (found.reported, found.desired, found.actor_id, found.is_drifted) == ("300", None, "", False)


async def test_a_charger_that_nobody_has_shows_nothing(ctx):
    charger = await make_charger(ctx)
    assert (await ctx.db.read(SYSTEM, parameters.get, charger.id)).items == ()
    assert (await parameters.send_pending(ctx, charger.id)).results == ()
    await parameters.read_left(ctx, ReadParameters(charger.id, ("A",)))
