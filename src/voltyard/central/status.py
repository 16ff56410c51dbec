"""What chargers say of their state."""

from __future__ import annotations

from collections.abc import Sequence

from voltyard.chargers import certificates, security, transfers
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
from voltyard.transactions import pending

Progress = FirmwareTold | SignedFirmwareTold | DiagnosticsTold | LogTold
THANKS = Thanks()


def told(work: Work, items: Sequence[tuple[Place, StatusTold]]) -> list[Reply]:
    """Store the status of connectors (OCPP 1.6 §4.9)."""
    chargers.tell_status(work, items)
    reservations.tell_status(work, items)
    pending.tell_status(work, items)
    return [THANKS] * len(items)


def progress(work: Work, items: Sequence[tuple[Place, Progress]]) -> list[Reply]:
    """Note how far an update of firmware or an upload is (OCPP 1.6 §4.4 and §4.5)."""
    transfers.told(work, items)
    return [THANKS] * len(items)


def told_security(work: Work, items: Sequence[tuple[Place, SecurityTold]]) -> list[Reply]:
    """Keep what concerns a charger's safety (white paper, use case A04)."""
    security.told(work, items)
    return [THANKS] * len(items)


def signing(work: Work, items: Sequence[tuple[Place, SigningAsked]]) -> list[Reply]:
    """Decide whether certificates will be signed; jobs do it and hand them over (use cases A02, A03)."""
    return [Decided(is_accepted) for is_accepted in certificates.asked(work, items)]


def vendor(_work: Work, items: Sequence[tuple[Place, VendorTold]]) -> list[Reply]:
    """Answer a vendor's own message: it is kept in the log, and we know no vendor's words (OCPP 1.6 §4.3)."""
    return [VendorReply("UnknownVendorId")] * len(items)
