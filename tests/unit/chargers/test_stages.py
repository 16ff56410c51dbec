"""How far a transfer is: every word of a charger, and what no word may undo."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltyard.chargers.stages import (
    FETCHED,
    GOING_ON,
    Stage,
    after_boot,
    after_firmware_word,
    after_upload_word,
    is_idle,
    is_same_version,
    seen,
)

stages = st.sampled_from(list(Stage))
NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("word", "stage"),
    [
        ("DownloadScheduled", Stage.SCHEDULED),
        ("Downloading", Stage.DOWNLOADING),
        ("DownloadPaused", Stage.PAUSED),
        ("Downloaded", Stage.DOWNLOADED),
        ("DownloadFailed", Stage.DOWNLOAD_FAILED),
        ("SignatureVerified", Stage.VERIFIED),
        ("InvalidSignature", Stage.BAD_SIGNATURE),
        ("InstallScheduled", Stage.INSTALL_SCHEDULED),
        ("Installing", Stage.INSTALLING),
        ("InstallRebooting", Stage.REBOOTING),
        ("InstallVerificationFailed", Stage.VERIFICATION_FAILED),
        ("InstallationFailed", Stage.INSTALL_FAILED),
        ("Installed", Stage.INSTALLED),
        (" installed ", Stage.INSTALLED),
        ("Idle", Stage.ASKED),
        ("Whatever", Stage.ASKED),
    ],
)
def test_each_word_about_firmware_leads_to_its_stage(word: str, stage: Stage):
    assert after_firmware_word(Stage.ASKED, word) is stage


@pytest.mark.parametrize(
    ("word", "ours", "theirs"),
    [
        ("Uploading", Stage.UPLOADING, Stage.UPLOADING),
        ("Uploaded", Stage.MISSING, Stage.SENT),
        ("UploadFailed", Stage.FAILED, Stage.FAILED),
        ("UploadFailure", Stage.FAILED, Stage.FAILED),
        ("BadMessage", Stage.FAILED, Stage.FAILED),
        ("NotSupportedOperation", Stage.FAILED, Stage.FAILED),
        ("PermissionDenied", Stage.FAILED, Stage.FAILED),
        ("AcceptedCanceled", Stage.REPLACED, Stage.REPLACED),
        ("Idle", Stage.ASKED, Stage.ASKED),
        ("Whatever", Stage.ASKED, Stage.ASKED),
    ],
)
def test_each_word_about_an_upload_leads_to_its_stage(word: str, ours: Stage, theirs: Stage):
    assert after_upload_word(Stage.ASKED, word, is_ours=True) is ours
    assert after_upload_word(Stage.ASKED, word, is_ours=False) is theirs


@given(st.text(max_size=30), st.booleans())
def test_what_has_arrived_stays_arrived(word: str, is_ours: bool):
    assert after_upload_word(Stage.RECEIVED, word, is_ours=is_ours) is Stage.RECEIVED


@given(stages, st.text(max_size=30))
def test_any_text_is_borne(stage: Stage, word: str):
    assert after_firmware_word(stage, word) in Stage
    assert after_upload_word(stage, word, is_ours=True) in Stage
    assert is_idle(word) == (word.strip().lower() == "idle")


@given(stages)
def test_another_version_after_a_start_proves_the_installation(stage: Stage):
    assert after_boot(stage, before="6.5.0", wanted="6.5.1", told="6.5.1") is Stage.INSTALLED
    assert after_boot(stage, before="6.5.0", wanted="6.5.1", told="6.5.2") is Stage.INSTALLED


@given(stages)
def test_the_same_version_proves_nothing_unless_it_was_wanted_and_fetched(stage: Stage):
    assert after_boot(stage, before="6.5.0", wanted="6.5.1", told="6.5.0") is stage
    wanted = after_boot(stage, before="6.5.0", wanted="v6.5.0 ", told="6.5.0")
    assert wanted is (Stage.INSTALLED if stage in FETCHED else stage)


@given(stages)
def test_a_charger_that_never_told_its_firmware_proves_nothing_by_telling_one(stage: Stage):
    assert after_boot(stage, before="", wanted="2", told="1") is stage
    assert after_boot(stage, before="1", wanted="2", told="") is stage


@given(stages)
def test_what_should_have_gone_on_has_timed_out_in_the_end(stage: Stage):
    assert seen(stage, NOW + timedelta(seconds=1), NOW) is stage
    assert seen(stage, NOW, NOW) is (Stage.TIMED_OUT if stage in GOING_ON else stage)


def test_versions_are_the_same_give_or_take_their_spelling():
    assert is_same_version(" V6.5.1", "6.5.1")
    assert not is_same_version("6.5.1", "6.5.10")
    assert not is_same_version("", "")
