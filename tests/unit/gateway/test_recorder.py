"""What a gateway sees reaches the desk: answers, our own calls, frames that nobody understood, deviations."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.unit.gateway.peers import CHARGER, Conversation, settle, until
from voltyard.gateway.recorder import CUT, SAMPLE_MAX, shortened
from voltyard.kernel.bus import LocalBus
from voltyard.kernel.clock import FakeClock
from voltyard.kernel.errors import Forbidden, Invalid, TimedOut, Unavailable
from voltyard.kernel.limits import (
    TRACE_FLUSH_S,
    TRACE_KEPT_CHARACTERS_MAX,
    TRACE_KEPT_MAX,
    TRACE_TEXT_MAX,
)
from voltyard.speech import (
    AnswerTraced,
    Asked,
    CallStatus,
    CallTraced,
    FlawTold,
    LateAnswer,
    Priority,
    Restart,
    Told,
    Traced,
    TracedNumbers,
)


@pytest.fixture
async def talk(bus: LocalBus, clock: FakeClock) -> AsyncIterator[Conversation]:
    conversation = await Conversation(bus, clock).begin()
    yield conversation
    await conversation.end()


def told_calls(talk: Conversation) -> list[CallTraced]:
    return [call for traced in talk.desk.traced for call in traced.calls]


def told_answers(talk: Conversation) -> list[AnswerTraced]:
    return [answer for traced in talk.desk.traced for answer in traced.answers]


def told_flaws(talk: Conversation) -> list[FlawTold]:
    return [flaw for traced in talk.desk.traced for flaw in traced.flaws]


async def test_the_answer_to_a_saying_is_told_under_its_number(talk):
    talk.call("1")
    await until(lambda: talk.wire.sent)
    await talk.recorder.flush()
    (answer,) = told_answers(talk)
    assert (answer.number, answer.status) == (1, CallStatus.DONE)
    assert answer.answer == '{"currentTime":"2026-01-01T12:00:00Z"}'
    assert not told_calls(talk)


async def test_an_ask_that_is_answered_at_once_is_told_whole(talk):
    told = talk.ask(Restart())
    await until(lambda: talk.calls)
    talk.clock.advance(0.2)
    talk.exchange.received(f'[3,"{talk.calls[0][1]}",{{"status":"Accepted"}}]'.encode())
    await told
    await talk.recorder.flush()
    (call,) = told_calls(talk)
    assert (call.charger_id, call.is_outward, call.action) == (CHARGER, True, "Reset")
    assert (call.payload, call.origin) == ('{"type":"Soft"}', "portal")
    assert (call.status, call.answer) == (CallStatus.DONE, '{"status":"Accepted"}')
    assert call.latency_ms == pytest.approx(200)
    assert not told_answers(talk)


async def test_an_ask_that_waits_is_told_twice_first_pending_then_its_answer(talk):
    told = talk.ask(Restart())
    await until(lambda: talk.calls)
    await talk.recorder.flush()
    assert [call.status for call in told_calls(talk)] == [CallStatus.PENDING]
    talk.exchange.received(f'[4,"{talk.calls[0][1]}","NotSupported","no",{{}}]'.encode())
    await told
    await talk.recorder.flush()
    await talk.recorder.flush()
    (answer,) = told_answers(talk)
    assert (answer.number, answer.status) == (1, CallStatus.FAILED)
    assert '"NotSupported"' in answer.answer
    assert len(told_calls(talk)) == 1


async def test_a_late_answer_is_told_for_its_command(talk):
    asked = Asked(Restart(), Priority.PORTAL, "portal", 5.0, "cmd_1")

    async def ask() -> Told | TimedOut:
        try:
            return await talk.bus.request(f"charger.{CHARGER}.ask", asked, Told, timeout_s=60)
        except TimedOut as wrong:
            return wrong

    waiting = asyncio.create_task(ask())
    await until(lambda: talk.calls)
    talk.clock.advance(6)
    talk.exchange.tick(talk.clock.monotonic())
    assert isinstance(await waiting, TimedOut)
    await talk.recorder.flush()
    assert told_calls(talk)[0].status is CallStatus.FAILED
    talk.exchange.received(f'[3,"{talk.calls[0][1]}",{{"status":"Rejected"}}]'.encode())
    await talk.recorder.flush()
    late = [each for traced in talk.desk.traced for each in traced.late]
    assert late == [LateAnswer("cmd_1", "Rejected", is_accepted=False, answer='{"status":"Rejected"}')]
    assert told_answers(talk)[-1].status is CallStatus.DONE
    assert "late_answer" in {flaw.kind for flaw in told_flaws(talk)}


async def test_calls_that_the_desk_never_stored_are_told_with_their_refusal(talk):
    talk.call("1", "MakeCoffee", {"sugar": 2})
    await until(lambda: talk.answers)
    talk.desk.fault = Forbidden("no")
    talk.call("2")
    await until(lambda: len(talk.answers) == 2)
    talk.desk.fault = None
    await talk.recorder.flush()
    coffee, beat = told_calls(talk)
    assert (coffee.action, coffee.payload, coffee.status) == (
        "MakeCoffee", '{"sugar": 2}', CallStatus.FAILED,
    )  # fmt: skip
    assert '"NotImplemented"' in (coffee.answer or "")
    assert not coffee.is_outward
    assert (beat.action, beat.status) == ("Heartbeat", CallStatus.FAILED)


async def test_a_frame_that_nobody_understands_is_told_as_it_came(talk):
    talk.exchange.received(b"[2,")
    await talk.recorder.flush()
    (call,) = told_calls(talk)
    assert (call.action, call.payload, call.answer) == ("", "[2,", "unreadable_frame")


async def test_deviations_are_summed_up(talk):
    for number in range(3):
        talk.exchange.received(b'[2,"%d","Heartbeat",null]' % number)
        await until(lambda number=number: len(talk.answers) == number + 1)
    talk.exchange.received(b"")
    talk.exchange.received(b"")
    await talk.recorder.flush()
    counts = {flaw.kind: flaw.count for flaw in told_flaws(talk)}
    assert counts["empty_frame"] == 2


async def test_a_desk_that_is_away_costs_nothing_but_time(talk):
    told = talk.ask(Restart())
    await until(lambda: talk.calls)
    talk.desk.fault = Unavailable("away")
    await talk.recorder.flush()
    talk.exchange.received(f'[3,"{talk.calls[0][1]}",{{"status":"Accepted"}}]'.encode())
    await told
    talk.exchange.received(b"")
    await talk.recorder.flush()
    assert not talk.desk.traced
    talk.desk.fault = None
    await talk.recorder.flush()
    (call,) = told_calls(talk)
    assert call.status is CallStatus.DONE
    assert {flaw.kind: flaw.count for flaw in told_flaws(talk)} == {"empty_frame": 1}


async def test_what_is_kept_for_a_desk_that_is_away_is_bounded(talk):
    for number in range(TRACE_KEPT_MAX + 10):
        talk.recorder.answered(number, CallStatus.DONE, b"{}", 0.0)
    await talk.recorder.flush()
    answers = told_answers(talk)
    assert len(answers) == TRACE_KEPT_MAX
    assert answers[0].number == 10


async def test_what_is_kept_is_bounded_in_size_too(talk):
    talk.desk.fault = Unavailable("away")
    nonsense = b"[" + b"x" * TRACE_TEXT_MAX
    for _ in range(2 * TRACE_KEPT_CHARACTERS_MAX // TRACE_TEXT_MAX):
        talk.exchange.received(nonsense)
    await talk.recorder.flush()
    kept = [each.call.payload for each in talk.recorder._calls]
    assert sum(map(len, kept)) <= TRACE_KEPT_CHARACTERS_MAX
    talk.desk.fault = None
    await talk.recorder.flush()
    assert talk.recorder._weight == 0
    assert len(told_calls(talk)) == len(kept) > 1_000


async def test_the_recorder_tells_on_its_own_a_few_times_a_second(talk):
    task = asyncio.create_task(talk.recorder.run())
    await settle()
    talk.exchange.received(b"")
    talk.clock.advance(TRACE_FLUSH_S)
    await until(lambda: talk.desk.traced)
    task.cancel()


def test_long_texts_are_cut_for_the_log():
    assert shortened("a" * TRACE_TEXT_MAX) == "a" * TRACE_TEXT_MAX
    assert shortened(b"a" * (TRACE_TEXT_MAX + 1)) == "a" * TRACE_TEXT_MAX + CUT
    assert len(shortened("b" * 9_999, SAMPLE_MAX)) == SAMPLE_MAX + len(CUT)


async def test_a_frame_that_the_desk_never_takes_costs_only_itself(talk):
    for number in range(1, 8):
        talk.recorder.answered(number, CallStatus.DONE, b"poison" if number == 5 else b"{}", 0.0)

    async def refuse_poison(traced):
        if any(answer.answer == "poison" for answer in traced.answers):
            raise Invalid("cannot be stored")
        talk.desk.traced.append(traced)
        return TracedNumbers()

    await talk.desk.stop()
    await talk.bus.serve("central.traced", Traced, refuse_poison)
    await talk.recorder.flush()
    assert sorted(answer.number for answer in told_answers(talk)) == [1, 2, 3, 4, 6, 7]


def test_a_text_that_a_database_cannot_hold_is_written_so_that_it_can():
    assert shortened(b"a\x00b\xff") == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}"
