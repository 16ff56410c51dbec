"""One charger's exchange: first the desk, then the answer; what cannot be answered truly is not answered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC
from zoneinfo import ZoneInfo

import pytest

from tests.unit.gateway.peers import CHARGER, SESSION, Conversation, Wire, settle, until
from voltyard.gateway.exchange import BACKLOG_MAX, GOOD_BYE_BUDGET_S, Exchange
from voltyard.kernel.bus import LocalBus
from voltyard.kernel.clock import FakeClock
from voltyard.kernel.errors import ChargerOffline, Forbidden, Invalid, TimedOut, TooMany, Unavailable
from voltyard.kernel.limits import ANSWER_BUDGET_S, ASK_QUEUE_ORIGIN_MAX, FRAME_BYTES_MAX, INWARD_QUEUE_MAX
from voltyard.quirks import NONE, Quirks
from voltyard.speech import (
    Answer,
    AnswerRefused,
    Beat,
    Booted,
    Registration,
    Restart,
    SetKey,
    Thanks,
    Told,
    Welcomed,
)


@pytest.fixture
async def talk(bus: LocalBus, clock: FakeClock) -> AsyncIterator[Conversation]:
    conversation = await Conversation(bus, clock).begin()
    yield conversation
    await conversation.end()


async def test_a_call_is_answered_only_after_the_desk_replied(talk):
    talk.desk.is_waiting = True
    talk.call("1")
    await until(lambda: talk.desk.open is not None)
    await settle()
    assert not talk.wire.sent
    await talk.desk.answer()
    await until(lambda: talk.wire.sent)
    assert talk.wire.sent == [[3, "1", {"currentTime": "2026-01-01T12:00:00Z"}]]


async def test_the_desk_hears_who_speaks_and_the_raw_payload(talk):
    payload = {"chargePointVendor": "V", "chargePointModel": "M", "vendorsOwn": 1.50}
    talk.desk.reply = Thanks()
    talk.exchange.received(
        b'[2, 4711 ,"BootNotification", {"chargePointVendor":"V",  "chargePointModel":"M"}]'
    )
    await until(lambda: talk.desk.heard)
    heard = talk.desk.heard[0]
    assert (heard.charger_id, heard.session_id) == (CHARGER, SESSION)
    assert (heard.message_id, heard.action) == ("4711", "BootNotification")
    assert heard.raw == '{"chargePointVendor":"V",  "chargePointModel":"M"}'
    assert heard.said == Booted("V", "M")
    del payload


@pytest.mark.parametrize("fault", [Unavailable("the disk is full"), TimedOut("too slow")])
async def test_when_the_desk_cannot_commit_the_socket_closes_without_an_answer(talk, fault):
    talk.desk.fault = fault
    talk.call("1")
    await until(lambda: talk.wire.closed)
    assert not talk.wire.sent
    assert talk.wire.closed == (1011, "try again later")
    await until(talk.task.done)
    assert talk.desk.gone[0].session_id == SESSION


async def test_when_nobody_serves_the_desk_it_is_tried_until_the_budget_ends(bus, clock):
    talk = await Conversation(bus, clock).begin(has_desk=False)
    talk.call("1")
    for _ in range(int(ANSWER_BUDGET_S) - 1):
        await settle()
        assert talk.wire.closed is None
        clock.advance(1.0)
    await until(lambda: talk.wire.closed)
    assert not talk.wire.sent
    await talk.end()


async def test_a_desk_that_comes_back_within_the_budget_gets_the_call(bus, clock):
    talk = await Conversation(bus, clock).begin(has_desk=False)
    talk.call("1")
    await settle()
    clock.advance(1.0)
    await talk.desk.serve(bus)
    for _ in range(3):
        await settle()
        clock.advance(1.0)
    await until(lambda: talk.wire.sent)
    assert talk.answers == ["1"]
    await talk.end()


async def test_a_desk_that_never_replies_costs_the_socket_and_not_the_answer(talk, monkeypatch):
    monkeypatch.setattr("voltyard.gateway.exchange.ANSWER_BUDGET_S", 0.02)
    talk.desk.is_waiting = True
    talk.call("1")
    await until(lambda: talk.wire.closed)
    assert not talk.wire.sent


@pytest.mark.parametrize("fault", [Forbidden("no"), RuntimeError("a secret: hunter2")])
async def test_a_call_that_the_desk_refuses_is_answered_with_an_error_and_no_text(talk, fault):
    talk.desk.fault = fault
    talk.call("1")
    await until(lambda: talk.wire.sent)
    assert talk.wire.sent[0][:4] == [4, "1", "InternalError", ""]
    assert "hunter2" not in json.dumps(talk.wire.sent)
    assert talk.wire.closed is None
    talk.desk.fault = None
    talk.call("2")
    await until(lambda: len(talk.wire.sent) == 2)


async def test_calls_that_cannot_be_understood_are_refused_without_troubling_the_desk(talk):
    talk.call("1", "MakeCoffee")
    talk.call("2", "StartTransaction", {"connectorId": 1})
    talk.exchange.received(b"[2,")
    talk.exchange.received(b"")
    talk.exchange.received(b"\x00\xff\xfe")
    talk.call("3")
    await until(lambda: len(talk.wire.sent) == 3)
    assert [frame[:3] for frame in talk.wire.sent[:2]] == [
        [4, "1", "NotImplemented"],
        [4, "2", "OccurenceConstraintViolation"],
    ]
    assert talk.answers == ["1", "2", "3"]
    assert [heard.said for heard in talk.desk.heard] == [Beat()]


async def test_one_call_at_a_time_goes_to_the_desk_in_the_order_of_the_charger(talk):
    talk.desk.is_waiting = True
    for number in range(10):
        talk.call(str(number))
    for number in range(10):
        await talk.desk.answer()
        await until(lambda number=number: len(talk.wire.sent) == number + 1)
    assert talk.answers == [str(number) for number in range(10)]
    assert [heard.message_id for heard in talk.desk.heard] == talk.answers


async def test_a_hundred_calls_at_once_are_all_answered_in_order_and_the_reader_rests_meanwhile(talk):
    talk.desk.is_waiting = True
    for number in range(100):
        talk.call(str(number))
    assert talk.wire.is_paused
    for _ in range(100 - INWARD_QUEUE_MAX - 2):
        await talk.desk.answer()
        await settle()
        assert talk.wire.closed is None
    talk.desk.is_waiting = False
    await talk.desk.answer()
    await until(lambda: len(talk.wire.sent) == 100)
    assert talk.answers == [str(number) for number in range(100)]
    assert not talk.wire.is_paused
    assert talk.wire.pauses == 1


async def test_calls_that_come_while_others_wait_do_not_overtake_them(talk):
    talk.desk.is_waiting = True
    for number in range(40):
        talk.call(str(number))
    for number in range(40, 60):
        await talk.desk.answer()
        await settle()
        talk.call(str(number))
    talk.desk.is_waiting = False
    await talk.desk.answer()
    await until(lambda: len(talk.wire.sent) == 60)
    assert talk.answers == [str(number) for number in range(60)]


async def test_whoever_calls_without_end_is_sent_away(talk):
    talk.desk.is_waiting = True
    for number in range(BACKLOG_MAX + INWARD_QUEUE_MAX + 2):
        talk.call(str(number))
    assert talk.wire.closed == (1008, "too many calls at once")


async def test_the_reader_rests_while_the_peer_takes_nothing(talk):
    talk.exchange.blocked(is_blocked=True)
    talk.exchange.blocked(is_blocked=True)
    assert talk.wire.is_paused
    talk.exchange.blocked(is_blocked=False)
    assert not talk.wire.is_paused
    talk.desk.is_waiting = True
    for number in range(30):
        talk.call(str(number))
    talk.exchange.blocked(is_blocked=True)
    talk.exchange.blocked(is_blocked=False)
    assert talk.wire.is_paused, "calls still wait"


async def test_an_ask_goes_to_the_charger_and_its_answer_back(talk):
    told = talk.ask()
    await until(lambda: talk.calls)
    _, message_id, action, payload = talk.calls[0]
    assert (action, payload) == ("RemoteStopTransaction", {"transactionId": 7})
    talk.exchange.received(json.dumps([3, message_id, {"status": "Accepted"}]).encode())
    outcome = await told
    assert isinstance(outcome, Told)
    assert outcome.outcome == Answer(True, "Accepted", '{"status": "Accepted"}')
    assert (outcome.action, json.loads(outcome.request)) == ("RemoteStopTransaction", {"transactionId": 7})


async def test_an_error_of_the_charger_is_an_outcome_too(talk):
    told = talk.ask()
    await until(lambda: talk.calls)
    talk.exchange.received(json.dumps([4, talk.calls[0][1], "NotSupported", "no", {}]).encode())
    assert (await told).outcome == AnswerRefused("NotSupported", "no")


async def test_answers_to_our_asks_pass_while_calls_are_backlogged(talk):
    talk.desk.is_waiting = True
    told = talk.ask()
    await until(lambda: talk.calls)
    for number in range(50):
        talk.call(str(number))
    talk.exchange.received(f' [3,"{talk.calls[0][1]}",{{"status":"Accepted"}}]'.encode())
    assert (await told).outcome.is_accepted
    assert not talk.answers


async def test_asks_wait_for_one_another_and_none_is_sent_twice(talk):
    asks = [talk.ask(SetKey("k", str(number))) for number in range(3)]
    for number in range(3):
        await until(lambda number=number: len(talk.calls) == number + 1)
        await settle()
        assert len(talk.calls) == number + 1
        talk.exchange.received(json.dumps([3, talk.calls[number][1], {"status": "Accepted"}]).encode())
    await asyncio.gather(*asks)
    assert [call[3]["value"] for call in talk.calls] == ["0", "1", "2"]


async def test_an_ask_times_out_through_the_tick_and_a_late_answer_does_no_harm(talk, clock):
    told = talk.ask(timeout_s=5.0)
    await until(lambda: talk.calls)
    clock.advance(4.9)
    talk.exchange.tick(clock.monotonic())
    await settle()
    assert not told.done()
    clock.advance(0.2)
    talk.exchange.tick(clock.monotonic())
    assert isinstance(await told, TimedOut)
    talk.exchange.received(json.dumps([3, talk.calls[0][1], {"status": "Accepted"}]).encode())
    talk.call("1")
    await until(lambda: talk.answers)


async def test_asks_are_dropped_when_the_socket_is_lost(talk):
    asks = [talk.ask(), talk.ask()]
    await until(lambda: talk.calls)
    talk.exchange.lost("cut")
    assert [type(await ask) for ask in asks] == [ChargerOffline, ChargerOffline]
    await until(talk.task.done)
    assert [(gone.session_id, gone.reason) for gone in talk.desk.gone] == [(SESSION, "cut")]
    assert isinstance(await talk.ask(), Unavailable)


async def test_one_who_asks_too_much_is_told_so(talk):
    asks = [talk.ask() for _ in range(ASK_QUEUE_ORIGIN_MAX + 2)]
    await until(asks[-1].done)
    assert isinstance(asks[-1].result(), TooMany)
    talk.exchange.lost()
    await asyncio.gather(*asks)


async def test_one_who_gave_up_asking_does_no_harm(talk):
    told = talk.ask()
    await until(lambda: talk.calls)
    told.cancel()
    await settle()
    talk.exchange.received(json.dumps([3, talk.calls[0][1], {"status": "Accepted"}]).encode())
    talk.call("1")
    await until(lambda: talk.answers == ["1"])


async def test_a_request_that_no_charger_would_read_is_the_askers_mistake(talk):
    refused = await talk.ask(SetKey("k", "x" * (FRAME_BYTES_MAX + 1)))
    assert isinstance(refused, Invalid)
    assert not talk.calls


async def test_a_newer_socket_sends_the_older_away(talk):
    talk.exchange.supersede()
    assert talk.wire.closed[0] == 1000
    await until(talk.task.done)
    assert talk.exchange.is_over


async def test_a_call_at_the_desk_ends_quietly_when_the_socket_is_lost(talk):
    talk.desk.is_waiting = True
    talk.call("1")
    await until(lambda: talk.desk.open is not None)
    talk.exchange.lost("cut")
    await talk.desk.answer()
    await until(talk.task.done)
    assert not talk.wire.sent
    assert len(talk.desk.gone) == 1


async def test_the_end_is_told_once_whoever_says_it_how_often(talk):
    talk.exchange.leave(1012, "restarting")
    talk.exchange.lost("cut")
    talk.exchange.supersede()
    talk.call("1")
    await until(talk.task.done)
    assert talk.wire.closed == (1012, "restarting")
    assert [gone.reason for gone in talk.desk.gone] == ["restarting"]
    assert not talk.desk.heard


async def test_a_gateway_that_stops_leaves_the_good_bye_to_its_last_word(talk):
    await settle()
    await talk.end()
    assert not talk.desk.gone


async def test_a_good_bye_is_said_again_until_it_is_heard(talk, clock):
    talk.desk.gone_faults = [Unavailable("locked"), Unavailable("locked")]
    talk.exchange.lost("cut")
    for _ in range(4):
        await settle()
        clock.advance(1.0)
    await until(talk.task.done)
    assert len(talk.desk.gone) == 3


async def test_a_good_bye_that_nobody_can_hear_ends_all_the_same(talk, clock):
    await talk.desk.stop()
    talk.exchange.lost("cut")
    for _ in range(int(GOOD_BYE_BUDGET_S)):
        await settle()
        clock.advance(1.0)
    await until(talk.task.done)


class BrokenBus(LocalBus):
    """A bus that has lost its server."""

    async def serve(self, subject, ask, handler):
        if subject.startswith("charger."):
            raise ConnectionError("gone")
        return await super().serve(subject, ask, handler)


async def test_a_bus_that_is_gone_costs_the_socket_and_nothing_more(clock):
    talk = await Conversation(BrokenBus(), clock).begin()
    await until(talk.task.done)
    assert talk.task.exception() is None
    assert talk.wire.closed == (1011, "internal error")
    assert len(talk.desk.gone) == 1


async def test_signs_of_life_are_noted(talk, clock):
    clock.advance(5.0)
    talk.exchange.is_pinged = True
    talk.exchange.alive()
    assert (talk.exchange.heard_at, talk.exchange.is_pinged) == (5.0, False)
    clock.advance(5.0)
    talk.call("1")
    assert talk.exchange.heard_at == pytest.approx(10.0)
    await until(lambda: talk.answers)


async def test_nothing_happens_before_the_socket_is_there(bus, clock):
    talk = Conversation(bus, clock)
    talk.exchange.blocked(is_blocked=True)
    talk.exchange.tick(100.0)
    talk.exchange.leave(1000, "never mind")
    assert talk.exchange.is_over
    assert Wire().closed is None


async def test_a_charger_that_fears_good_byes_is_dropped_without_one(bus, clock):  # quirk Q11
    talk = await Conversation(bus, clock, quirks=Quirks(is_dropped_abruptly=True)).begin()
    talk.exchange.leave(1012, "restarting")
    assert talk.wire.closed == (1006, "")
    await talk.end()


async def test_what_a_model_is_known_for_counts_from_its_boot(talk):
    assert talk.exchange.quirks == NONE
    talk.desk.reply = Welcomed(Registration.ACCEPTED, talk.clock.now(), 300)
    talk.call("1", "BootNotification", {"chargePointVendor": "EN+", "chargePointModel": "AC011K"})
    await until(lambda: talk.wire.sent)
    assert talk.exchange.quirks.is_id_loose
    told = talk.ask(Restart())
    await until(lambda: talk.calls)
    talk.exchange.received(b'[3,"another id",{"status":"Accepted"}]')
    outcome = await told
    assert isinstance(outcome, Told)
    assert outcome.outcome == Answer(is_accepted=True, status="Accepted", payload='{"status":"Accepted"}')


async def test_times_without_an_offset_are_in_the_zone_of_the_location(bus, clock):  # quirk Q35
    talk = Conversation(bus, clock)
    talk.exchange = Exchange(
        CHARGER, SESSION, bus=bus, clock=clock, recorder=talk.recorder, zone=ZoneInfo("Europe/Amsterdam")
    )
    await talk.begin()
    talk.desk.reply = Thanks()
    talk.call("1", "StatusNotification", {
        "connectorId": 1, "errorCode": "NoError", "status": "Available", "timestamp": "2026-07-01T12:00:00",
    })  # fmt: skip
    await until(lambda: talk.desk.heard)
    assert talk.desk.heard[0].said.told_at.astimezone(UTC).hour == 10
    await talk.end()
