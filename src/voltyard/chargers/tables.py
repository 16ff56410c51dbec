"""Tables of chargers."""

from __future__ import annotations

import sqlalchemy as sa

from voltyard.kernel.db import UtcTime, metadata
from voltyard.kernel.limits import IDENTITY_LENGTH_MAX

chargers = sa.Table(
    "chargers",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("identity", sa.String(IDENTITY_LENGTH_MAX), nullable=False),
    sa.Column("identity_key", sa.String(IDENTITY_LENGTH_MAX), nullable=False, unique=True),
    sa.Column("location_id", sa.ForeignKey("locations.id"), index=True),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("vendor", sa.String(120)),
    sa.Column("model", sa.String(120)),
    sa.Column("serial", sa.String(120)),
    sa.Column("firmware", sa.String(120)),
    sa.Column("iccid", sa.String(40)),
    sa.Column("imsi", sa.String(40)),
    sa.Column("meter_type", sa.String(120)),
    sa.Column("meter_serial", sa.String(120)),
    sa.Column("password_hash", sa.String(64)),
    sa.Column("pin_hash", sa.String(64)),
    # The PIN itself, sealed; None for chargers that were registered before it was kept.
    sa.Column("pin_sealed", sa.String(255)),
    # New passwords that were sent to the charger and not confirmed yet, with blanks between: all are good.
    sa.Column("candidate_hashes", sa.String(400)),
    sa.Column("candidate_at", UtcTime),
    # The charger said that it uses the new password after its next restart only.
    sa.Column("is_candidate_late", sa.Boolean, nullable=False, server_default="0"),
    sa.Column("password_at", UtcTime),
    # The security profile that is enforced, and a higher one that the charger has accepted and not shown yet.
    sa.Column("security_profile", sa.Integer, nullable=False, server_default="0"),
    sa.Column("wanted_profile", sa.Integer),
    sa.Column("wanted_profile_at", UtcTime),
    # Why a socket in this charger's name was turned away last.
    sa.Column("refused_at", UtcTime),
    sa.Column("refused_why", sa.String(40)),
    sa.Column("refused_address", sa.String(64)),
    sa.Column("is_held", sa.Boolean, nullable=False),
    sa.Column("booted_at", UtcTime),
    sa.Column("claimed_at", UtcTime),
    sa.Column("created_at", UtcTime, nullable=False),
)

