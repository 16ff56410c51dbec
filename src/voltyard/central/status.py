"""What chargers say of their state."""

from __future__ import annotations

from collections.abc import Sequence

from voltyard.chargers import service as chargers
from voltyard.chargers.service import Place
from voltyard.kernel.db import Work
from voltyard.reservations import service as reservations
from voltyard.speech import (
    Decided,
    DiagnosticsTold,
    FirmwareTold,
    LogTold,
    Reply,
    SecurityTold,
    SignedFirmwareTold,
    SigningAsked,
    StatusTold,
    Thanks,
    VendorReply,
    VendorTold,
)

Progress = FirmwareTold | SignedFirmwareTold | DiagnosticsTold | LogTold
THANKS = Thanks()


def told(work: Work, items: Sequence[tuple[Place, StatusTold]]) -> list[Reply]:
    """Store the status of connectors (OCPP 1.6 §4.9)."""
    chargers.tell_status(work, items)
    reservations.tell_status(work, items)
    return [THANKS] * len(items)


def progress(_work: Work, items: Sequence[tuple[Place, Progress]]) -> list[Reply]:
    """Thank for news of a firmware update or an upload; the log of calls keeps them."""
    return [THANKS] * len(items)


def security(_work: Work, items: Sequence[tuple[Place, SecurityTold]]) -> list[Reply]:
    """Thank for news of what concerns security; the log of calls keeps them."""
    return [THANKS] * len(items)


def signing(_work: Work, items: Sequence[tuple[Place, SigningAsked]]) -> list[Reply]:
    """Refuse to have a certificate signed."""
    # There is no certificate authority behind us yet. Accepted would be a promise: the charger would wait
    # for a CertificateSigned that never comes (white paper, use cases A02 and A03).
    return [Decided(is_accepted=False)] * len(items)


def vendor(_work: Work, items: Sequence[tuple[Place, VendorTold]]) -> list[Reply]:
    """Answer a vendor's own message: it is kept in the log, and we know no vendor's words (OCPP 1.6 §4.3)."""
    return [VendorReply("UnknownVendorId")] * len(items)
