"""What a charger knows about id tags without asking: the local list and its cache (OCPP 1.6 §3.5).

The list goes before the cache. Tags are compared without case (CiString20Type).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from voltyard.sim.envelope import Fields


@dataclass(frozen=True)
class TagInfo:
    """An idTagInfo: what the central system said about a tag (§7.27)."""

    status: str
    parent: str | None = None
    expires_at: datetime | None = None

    def lets_in(self, now: datetime) -> bool:
        """Tell whether this allows charging now."""
        return self.status == "Accepted" and (self.expires_at is None or now < self.expires_at)


def read_tag_info(fields: Fields) -> TagInfo:
    """Read an idTagInfo object. Raises ``BadPayload`` when it breaks its schema."""
    return TagInfo(
        fields.text("status"), fields.text_or_none("parentIdTag"), fields.instant_or_none("expiryDate")
    )


class KnownTags:
    """The local list, with its version, and the cache of one charger."""

    def __init__(self) -> None:
        self.version = 0
        self._listed: dict[str, TagInfo] = {}
        self._cached: dict[str, TagInfo] = {}

    def look_up(self, tag: str, use_list: bool, use_cache: bool) -> TagInfo | None:
        """Return what is known about a tag, the list first."""
        key = tag.lower()
        listed = self._listed.get(key) if use_list else None
        return listed or (self._cached.get(key) if use_cache else None)

    def remember(self, tag: str, info: TagInfo) -> None:
        """Put an answer of the central system into the cache; tags of the list are not cached (§3.5.1)."""
        if tag.lower() not in self._listed:
            self._cached[tag.lower()] = info

    def forget(self) -> None:
        """Empty the cache (§5.4)."""
        self._cached.clear()

    def replace(self, version: int, entries: list[tuple[str, TagInfo | None]]) -> None:
        """Take a whole new list (§5.15)."""
        self._listed = {tag.lower(): info for tag, info in entries if info is not None}
        self.version = version

    def merge(self, version: int, entries: list[tuple[str, TagInfo | None]]) -> None:
        """Take changes to the list; an entry without info removes its tag (§5.15)."""
        for tag, info in entries:
            if info is None:
                self._listed.pop(tag.lower(), None)
            else:
                self._listed[tag.lower()] = info
        self.version = version

    def __len__(self) -> int:
        return len(self._listed)
