"""Requests that may be sent twice and must be carried out once: a person's idempotency keys.

``begin`` claims a key before the request is carried out, ``finish`` keeps the answer for a day,
``forget`` lets the key go when the request was refused and nothing was done. A claim whose request
never came to an end runs out, so that a process that died does not hold a key for a day.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from voltyard.accounts import store
from voltyard.kernel.db import Work
from voltyard.kernel.errors import Conflict, Invalid
from voltyard.kernel.limits import HTTP_TIMEOUT_S

KEPT = timedelta(hours=24)
CLAIM = timedelta(seconds=2 * HTTP_TIMEOUT_S)
KEY_LENGTH_MAX = 255


class KeyInUse(Conflict):
    """A request with this idempotency key is being carried out just now; ask again in a moment."""

    title = "A request with this Idempotency-Key is under way"


class KeyReused(Conflict):
    """This idempotency key belongs to an earlier request that asked for something else."""

    title = "This Idempotency-Key belongs to another request"


class AnswerNotKept(Conflict):
    """The request was carried out before; its answer held a secret, which is not kept."""

    title = "This was done already, and its answer is not kept"


@dataclass(frozen=True, slots=True)
class Kept:
    """The answer that a request with this key got before."""

    status: int
    body: str


def begin(work: Work, key: str, request_hash: str) -> Kept | None:
    """Claim a key for a request, or return the answer that the same request got before.

    Raises: Invalid; KeyReused; KeyInUse; AnswerNotKept; AlreadyThere when two claim at one moment.
    """
    if not 0 < len(key) <= KEY_LENGTH_MAX or not key.isprintable():
        raise Invalid(
            "the Idempotency-Key is not usable",
            (("/Idempotency-Key", f"1 to {KEY_LENGTH_MAX} printable characters"),),
        )
    store.delete_old_keys(work, work.now - KEPT)
    user_id = work.actor.subject_id
    old = store.find_key(work, user_id, key)
    if old is not None:
        if old.request_hash != request_hash:
            raise KeyReused("use a fresh key for every new request")
        if old.status is not None and old.body is None:
            raise AnswerNotKept
        if old.status is not None:
            return Kept(old.status, old.body)
        if old.created_at > work.now - CLAIM:
            raise KeyInUse(retry_after_s=1)
        store.delete_key(work, user_id, key)
    store.insert_key(work, user_id, key, request_hash)
    return None


def finish(work: Work, key: str, status: int, body: str | None) -> None:
    """Keep the answer to a request; a body that holds a secret is given as None."""
    store.set_key(work, work.actor.subject_id, key, status=status, body=body)


def forget(work: Work, key: str) -> None:
    """Let a key go: its request was refused and left no trace."""
    store.delete_key(work, work.actor.subject_id, key)
