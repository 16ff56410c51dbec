"""Every limit as a named constant, with the relations between them asserted.

Limits are not settings: a customer never needs to choose them.
"""

FRAME_BYTES_MAX = 256 * 1024
"""A longer websocket message closes the socket with 1009."""
PIECES_MAX = 1_024
"""A message in more fragments than this closes the socket as well."""
CALL_DEADLINE_S = 30.0
"""How long the charger may take to answer one of our calls."""
ANSWER_BUDGET_S = 20.0
"""How long Voltyard may take to answer a charger's call before the socket is closed."""
AUTHORISE_BUDGET_S = 8.0
HTTP_TIMEOUT_S = 60.0
ASK_QUEUE_MAX = 32
"""Calls that may wait for one charger's outward lane."""
ASK_QUEUE_ORIGIN_MAX = 20
"""… and of those, from one origin."""
INWARD_QUEUE_MAX = 16
"""Calls of a charger that may wait while one of them is being answered."""
SEND_BUFFER_BYTES_MAX = 512 * 1024
"""Unsent bytes of one socket beyond which its reader is paused, then closed."""
BATCH_MS = 50
"""A saying never waits longer than this for company in its batch."""
BATCH_MAX = 100
HELLO_PER_S_MAX = 50
HANDSHAKE_S = 10.0
"""A socket that has not finished its upgrade by then is closed."""
HANDSHAKES_PER_ADDRESS_MAX = 512
"""Half-open handshakes that one address may hold."""
HANDSHAKES_MAX = 4_096
"""Half-open handshakes in all."""
PING_S = 60.0
"""A silent socket is pinged after this time …"""
SILENCE_S = 150.0
"""… and closed after this one."""
HEARTBEAT_S = 300
"""The heartbeat interval that a charger is told."""
PENDING_RETRY_S = 60
"""How soon a charger that waits to be claimed should boot again."""
CLOCK_SKEW_S = 300.0
"""A charger's clock that is further ahead than this is not believed …"""
TOLD_DAYS_MAX = 400
"""… nor one that tells of an instant longer ago than this."""
LINE_WINDOW = 100
POWER_TICK_S = 5.0
METER_STALE_S = 60.0
LEASE_S = 30.0
LEASE_BEAT_S = 9.0
JOB_BEAT_S = 5.0
JOB_TRIES_MAX = 8
JOBS_AT_ONCE = 32
"""Jobs that one worker does at a time; most of them wait for a charger."""
LISTENER_QUEUE_MAX = 1_000
BUS_BYTES_MAX = 1024 * 1024
"""A longer message is refused by the bus; it is the default of NATS, too."""
INVITATION_DAYS = 7
INSTALLER_ACCESS_DAYS = 14
EXPORT_ROWS_MAX = 1_000_000
CALL_LOG_DAYS = 30
SESSION_DAYS = 30
PAGE_MAX = 100
PAGE_DEFAULT = 25
SAMPLES_PAGE_MAX = 5_000
COMMAND_TIMEOUT_MAX_S = 50.0
LOGINS_PER_MINUTE_MAX = 10
PIN_TRIES_PER_HOUR_MAX = 10
"""Wrong PINs for one serial number, whether it exists or not …"""
PIN_TRIES_OF_USER_PER_HOUR_MAX = 3 * PIN_TRIES_PER_HOUR_MAX
"""… and those of one person, whatever the serial numbers."""
REQUESTS_PER_MINUTE_MAX = 600
BODY_BYTES_MAX = 2 * 1024 * 1024
IDENTITY_LENGTH_MAX = 48
TAG_LENGTH_MAX = 20
"""OCPP 1.6 §7.28: idToken is CiString20."""
UNKNOWN_CHARGERS_HELD_MAX = 1_000
"""Unclaimed chargers that may wait at once; more are refused."""
UNKNOWN_CHARGERS_HELD_DAYS = 1
"""How long one that has gone is remembered."""

assert AUTHORISE_BUDGET_S < ANSWER_BUDGET_S < CALL_DEADLINE_S < COMMAND_TIMEOUT_MAX_S < HTTP_TIMEOUT_S
assert LEASE_S > 3 * LEASE_BEAT_S
assert PING_S * 2 < SILENCE_S
assert HANDSHAKES_PER_ADDRESS_MAX < HANDSHAKES_MAX
assert PAGE_DEFAULT <= PAGE_MAX
# A frame crosses the bus as JSON within JSON, beside what was read from it.
assert 3 * FRAME_BYTES_MAX < BUS_BYTES_MAX
assert BATCH_MS / 1000 < AUTHORISE_BUDGET_S
assert ASK_QUEUE_ORIGIN_MAX < ASK_QUEUE_MAX
