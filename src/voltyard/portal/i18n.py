"""Catalogues of the portal's texts; a language without one is shown in English."""

from __future__ import annotations

from gettext import NullTranslations, translation
from pathlib import Path

LOCALES = Path(__file__).parent / "locale"
DOMAIN = "portal"


def catalogue(language: str) -> NullTranslations:
    """Return the translations of a language."""
    return translation(DOMAIN, LOCALES, languages=[language], fallback=True)
