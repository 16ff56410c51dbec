"""Which function does which durable job, and the loop that claims them.

A job is a message that a room enqueued with the state it belongs to. Its function takes the context
and the message; it may be run twice, so it looks at the state before it acts. What it raises is tried
again after a growing pause; a refusal would be the same next time, so it parks the job at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any, Final

from voltyard.accounts import proofs
from voltyard.accounts.letters import SendLetter
from voltyard.accounts.proofs import ProofAsked
from voltyard.cards.events import CardsChanged, CardsWithdrawn
from voltyard.chargers import after_boot, certificates, firmware, parameters, promises, runs
from voltyard.chargers.events import ChargerMoved, MessagePromised
from voltyard.kernel import jobs
from voltyard.kernel.actor import system
from voltyard.kernel.context import Context
from voltyard.kernel.db import Work
from voltyard.kernel.errors import Refused, TooMany, VoltyardError
from voltyard.kernel.jobs import Job
from voltyard.kernel.limits import JOB_BEAT_S, JOBS_AT_ONCE, JOBS_PATIENT_AT_ONCE, LISTENER_QUEUE_MAX
from voltyard.kernel.log import logger
from voltyard.kernel.wire import Message, decode
from voltyard.local_lists import service as local_lists
from voltyard.local_lists.events import SyncList
from voltyard.operators import authority, availability, limits
from voltyard.operators import service as operators
from voltyard.operators.events import Attune, Compose, EndRefused, FreeConnectors
from voltyard.reservations import service as reservations
from voltyard.reservations.events import ReservationOver, ReservationWithdrawn
from voltyard.transactions import pending
from voltyard.transactions.events import AwaitStart
from voltyard.worker import mail

ACTOR = system("worker")

Do = Callable[[Context, Any], Awaitable[None]]


async def charger_moved(ctx: Context, message: ChargerMoved) -> None:
    """Take out of a charger what it was given for the place where it stood before."""
    await local_lists.moved(ctx, message)
    await reservations.moved(ctx, message)
    await operators.charger_moved(ctx, message)


JOBS: Mapping[type[Message], Do] = MappingProxyType(
    {
        CardsChanged: local_lists.cards_changed,
        CardsWithdrawn: local_lists.cards_withdrawn,
        ChargerMoved: charger_moved,
        SyncList: local_lists.sync,
        ReservationOver: reservations.over,
        ReservationWithdrawn: reservations.withdrawn,
        AwaitStart: pending.await_start,
        MessagePromised: promises.look,
        after_boot.LookAfterBoot: after_boot.look,
        parameters.ReadParameters: parameters.read_left,
        parameters.SendParameters: parameters.send_left,
        firmware.BringFirmware: firmware.bring,
        runs.CarryOnRun: runs.carry_on,
        certificates.SignFor: certificates.sign_for,
        certificates.AskRenewal: certificates.ask_renewal,
        Compose: limits.compose,
        EndRefused: authority.end_refused,
        Attune: authority.attune,
        FreeConnectors: availability.free,
        ProofAsked: proofs.answer,
        SendLetter: mail.send,
    }
)
"""Every kind of job, and the function of its room that does it."""


PATIENT: Final = frozenset(
    kind.__name__
    for kind in (
        SyncList,
        after_boot.LookAfterBoot,
        parameters.ReadParameters,
        parameters.SendParameters,
        firmware.BringFirmware,
        certificates.AskRenewal,
        Compose,
    )
)
"""What many chargers may need at once, and nobody waits for: it leaves room for all the rest.

A fleet that boots after a power cut and gives no answers would hold everything else up for hours.
"""


class Jobs:
    """Claims jobs that are due and does them, a bounded number at a time."""

    def __init__(
        self,
        ctx: Context,
        holder: str,
        known: Mapping[type[Message], Do] = JOBS,
        patient: Collection[str] = PATIENT,
    ) -> None:
        self._ctx = ctx
        self._holder = holder
        self._known = {kind.__name__: (kind, do) for kind, do in known.items()}
        self._patient = patient
        self._free = JOBS_AT_ONCE
        self._free_patient = JOBS_PATIENT_AT_ONCE
        self._wake = asyncio.Event()
        self._log = logger("jobs")

    async def run(self) -> None:
        """Do jobs until cancelled: at once when told that there are some, else on a beat."""
        listening = await self._ctx.bus.listen(jobs.WAKE, queue_max=LISTENER_QUEUE_MAX)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._beat())
                group.create_task(self._hear(listening))
                while True:
                    self._wake.clear()
                    for job in await self._claimed():
                        self._take(job, 1)
                        group.create_task(self._do(job))
                    await self._wake.wait()
        finally:
            await listening.stop()

    async def _beat(self) -> None:
        while True:
            await self._ctx.clock.sleep(JOB_BEAT_S)
            self._wake.set()

    async def _hear(self, listening: Any) -> None:
        while True:
            await listening.next()
            self._wake.set()

    async def _claimed(self) -> list[Job]:
        if self._free <= 0:
            return []
        try:
            return await self._ctx.db.work(ACTOR, self._claim)
        except VoltyardError as wrong:
            self._log.warning("jobs put off", why=str(wrong))
        except Exception:  # what is due is still due at the next beat
            self._log.exception("jobs could not be claimed")
        return []

    def _claim(self, work: Work) -> list[Job]:
        found = jobs.claim(work, self._holder, most=self._free, without=self._patient)
        room = min(self._free - len(found), self._free_patient)
        if room > 0:
            found += jobs.claim(work, self._holder, most=room, only=self._patient)
        return found

    def _take(self, job: Job, count: int) -> None:
        """Take room for a job, or give it back."""
        self._free -= count
        if job.kind in self._patient:
            self._free_patient -= count

    async def _do(self, job: Job) -> None:
        try:
            try:
                await self._try(job)
            except Exception as wrong:
                if not isinstance(wrong, VoltyardError):
                    self._log.exception("a job failed", kind=job.kind)
                is_final = isinstance(wrong, Refused) and not isinstance(wrong, TooMany)
                await self._ctx.db.work(
                    ACTOR, jobs.failed, job, self._holder, repr(wrong)[:2_000], is_final=is_final
                )
            else:
                await self._ctx.db.work(ACTOR, jobs.done, job.id, self._holder)
        except Exception as wrong:  # the claim runs out and the job is tried again
            self._log.warning("a job's end was not noted", kind=job.kind, why=repr(wrong))
        finally:
            self._take(job, -1)
            self._wake.set()

    async def _try(self, job: Job) -> None:
        kind, do = self._known[job.kind]
        await do(self._ctx, decode(job.body, kind))
