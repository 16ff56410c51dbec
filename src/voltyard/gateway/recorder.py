"""What a gateway saw, gathered and told to the desk a few times a second: the flight recorder's source.

What chargers say is stored by the desk before it is answered; told from here are the answers, our own
calls, the frames that nobody understood, and the deviations that were tolerated. Nothing waits for it:
a desk that is away costs the oldest of what was gathered, and that is logged.
"""

from __future__ import annotations

from collections import deque

from voltyard.kernel.bus import Bus
from voltyard.kernel.clock import Clock
from voltyard.kernel.errors import Unavailable, VoltyardError
from voltyard.kernel.limits import (
    ANSWER_BUDGET_S,
    BUS_BYTES_MAX,
    TRACE_FLUSH_S,
    TRACE_ITEMS_MAX,
    TRACE_KEPT_CHARACTERS_MAX,
    TRACE_KEPT_MAX,
    TRACE_TEXT_MAX,
)
from voltyard.kernel.log import logger
from voltyard.speech import AnswerTraced, CallStatus, CallTraced, FlawTold, LateAnswer, Traced, TracedNumbers

TRACE_BYTES_MAX = BUS_BYTES_MAX // 4
"""Characters of texts in one message to the desk; as JSON within JSON they may double."""
SAMPLE_MAX = 500
CUT = " …"


def shortened(text: bytes | str, most: int = TRACE_TEXT_MAX) -> str:
    """Return a text for the record, cut where it is longer than a log can bear."""
    whole = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    if "\0" in whole:  # PostgreSQL keeps no such text
        whole = whole.replace("\0", "\N{REPLACEMENT CHARACTER}")
    return whole if len(whole) <= most else whole[:most] + CUT


class Recorded:
    """One call on its way through the record; ``number`` is its place in the log once that is known."""

    __slots__ = ("answer", "call", "latency_ms", "number", "status")

    def __init__(self, call: CallTraced) -> None:
        self.call = call
        self.number = 0
        self.status = CallStatus.PENDING
        self.answer = ""
        self.latency_ms = 0.0

    @property
    def size(self) -> int:
        """Return about how many characters this adds to a message."""
        return self.weight + len(self.answer)

    @property
    def weight(self) -> int:
        """Return about how many characters of memory the call takes, however it goes on."""
        return len(self.call.payload) + 200

    def as_answer(self) -> AnswerTraced:
        """Return how the call ended, for a log that holds it already."""
        return AnswerTraced(self.number, self.status, self.answer, self.latency_ms)

    def as_call(self) -> CallTraced:
        """Return the call with what is known of it now."""
        if self.status is CallStatus.PENDING:
            return self.call
        call = self.call
        return CallTraced(
            call.charger_id, call.session_id, call.message_id, call.is_outward, call.origin, call.command_id,
            call.action, call.payload, call.at, self.status, self.answer, self.latency_ms,
        )  # fmt: skip


