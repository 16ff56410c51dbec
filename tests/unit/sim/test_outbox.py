from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from voltyard.sim.outbox import UNKNOWN_NUMBER, Outbox, Saying, Transaction

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SOON = timedelta(seconds=30)


def running() -> Transaction:
    return Transaction(1, "TAG", None, NOW, 0)


def test_messages_go_in_the_order_in_which_they_were_added():
    box = Outbox("x")
    deal = running()
    for saying in (Saying("Authorize", {}), Saying("StartTransaction", {}, deal), Saying("Heartbeat", {})):
        box.add(saying)
    said = []
    while opened := box.next(NOW, "all", SOON):
        assert box.next(NOW, "all", SOON) is None
        said.append(opened.saying.action)
        assert box.close("foreign") is None
        assert box.close(opened.id) is opened.saying
    assert said == ["Authorize", "StartTransaction", "Heartbeat"]
    assert box.close("x-1") is None


def test_before_the_boot_is_accepted_only_boots_and_triggered_messages_go():
    box = Outbox("x")
    box.add(Saying("Heartbeat", {}))
    box.add(Saying("MeterValues", {}, is_triggered=True))
    box.add(Saying("BootNotification", {}))
    assert box.next(NOW, "nothing", SOON) is None
    opened = box.next(NOW, "boot", SOON)
    assert opened is not None
    assert opened.saying.action == "BootNotification"
    box.close(opened.id)
    assert box.next(NOW, "boot", SOON) is None
    triggered = box.next(NOW, "triggered", SOON)
    assert triggered is not None
    assert triggered.saying.action == "MeterValues"


def test_the_number_is_filled_in_when_it_is_said():
    deal = running()
    stop = Saying("StopTransaction", {"meterStop": 1}, deal)
    assert stop.wire_payload()["transactionId"] == UNKNOWN_NUMBER
    deal.number = 7
    assert stop.wire_payload()["transactionId"] == 7
    assert Saying("StartTransaction", {"a": 1}, deal).wire_payload() == {"a": 1}
    assert Saying("Heartbeat", {}).wire_payload() == {}


def test_a_repeat_waits_for_its_time_and_does_not_hold_up_others():
    box = Outbox("x")
    deal = running()
    box.add(Saying("StartTransaction", {}, deal))
    box.add(Saying("Heartbeat", {}))
    opened = box.next(NOW, "all", SOON)
    assert opened is not None
    failed = box.close(opened.id)
    assert failed is not None
    box.put_back(failed, NOW + SOON)
    beat = box.next(NOW, "all", SOON)
    assert beat is not None
    assert beat.saying.action == "Heartbeat"
    box.close(beat.id)
    assert box.next(NOW, "all", SOON) is None
    again = box.next(NOW + SOON, "all", SOON)
    assert again is not None
    assert again.saying is failed
    assert again.id != opened.id


def test_a_cut_keeps_transaction_messages_and_hands_back_the_others():
    box = Outbox("x")
    box.add(Saying("Authorize", {}))
    box.add(Saying("StopTransaction", {}, running()))
    box.add(Saying("Heartbeat", {}))
    assert box.has_waiting("Heartbeat")
    assert box.next(NOW, "all", SOON) is not None
    assert box.has_waiting("Authorize")
    assert len(box) == 2
    assert [saying.action for saying in box.cut()] == ["Authorize", "Heartbeat"]
    assert [saying.action for saying in box.lasting] == ["StopTransaction"]
    box.begin_replay([Saying("StatusNotification", {})])
    first = box.next(NOW, "all", SOON)
    assert first is not None
    assert first.saying.action == "StatusNotification"


@given(st.lists(st.sampled_from(["add", "next", "close", "cut", "replay"]), max_size=60))
def test_no_transaction_message_is_lost_or_turned_round(moves):
    box = Outbox("x")
    deal = running()
    added: list[Saying] = []
    arrived: list[Saying] = []
    for move in moves:
        if move == "add":
            added.append(Saying("MeterValues", {}, deal))
            box.add(added[-1])
        elif move == "next":
            box.next(NOW, "all", SOON)
        elif move == "close" and box.open is not None:
            closed = box.close(box.open.id)
            if closed is not None and closed.transaction:
                arrived.append(closed)
        elif move == "cut":
            box.cut()
        elif move == "replay":
            box.begin_replay([Saying("StatusNotification", {})])
    assert [*arrived, *box.lasting] == added