# How many wrong PINs there were for a serial number, which need not exist, or by a person.
pin_tries = sa.Table(
    "pin_tries",
    metadata,
    sa.Column("about", sa.String(64), primary_key=True),
    sa.Column("since_at", UtcTime, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
)

presences = sa.Table(
    "presences",
    metadata,
    sa.Column("charger_id", sa.ForeignKey("chargers.id"), primary_key=True),
    sa.Column("session_id", sa.String(40)),
    sa.Column("gateway", sa.String(64)),
    sa.Column("version", sa.String(16)),
    sa.Column("address", sa.String(64)),
    sa.Column("is_tls", sa.Boolean, nullable=False, server_default="0"),
    # What this socket proves, whatever is enforced.
    sa.Column("security_profile", sa.Integer, nullable=False, server_default="0"),
    sa.Column("certificate_serial", sa.String(64)),
    # The installations of Voltyard that the charger came through, with commas: one that stands in for it.
    sa.Column("via", sa.String(200)),
    sa.Column("connected_at", UtcTime),
    sa.Column("disconnected_at", UtcTime),
    sa.Column("seen_at", UtcTime),
)

connectors = sa.Table(
    "connectors",
    metadata,
    sa.Column("charger_id", sa.ForeignKey("chargers.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("error", sa.String(64), nullable=False),
    sa.Column("info", sa.String(120)),
    sa.Column("vendor_error", sa.String(120)),
    sa.Column("status_at", UtcTime, nullable=False),
    sa.Column("heard_at", UtcTime, nullable=False),
)

commands = sa.Table(
    "commands",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("charger_id", sa.ForeignKey("chargers.id"), nullable=False),
    sa.Column("kind", sa.String(64), nullable=False),
    sa.Column("request", sa.Text, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("word", sa.String(64), nullable=False),
    sa.Column("answer", sa.Text),
    sa.Column("actor_kind", sa.String(16), nullable=False),
    sa.Column("actor_id", sa.String(40), nullable=False),
    sa.Column("door", sa.String(16), nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("deadline_at", UtcTime, nullable=False),
    sa.Column("sent_at", UtcTime),
    sa.Column("finished_at", UtcTime),
    sa.Column("connector", sa.Integer),
    # What has to be heard for the command to have had its effect; empty once it was, or if nothing need be.
    sa.Column("awaits", sa.String(96)),
    sa.Column("effect_until", UtcTime),
    sa.Column("effect_at", UtcTime),
    # What the charger answered after the end, which stays what it is.
    sa.Column("late_word", sa.String(64)),
    sa.Column("is_late_accepted", sa.Boolean),
    sa.Column("late_answer", sa.Text),
    sa.Column("late_at", UtcTime),
    sa.Index("ix_commands_charger_id_id", "charger_id", "id"),
    # Voltyard's own are many; those of people are found without them.
    sa.Index(
        "ix_commands_people",
        "charger_id",
        "id",
        sqlite_where=sa.text("actor_kind <> 'system'"),
        postgresql_where=sa.text("actor_kind <> 'system'"),
    ),
    # Voltyard's own are forgotten after a while, the oldest first.
    sa.Index(
        "ix_commands_own",
        "created_at",
        sqlite_where=sa.text("actor_kind = 'system'"),
        postgresql_where=sa.text("actor_kind = 'system'"),
    ),
    sa.Index(
        "ix_commands_waiting",
        "charger_id",
        "effect_until",
        sqlite_where=sa.text("awaits IS NOT NULL"),
        postgresql_where=sa.text("awaits IS NOT NULL"),
    ),
    sa.Index(
        "ix_commands_open",
        "deadline_at",
        sqlite_where=sa.text("finished_at IS NULL"),
        postgresql_where=sa.text("finished_at IS NULL"),
    ),
)

# One action for many chargers. ``payload`` is what is sent, secrets and all, until the run has ended.
runs = sa.Table(
    "runs",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("actor_kind", sa.String(16), nullable=False),
    sa.Column("actor_id", sa.String(40), nullable=False),
    sa.Column("door", sa.String(16), nullable=False),
    sa.Column("action", sa.String(64), nullable=False),
    sa.Column("payload", sa.Text, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("finished_at", UtcTime),
    sa.Column("cancelled_at", UtcTime),
    sa.Index("ix_runs_actor_id_id", "actor_id", "id"),
    sa.Index("ix_runs_created_at", "created_at"),
)

# A charger of a run; no foreign key, because a run may name what does not exist.
run_items = sa.Table(
    "run_items",
    metadata,
    sa.Column("run_id", sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("place", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("charger_id", sa.String(64), nullable=False),
    sa.Column("status", sa.String(20), nullable=False),
    # The command that is about to ask the charger, noted before it is asked.
    sa.Column("command_id", sa.String(40)),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("executed_at", UtcTime),
    sa.Index("ix_run_items_run_id_status", "run_id", "status"),
)

calls = sa.Table(
    "calls",
    metadata,
    sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("charger_id", sa.String(40), nullable=False),
    sa.Column("session_id", sa.String(40), nullable=False),
    sa.Column("message_id", sa.String(64), nullable=False),
    sa.Column("action", sa.String(64), nullable=False),
    sa.Column("payload", sa.Text, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    # Ours towards the charger; else the charger's towards us.
    sa.Column("is_outward", sa.Boolean, nullable=False, server_default="0"),
    sa.Column("origin", sa.String(64), nullable=False, server_default=""),
    sa.Column("command_id", sa.String(40)),
    # Numbers that were given about the same time (``kernel.blocks``). An index by charger alone would
    # have each message write a page of its own; in this one a batch shares a few pages.
    sa.Column("block", sa.BigInteger, nullable=False, server_default="0"),
    # The transaction that a saying was found to be about, whatever number it named.
    sa.Column("transaction_number", sa.Integer),
    sa.Index("ix_calls_block_charger_id_number", "block", "charger_id", "number"),
    sa.Index(
        "ix_calls_command_id",
        "command_id",
        sqlite_where=sa.text("command_id IS NOT NULL"),
        postgresql_where=sa.text("command_id IS NOT NULL"),
    ),
    sqlite_autoincrement=True,
)

# How a call ended, under the call's number: written once, after the call, and never on its way.
answers = sa.Table(
    "answers",
    metadata,
    sa.Column(
        "number",
        sa.BigInteger().with_variant(sa.Integer, "sqlite"),
        primary_key=True,
        autoincrement=False,
    ),
    sa.Column("status", sa.String(8), nullable=False),
    sa.Column("answer", sa.Text, nullable=False),
    sa.Column("latency_ms", sa.Float, nullable=False),
)

# Deviations from OCPP that were tolerated, counted by charger and by what it was then. A charger that changes
# hands begins anew: what was found under an earlier owner is not the next one's business.
findings = sa.Table(
    "findings",
    metadata,
    sa.Column("charger_id", sa.ForeignKey("chargers.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("held_since_at", UtcTime, primary_key=True),
    sa.Column("vendor", sa.String(120), primary_key=True),
    sa.Column("model", sa.String(120), primary_key=True),
    sa.Column("firmware", sa.String(120), primary_key=True),
    sa.Column("kind", sa.String(40), primary_key=True),
    sa.Column("action", sa.String(64), primary_key=True),
    sa.Column("times", sa.BigInteger, nullable=False),
    sa.Column("sample", sa.Text, nullable=False),
    sa.Column("first_at", UtcTime, nullable=False),
    sa.Column("last_at", UtcTime, nullable=False),
    sa.Index("ix_findings_last_at", "last_at"),
)

# The configuration keys of chargers: what each told last, and what somebody wants of it. Told and wanted
# before the charger was claimed is an earlier owner's, and counts no more.
parameters = sa.Table(
    "parameters",
    metadata,
    sa.Column("charger_id", sa.ForeignKey("chargers.id", ondelete="CASCADE"), primary_key=True),
    # In the form in which keys are compared; ``name`` is the charger's own spelling.
    sa.Column("key", sa.String(255), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("reported", sa.Text),
    sa.Column("is_readonly", sa.Boolean),
    # The charger said that it has no such key.
    sa.Column("is_unknown", sa.Boolean, nullable=False, server_default="0"),
    sa.Column("reported_at", UtcTime),
    sa.Column("desired", sa.Text),
    sa.Column("desired_at", UtcTime),
    sa.Column("actor_kind", sa.String(16)),
    sa.Column("actor_id", sa.String(40)),
    sa.Column("door", sa.String(16)),
    # What became of the desired value, once it was sent.
    sa.Column("result", sa.String(16)),
    sa.Column("is_pending", sa.Boolean, nullable=False, server_default="0"),
    sa.Column("tries", sa.Integer, nullable=False, server_default="0"),
)

# What is known of reading a charger's parameters: when it was tried and done, at which firmware, whether it
# can list them (quirk Q49), and since when it waits to be restarted.
parameter_reads = sa.Table(
    "parameter_reads",
    metadata,
    sa.Column("charger_id", sa.ForeignKey("chargers.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("tried_at", UtcTime),
    sa.Column("read_at", UtcTime),
    sa.Column("firmware", sa.String(120)),
    sa.Column("is_by_key", sa.Boolean, nullable=False, server_default="0"),
    sa.Column("reboot_required_at", UtcTime),
    sa.Column("recommended_at", UtcTime),
)

# How a charger hangs on its grid, as whoever installed it answered.
setups = sa.Table(
    "setups",
    metadata,
    sa.Column("charger_id", sa.ForeignKey("chargers.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("phases", sa.Integer, nullable=False),
    sa.Column("max_current_a", sa.Float, nullable=False),
    sa.Column("breaker_a", sa.Float),
    sa.Column("net_type", sa.String(8), nullable=False),
    sa.Column("phase_rotation", sa.String(3), nullable=False),
    sa.Column("actor_kind", sa.String(16), nullable=False),
    sa.Column("actor_id", sa.String(40), nullable=False),
    sa.Column("door", sa.String(16), nullable=False),
    sa.Column("set_at", UtcTime, nullable=False),
)

# --- security -------------------------------------------------------------------------------------

# Certificates of our own with their sealed keys: the root, the issuer below it, and those of servers.
authorities = sa.Table(
    "authorities",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("certificate", sa.Text, nullable=False),
    sa.Column("key_sealed", sa.Text, nullable=False),
    sa.Column("valid_until", UtcTime, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
)

# What chargers asked to have signed, and what became of it.
charger_certificates = sa.Table(
    "charger_certificates",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("charger_id", sa.ForeignKey("chargers.id", ondelete="CASCADE"), nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("request", sa.Text, nullable=False),
    sa.Column("certificate", sa.Text),
    sa.Column("serial", sa.String(64)),
    sa.Column("fingerprint", sa.String(64)),
    # Why a request was refused, or the charger's word about its certificate.
    sa.Column("word", sa.Text, nullable=False, server_default=""),
    sa.Column("valid_from", UtcTime),
    sa.Column("valid_until", UtcTime),
    sa.Column("renewal_asked_at", UtcTime),
    sa.Column("asked_at", UtcTime, nullable=False),
    sa.Column("answered_at", UtcTime),
    sa.Index("ix_charger_certificates_charger_id_id", "charger_id", "id"),
    sa.Index("ix_charger_certificates_status_valid_until", "status", "valid_until"),
)

# Root certificates in chargers: as each told last, and those that it took from us since.
charger_roots = sa.Table(
    "charger_roots",
    metadata,
    sa.Column("charger_id", sa.ForeignKey("chargers.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("kind", sa.String(16), primary_key=True),
    sa.Column("algorithm", sa.String(16), primary_key=True),
    sa.Column("issuer_name_hash", sa.String(128), primary_key=True),
    sa.Column("issuer_key_hash", sa.String(128), primary_key=True),
    sa.Column("serial", sa.String(64), primary_key=True),
    # The certificate itself, where it came from us.
    sa.Column("certificate", sa.Text),
    sa.Column("heard_at", UtcTime, nullable=False),
)

security_events = sa.Table(
    "security_events",
    metadata,
    sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("charger_id", sa.ForeignKey("chargers.id", ondelete="CASCADE"), nullable=False),
    sa.Column("kind", sa.String(64), nullable=False),
    sa.Column("info", sa.String(255)),
    sa.Column("is_critical", sa.Boolean, nullable=False),
    sa.Column("told_at", UtcTime),
    sa.Column("heard_at", UtcTime, nullable=False),
    sa.Index("ix_security_events_charger_id_number", "charger_id", "number"),
    sa.Index("ix_security_events_heard_at", "heard_at"),
    sqlite_autoincrement=True,
)

# Who looked at something that is shown to few, such as a PIN.
looks = sa.Table(
    "looks",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("what", sa.String(16), nullable=False),
    sa.Column("charger_id", sa.ForeignKey("chargers.id", ondelete="CASCADE"), nullable=False),
    sa.Column("location_id", sa.String(40)),
    sa.Column("actor_kind", sa.String(16), nullable=False),
    sa.Column("actor_id", sa.String(40), nullable=False),
    sa.Column("door", sa.String(16), nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Index("ix_looks_charger_id_id", "charger_id", "id"),
)


# --- firmware and files ---

# Firmware that somebody uploaded; the bytes are a stored file. Deleted by its team, and by nobody else.
firmware_files = sa.Table(
    "firmware_files",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("team_id", sa.ForeignKey("teams.id"), nullable=False, index=True),
    sa.Column("name", sa.String(120), nullable=False),
    sa.Column("version", sa.String(120), nullable=False),
    sa.Column("vendor", sa.String(120), nullable=False),
    sa.Column("model", sa.String(120), nullable=False),
    sa.Column("stored", sa.String(120), nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("signature", sa.Text, nullable=False),
    sa.Column("certificate_pem", sa.Text, nullable=False),
    sa.Column("actor_id", sa.String(40), nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
)

# One file on its way to a charger or from it. News of the charger is heard until ``heard_until_at``; whether
# its time is over shows when it is read (decision record 0019). Housekeeping deletes old ones.
transfers = sa.Table(
    "transfers",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("charger_id", sa.ForeignKey("chargers.id", ondelete="CASCADE"), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("stage", sa.String(20), nullable=False),
    sa.Column("word", sa.String(64), nullable=False),
    sa.Column("steps", sa.Integer, nullable=False),
    sa.Column("is_ours", sa.Boolean, nullable=False),
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("token_hash", sa.String(64), unique=True),
    sa.Column("from_at", UtcTime),
    sa.Column("until_at", UtcTime),
    sa.Column("retrieve_at", UtcTime),
    sa.Column("install_at", UtcTime),
    sa.Column("retries", sa.Integer),
    sa.Column("retry_interval_s", sa.Integer),
    sa.Column("firmware_id", sa.ForeignKey("firmware_files.id", ondelete="SET NULL")),
    sa.Column("is_signed", sa.Boolean, nullable=False),
    sa.Column("version_wanted", sa.String(120), nullable=False),
    sa.Column("version_before", sa.String(120), nullable=False),
    sa.Column("version_after", sa.String(120)),
    sa.Column("actor_kind", sa.String(16), nullable=False),
    sa.Column("actor_id", sa.String(40), nullable=False),
    sa.Column("door", sa.String(16), nullable=False),
    sa.Column("created_at", UtcTime, nullable=False, index=True),
    sa.Column("changed_at", UtcTime, nullable=False),
    sa.Column("ends_at", UtcTime, nullable=False),
    sa.Column("address_ends_at", UtcTime, nullable=False),
    sa.Column("heard_until_at", UtcTime, nullable=False),
    sa.Index("ix_transfers_charger_id_id", "charger_id", "id"),
    sa.Index("ix_transfers_charger_id_heard_until_at", "charger_id", "heard_until_at"),
    sa.Index("ix_transfers_charger_id_number", "charger_id", "number", unique=True),
    sa.Index("ix_transfers_firmware_id", "firmware_id"),
)

transfer_steps = sa.Table(
    "transfer_steps",
    metadata,
    sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("transfer_id", sa.ForeignKey("transfers.id", ondelete="CASCADE"), nullable=False),
    sa.Column("stage", sa.String(20), nullable=False),
    sa.Column("word", sa.String(64), nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Index("ix_transfer_steps_transfer_id_number", "transfer_id", "number"),
    sqlite_autoincrement=True,
)

# What chargers sent; the bytes are stored files. Housekeeping deletes both.
received_files = sa.Table(
    "received_files",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("transfer_id", sa.ForeignKey("transfers.id", ondelete="CASCADE"), nullable=False),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("stored", sa.String(120), nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("received_at", UtcTime, nullable=False, index=True),
    sa.UniqueConstraint("transfer_id", "name"),
)