class Recorder:
    """Gathers what the exchanges of one gateway see."""

    def __init__(self, *, bus: Bus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock
        self._calls: deque[Recorded] = deque()
        self._ended: deque[Recorded] = deque()
        self._answers: deque[AnswerTraced] = deque()
        self._late: deque[LateAnswer] = deque()
        # (charger, kind) -> (how often, the action and a sample of the first time)
        self._flaws: dict[tuple[str, str], tuple[int, str, str]] = {}
        # How many characters the calls take that wait here.
        self._weight = 0
        self._lost = 0
        self._most = TRACE_ITEMS_MAX
        self._log = logger("recorder")

    # --- the exchanges' side: plain calls, never waiting ---

    def answered(self, number: int, status: CallStatus, answer: bytes, latency_s: float) -> None:
        """Note how a charger's call that is in the log was answered."""
        self._answers.append(AnswerTraced(number, status, shortened(answer), latency_s * 1000))

    def call(self, call: CallTraced) -> Recorded:
        """Note a call that the log does not hold yet; ``end`` tells how it went on."""
        recorded = Recorded(call)
        if call.status is not CallStatus.PENDING:
            recorded.status = call.status
            recorded.answer = call.answer or ""
            recorded.latency_ms = call.latency_ms or 0.0
        self._calls.append(recorded)
        self._weight += recorded.weight
        self._make_room()
        return recorded

    def end(self, recorded: Recorded, status: CallStatus, answer: bytes | str, latency_s: float) -> None:
        """Note how a call of ours ended; a late answer ends it once more."""
        recorded.status = status
        recorded.answer = shortened(answer)
        recorded.latency_ms = latency_s * 1000
        self._ended.append(recorded)

    def late(self, answer: LateAnswer) -> None:
        """Note the late answer to a command."""
        self._late.append(answer)

    def flaw(self, charger_id: str, kind: str, action: str, sample: bytes | str) -> None:
        """Count a deviation that was tolerated."""
        held = self._flaws.get((charger_id, kind))
        if held is not None:
            self._flaws[charger_id, kind] = (held[0] + 1, held[1], held[2])
        elif len(self._flaws) < TRACE_KEPT_MAX:
            self._flaws[charger_id, kind] = (1, action, shortened(sample, SAMPLE_MAX))

    def _make_room(self) -> None:
        while len(self._calls) > TRACE_KEPT_MAX or self._weight > TRACE_KEPT_CHARACTERS_MAX:
            self._weight -= self._calls.popleft().weight
            self._lost += 1
        while len(self._answers) > TRACE_KEPT_MAX:
            self._answers.popleft()
            self._lost += 1

    # --- the desk's side ---

    async def run(self) -> None:
        """Tell the desk, a few times a second, until cancelled."""
        while True:
            await self._clock.sleep(TRACE_FLUSH_S)
            await self.flush()

    async def flush(self) -> None:
        """Tell the desk all that was gathered; what it cannot take now is kept for the next time."""
        self._make_room()
        if self._lost:
            self._log.warning("frames missing from the log", lost=self._lost)
            self._lost = 0
        while self._calls or self._ended or self._answers or self._late or self._flaws:
            if not await self._tell():
                return

    async def _tell(self) -> bool:
        calls: list[Recorded] = []
        answers: list[AnswerTraced] = []
        room = TRACE_BYTES_MAX
        while self._calls and room > 0 and len(calls) < self._most:
            calls.append(self._calls.popleft())
            self._weight -= calls[-1].weight
            room -= calls[-1].size
        told = tuple(recorded.as_call() for recorded in calls)
        while self._ended and room > 0 and len(answers) < self._most:
            recorded = self._ended.popleft()
            if recorded.number:  # else it is told whole, together with its answer
                answers.append(recorded.as_answer())
                room -= recorded.size
        while self._answers and room > 0 and len(answers) < self._most:
            answers.append(self._answers.popleft())
            room -= len(answers[-1].answer) + 100
        late = tuple(self._late)
        flaws = self._flaws
        self._late, self._flaws = deque(), {}
        flaws_told = tuple(
            FlawTold(charger_id, kind, count, action, sample)
            for (charger_id, kind), (count, action, sample) in flaws.items()
        )
        traced = Traced(told, tuple(answers), late, flaws_told)
        try:
            reply = await self._bus.request(
                "central.traced", traced, TracedNumbers, timeout_s=ANSWER_BUDGET_S
            )
        except VoltyardError as wrong:
            count = len(calls) + len(answers)
            if not isinstance(wrong, Unavailable) and count <= 1:
                # The desk will never take it: better one frame less in the log than no log.
                self._log.warning("a frame is missing from the log", why=str(wrong))
                return True
            self._log.warning("frames not told yet", why=str(wrong))
            self._calls.extendleft(reversed(calls))
            self._weight += sum(each.weight for each in calls)
            self._answers.extendleft(reversed(answers))
            self._late.extendleft(reversed(late))
            for key, held in flaws.items():
                now = self._flaws.get(key)
                self._flaws[key] = held if now is None else (held[0] + now[0], held[1], held[2])
            if isinstance(wrong, Unavailable):
                return False
            self._most = max(1, count // 4)
            return True
        for recorded, number in zip(calls, reply.numbers, strict=True):
            recorded.number = number
        self._most = min(TRACE_ITEMS_MAX, self._most * 2)
        return True
