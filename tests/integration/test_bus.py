"""What both buses promise: one suite for LocalBus, plain and strict, and for NatsBus with a real server."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field

import pytest
import pytest_asyncio

from dev_servers import free_port
from voltyard.kernel import bus as buses
from voltyard.kernel.bus import Bus, Listening, LocalBus, MessageTooLarge, fits, read_event
from voltyard.kernel.bus_nats import BusGone, NatsBus
from voltyard.kernel.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    PeerFault,
    TimedOut,
    TooMany,
    Unavailable,
    Unserved,
    VoltyardError,
)
from voltyard.kernel.limits import BUS_BYTES_MAX
from voltyard.kernel.wire import Message
from voltyard.speech import Beat, Ended, Heard, Metered, Reading, Replied, Thanks, Ticked

WAIT_S = 10.0


class Question(Message, frozen=True):
    text: str
    count: int = 0


class Reply(Message, frozen=True):
    text: str
    who: str = ""


class Happened(Message, frozen=True):
    number: int
    text: str = ""


class OddTag(Conflict):
    """An error of a room that this process knows."""

    title = "That tag is odd"


@dataclass
class Buses:
    """The same bus as two parts see it: one connection each where there are connections."""

    here: Bus
    there: Bus
    prefix: str = field(default_factory=lambda: f"t{secrets.token_hex(4)}")

    def at(self, subject: str) -> str:
        return f"{self.prefix}.{subject}"


@pytest_asyncio.fixture(params=["local", "strict", "nats"])
async def pair(request):
    if request.param == "nats":
        url = request.getfixturevalue("nats_server")
        here, there = await NatsBus.connect(url), await NatsBus.connect(url)
    else:
        here = there = LocalBus(is_strict=request.param == "strict")
    yield Buses(here, there)
    await here.close()
    await there.close()


async def heard(listening: Listening) -> Happened:
    _, event = await asyncio.wait_for(listening.next(), WAIT_S)
    happened = read_event(event, Happened)
    assert happened is not None
    return happened


async def echo(ask: Question) -> Reply:
    return Reply(ask.text.upper())


# --- request and serve ----------------------------------------------------------------------------


async def test_a_request_is_answered_by_the_one_who_serves(pair):
    await pair.there.serve(pair.at("q"), Question, echo)
    assert await pair.here.request(pair.at("q"), Question("hello"), Reply, timeout_s=WAIT_S) == Reply("HELLO")


async def test_a_request_that_nobody_serves_is_refused_at_once(pair):
    async with asyncio.timeout(5):
        with pytest.raises(Unserved) as caught:
            await pair.here.request(pair.at("q"), Question("hello"), Reply, timeout_s=60)
    assert caught.value.facts["subject"] == pair.at("q")


async def test_a_request_that_takes_too_long_times_out(pair):
    never = asyncio.Event()

    async def silent(_ask: Question) -> Reply:
        await never.wait()
        raise AssertionError

    await pair.there.serve(pair.at("q"), Question, silent)
    with pytest.raises(TimedOut):
        await pair.here.request(pair.at("q"), Question("hello"), Reply, timeout_s=0.05)


async def test_whoever_stops_serving_is_asked_no_more(pair):
    serving = await pair.there.serve(pair.at("q"), Question, echo)
    await pair.here.request(pair.at("q"), Question("hello"), Reply, timeout_s=WAIT_S)
    await serving.stop()

    async def is_unserved() -> bool:
        try:
            await pair.here.request(pair.at("q"), Question("hello"), Reply, timeout_s=WAIT_S)
        except Unserved:
            return True
        return False

    async with asyncio.timeout(WAIT_S):
        while not await is_unserved():
            pass


async def test_of_several_who_serve_one_gets_each_request(pair):
    asked: list[str] = []

    def server(name: str):
        async def answer(ask: Question) -> Reply:
            asked.append(name)
            return Reply(ask.text, name)

        return answer

    await pair.here.serve(pair.at("q"), Question, server("one"))
    await pair.there.serve(pair.at("q"), Question, server("two"))
    replies = await asyncio.gather(
        *(pair.here.request(pair.at("q"), Question(str(n)), Reply, timeout_s=WAIT_S) for n in range(40))
    )
    assert [reply.text for reply in replies] == [str(n) for n in range(40)]
    assert sorted(asked) == sorted(reply.who for reply in replies)


async def test_when_one_of_two_stops_the_other_goes_on(pair):
    first = await pair.here.serve(pair.at("q"), Question, echo)
    second = await pair.there.serve(pair.at("q"), Question, echo)
    await second.stop()
    await second.stop()
    assert await pair.here.request(pair.at("q"), Question("a"), Reply, timeout_s=WAIT_S) == Reply("A")
    await first.stop()


async def test_a_slow_answer_holds_up_no_other(pair):
    go_on = asyncio.Event()

    async def answer(ask: Question) -> Reply:
        if ask.text == "slow":
            await go_on.wait()
        return Reply(ask.text)

    await pair.there.serve(pair.at("q"), Question, answer)
    slow = asyncio.create_task(pair.here.request(pair.at("q"), Question("slow"), Reply, timeout_s=WAIT_S))
    assert await pair.here.request(pair.at("q"), Question("quick"), Reply, timeout_s=WAIT_S) == Reply("quick")
    go_on.set()
    assert await slow == Reply("slow")


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        NotFound("there is no such card", id="card_1"),
        Forbidden(),
        OddTag("it is odd", tag="…", count=3, ratio=0.5, is_new=True, other=None),
        TooMany("slowly", retry_after_s=30),
        Unavailable("later"),
        TimedOut("the charger is silent"),
        Unserved("nobody there"),
        Invalid("two things", (("/name", "is missing"), ("/tag", "is long")), id="x"),
        PeerFault("broken", "ProtocolError", frame="[2]"),
        VoltyardError("plain"),
    ],
    ids=lambda wrong: type(wrong).__name__,
)
async def test_an_error_of_ours_raised_there_is_raised_here(pair, wrong):
    async def fail(_ask: Question) -> Reply:
        raise wrong

    await pair.there.serve(pair.at("q"), Question, fail)
    with pytest.raises(VoltyardError) as caught:
        await pair.here.request(pair.at("q"), Question("hello"), Reply, timeout_s=WAIT_S)
    found = caught.value
    assert type(found) is type(wrong)
    assert (found.detail, dict(found.facts)) == (wrong.detail, dict(wrong.facts))
    assert getattr(found, "errors", None) == getattr(wrong, "errors", None)
    assert getattr(found, "ocpp_code", None) == getattr(wrong, "ocpp_code", None)


def test_an_error_that_is_not_known_here_arrives_as_its_kind():
    failure = buses.failure_of(OddTag("odd", tag="x"))
    elsewhere = buses.Failure(("tag_of_a_newer_version", *failure.codes[1:]), failure.detail, failure.facts)
    found = buses.error_of(elsewhere)
    assert type(found) is Conflict
    assert (found.detail, dict(found.facts)) == ("odd", {"tag": "x"})
    assert type(buses.error_of(buses.Failure(("quite_new",), "odd", {}))) is VoltyardError


async def test_whatever_else_goes_wrong_there_arrives_without_its_text(pair):
    async def fail(_ask: Question) -> Reply:
        raise ValueError("a secret of the house")

    await pair.there.serve(pair.at("q"), Question, fail)
    with pytest.raises(VoltyardError) as caught:
        await pair.here.request(pair.at("q"), Question("hello"), Reply, timeout_s=WAIT_S)
    assert type(caught.value) is VoltyardError
    assert "secret" not in caught.value.detail


async def test_a_timeout_of_the_one_who_serves_is_not_taken_for_ours(pair):
    async def fail(_ask: Question) -> Reply:
        raise TimeoutError

    await pair.there.serve(pair.at("q"), Question, fail)
    with pytest.raises(VoltyardError) as caught:
        await pair.here.request(pair.at("q"), Question("hello"), Reply, timeout_s=WAIT_S)
    assert not isinstance(caught.value, TimedOut)


# --- publish and listen ---------------------------------------------------------------------------


async def test_every_listener_hears_each_event_in_order(pair):
    listenings = [
        await bus.listen(pair.at("e.>"), queue_max=500) for bus in (pair.here, pair.there, pair.there)
    ]
    for number in range(200):
        await pair.here.publish(pair.at("e.x"), Happened(number))
    for listening in listenings:
        assert [(await heard(listening)).number for _ in range(200)] == list(range(200))
        assert listening.lost == 0


async def test_an_event_that_nobody_hears_is_no_error(pair):
    await pair.here.publish(pair.at("e"), Happened(1))


async def test_the_subject_is_told_with_the_event(pair):
    listening = await pair.there.listen(pair.at("e.*"), queue_max=5)
    await pair.here.publish(pair.at("e.x"), Happened(1))
    subject, _ = await asyncio.wait_for(listening.next(), WAIT_S)
    assert subject == pair.at("e.x")


@pytest.mark.parametrize(
    ("pattern", "hears"),
    [
        ("a.b", ["a.b"]),
        ("a.*", ["a.b", "a.c"]),
        ("a.>", ["a.b", "a.b.c", "a.c"]),
        ("*.b", ["a.b", "d.b"]),
        ("*.*.c", ["a.b.c"]),
        (">", ["a", "a.b", "a.b.c", "a.c", "d.b"]),
    ],
)
async def test_a_star_stands_for_one_word_and_an_arrow_for_one_or_more(pair, pattern, hears):
    listening = await pair.there.listen(pair.at(pattern), queue_max=50)
    for number, subject in enumerate(("a", "a.b", "a.b.c", "a.c", "d.b")):
        await pair.here.publish(pair.at(subject), Happened(number))
    found = []
    for _ in hears:
        subject, _event = await asyncio.wait_for(listening.next(), WAIT_S)
        found.append(subject.removeprefix(f"{pair.prefix}."))
    assert found == hears


def test_a_pattern_may_begin_with_a_star():
    assert fits(("*", "b"), ("a", "b"))
    assert fits((">",), ("a", "b"))
    assert not fits(("a", ">"), ("a",))
    assert not fits(("a",), ("a", "b"))
    assert not fits(("a", "c", ">"), ("a", "b", "c"))


async def test_a_local_listener_to_everything_hears_everything():
    bus = LocalBus()
    listening = await bus.listen(">", queue_max=5)
    await bus.publish("a.b", Happened(1))
    await bus.publish("c", Happened(2))
    assert [(await listening.next())[0] for _ in range(2)] == ["a.b", "c"]
    await listening.stop()
    await bus.close()


async def test_a_slow_listener_loses_its_oldest_events_and_counts_them(pair):
    slow = await pair.there.listen(pair.at("e"), queue_max=3)
    other = await pair.there.listen(pair.at("e"), queue_max=50)
    await pair.there.serve(pair.at("q"), Question, echo)
    for number in range(10):
        await pair.here.publish(pair.at("e"), Happened(number))
    for number in range(10):  # when another of the same connection has heard them all, so has the slow one
        assert (await heard(other)).number == number
    async with asyncio.timeout(WAIT_S):
        while slow.lost < 7:
            await pair.here.request(pair.at("q"), Question("are they there?"), Reply, timeout_s=WAIT_S)
    assert [(await heard(slow)).number for _ in range(3)] == [7, 8, 9]
    assert slow.lost == 7


async def test_whoever_stops_listening_hears_no_more(pair):
    stopped = await pair.there.listen(pair.at("e"), queue_max=5)
    other = await pair.there.listen(pair.at("e"), queue_max=5)
    await pair.here.publish(pair.at("e"), Happened(1))
    await heard(stopped)
    await stopped.stop()
    await pair.here.publish(pair.at("e"), Happened(2))
    assert [(await heard(other)).number for _ in range(2)] == [1, 2]
    waiting = asyncio.create_task(stopped.next())
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()


async def test_an_event_waits_for_whoever_is_slow_to_ask(pair):
    listening = await pair.there.listen(pair.at("e"), queue_max=5)
    waiting = asyncio.create_task(heard(listening))
    await asyncio.sleep(0)
    await pair.here.publish(pair.at("e"), Happened(1))
    assert (await waiting).number == 1


async def test_an_event_of_another_type_is_left_aside(pair):
    listening = await pair.there.listen(pair.at("e"), queue_max=5)
    await pair.here.publish(pair.at("e"), Question("not an event"))
    _, event = await asyncio.wait_for(listening.next(), WAIT_S)
    assert read_event(event, Happened) is None
    assert read_event(event, Question) == Question("not an event")


# --- messages -------------------------------------------------------------------------------------


async def test_a_union_is_decoded_by_its_tags(pair, clock):
    seen: list[Heard] = []

    async def hear(heard_: Heard) -> Replied:
        seen.append(heard_)
        return Replied(Ticked(clock.now()) if isinstance(heard_.said, Beat) else Thanks())

    await pair.there.serve(pair.at("heard"), Heard, hear)
    says = (
        Beat(),
        Metered(1, 7, (Reading(clock.now(), energy_wh=1.5, others=(("Temperature", "20", "C"),)),)),
        Ended(7, 99, clock.now(), "Local", "04A1"),
    )
    for said in says:
        sent = Heard("chg_1", "soc_1", "m1", "X", '{"ä": "\\u0041"}', said)
        replied = await pair.here.request(pair.at("heard"), sent, Replied, timeout_s=WAIT_S)
        assert seen[-1] == sent
        assert type(replied.reply) is (Ticked if isinstance(said, Beat) else Thanks)


def is_plain(bus: Bus) -> bool:
    """Say whether messages stay what they are, so that nothing is written and nothing can be too long."""
    return isinstance(bus, LocalBus) and not bus._is_strict


async def test_a_reply_of_another_type_is_an_error(pair):
    await pair.there.serve(pair.at("q"), Question, echo)
    with pytest.raises(AssertionError if is_plain(pair.here) else Invalid):
        await pair.here.request(pair.at("q"), Question("x"), Happened, timeout_s=WAIT_S)


@pytest.mark.parametrize("size", [1_000, 100_000, BUS_BYTES_MAX - 100])
async def test_a_large_message_is_carried_both_ways(pair, size):
    await pair.there.serve(pair.at("q"), Question, echo)
    reply = await pair.here.request(pair.at("q"), Question("x" * size), Reply, timeout_s=WAIT_S)
    assert reply.text == "X" * size


async def test_a_message_that_is_too_large_is_refused_with_a_clear_error(pair):
    async def blow_up(ask: Question) -> Reply:
        return Reply("x" * ask.count)

    await pair.there.serve(pair.at("q"), Question, blow_up)
    for ask in (Question("x" * BUS_BYTES_MAX), Question("", BUS_BYTES_MAX)):
        if is_plain(pair.here):
            await pair.here.request(pair.at("q"), ask, Reply, timeout_s=WAIT_S)
            continue
        with pytest.raises(MessageTooLarge):
            await pair.here.request(pair.at("q"), ask, Reply, timeout_s=WAIT_S)
    listening = await pair.there.listen(pair.at("e"), queue_max=5)
    await pair.here.publish(pair.at("e"), Happened(1, "x" * BUS_BYTES_MAX))
    await pair.here.publish(pair.at("e"), Happened(2))
    assert (await heard(listening)).number in {1, 2}


# --- the end --------------------------------------------------------------------------------------


async def test_a_closed_bus_serves_and_tells_nothing(pair):
    await pair.there.serve(pair.at("q"), Question, echo)
    await pair.there.close()
    with pytest.raises(Unserved):
        await pair.here.request(pair.at("q"), Question("hello"), Reply, timeout_s=WAIT_S)
    await pair.here.close()
    await pair.here.publish(pair.at("e"), Happened(1))
    with pytest.raises(Unavailable):
        await pair.here.request(pair.at("q"), Question("hello"), Reply, timeout_s=WAIT_S)


async def test_a_bus_that_cannot_be_reached_is_told_at_once(monkeypatch):
    monkeypatch.setattr("voltyard.kernel.bus_nats.CONNECT_S", 0.3)
    with pytest.raises(BusGone):
        await NatsBus.connect(f"nats://127.0.0.1:{free_port()}")
