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
HANDSHAKES_MAX = 8_192
"""Half-open handshakes in all; after a failure of the network a whole fleet comes in one second."""
PING_S = 60.0
"""A silent socket is pinged after this time …"""
SILENCE_S = 150.0
"""… and closed after this one."""
SILENCE_UNPINGED_S = 900.0
"""… or, for chargers that bear no pings, after this one."""
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
"""Jobs that one worker does at a time; most of them wait for a charger …"""
JOBS_PATIENT_AT_ONCE = 24
"""… but no more than these, of those that may wait long for chargers that give no answer."""
LISTENER_QUEUE_MAX = 1_000
BUS_BYTES_MAX = 1024 * 1024
"""A longer message is refused by the bus; it is the default of NATS, too."""
LINKS_OF_CHARGER_MAX = 8
"""Operators that one charger may be connected to …"""
LINKS_OF_LOCATION_MAX = 500
"""… and links of all chargers of a location."""
VERDICT_DAYS = 7
"""How long a Billing operator's acceptance of a card counts while it is silent."""
PREAUTHORISED_S = 600.0
"""How long a card needs nobody's word after a Billing operator itself asked to start with it."""
INVITATION_DAYS = 7
INSTALLER_ACCESS_DAYS = 14
EXPORT_ROWS_MAX = 1_000_000
CALL_LOG_DAYS = 30
TRACE_FLUSH_S = 0.25
"""How often a gateway tells the desk what it saw."""
TRACE_ITEMS_MAX = 2_000
"""Frames in one such message."""
TRACE_KEPT_MAX = 20_000
"""Frames that a gateway keeps while no desk takes them; then the oldest are missing from the log."""
TRACE_KEPT_CHARACTERS_MAX = 32 * 1024 * 1024
"""… nor more than this in all: a charger that talks nonsense must not fill the memory."""
TRACE_TEXT_MAX = 16_384
"""Characters of a payload or an answer that the log keeps; what chargers say is kept whole."""
SECURITY_EVENT_DAYS = 365
"""How long the security events of chargers are kept …"""
SECURITY_EVENTS_OF_CHARGER_MAX = 1_000
"""… and how many of one charger."""
LOOK_DAYS = 2 * 365
"""How long it is kept who looked at a PIN."""
AUTHORITY_DAYS = 20 * 365
"""How long the local certificate authority is good for …"""
SERVER_CERTIFICATE_DAYS = 365
"""… and the certificates of servers that it issues."""
CHARGER_CERTIFICATE_DAYS = 365
CERTIFICATE_RENEWAL_DAYS = 30
"""A certificate that ends within this time is renewed."""
SIGNINGS_OF_CHARGER_PER_DAY_MAX = 20
"""Certificates that one charger may ask for in a day."""
CERTIFICATES_OF_CHARGER_KEPT = 50
ROOTS_OF_CHARGER_MAX = 100
CANDIDATE_S = 120.0
"""How long a new password that the charger did not confirm is good beside the old one, at the least."""
TLS_REFRESH_S = 3600.0
"""How often the certificate of the TLS listener is looked at."""
SESSION_DAYS = 30
PAGE_MAX = 100
PAGE_DEFAULT = 25
SAMPLES_PAGE_MAX = 5_000
COMMAND_TIMEOUT_MAX_S = 50.0
CONNECT_EFFECT_S = 60.0
"""OCPP 1.6 §9.1.5, ConnectionTimeOut: how long a start waits for the cable, if a charger tells no other …"""
CONNECT_EFFECT_MAX_S = 3_600.0
"""… which is believed up to here …"""
CONNECT_SLACK_S = 15.0
"""… and how long after that it may still tell of the charge."""
STOP_EFFECT_S = 60.0
"""How soon an accepted stop should have ended its transaction."""
RESTART_EFFECT_S = 300.0
"""How soon an accepted restart should have led to a new boot."""
MESSAGE_EFFECT_S = 60.0
"""How soon a message that was triggered should have come."""
RUN_CHARGERS_MAX = 1_000
"""Chargers of one run …"""
RUN_CHUNK = 100
"""… of which this many are done by one job …"""
RUN_AT_ONCE = 25
"""… and this many are asked at the same time."""
RUNS_OPEN_MAX = 5
"""Runs of one person that may go on at the same time."""
RUN_DAYS = 90
"""How long a run is kept."""
OWN_COMMAND_DAYS = 30
"""How long the commands that Voltyard gave by itself are kept; those of people stay."""
COMPOSITE_DAYS_MAX = 7
"""How far a composite schedule may look ahead."""
LOGINS_PER_MINUTE_MAX = 10
PIN_TRIES_PER_HOUR_MAX = 10
"""Wrong PINs for one serial number, whether it exists or not …"""
PIN_TRIES_OF_USER_PER_HOUR_MAX = 3 * PIN_TRIES_PER_HOUR_MAX
"""… and those of one person, whatever the serial numbers."""
REQUESTS_PER_MINUTE_MAX = 600
BODY_BYTES_MAX = 2 * 1024 * 1024
RECEIVED_BYTES_MAX = 64 * 1024 * 1024
"""A file that a charger may send …"""
RECEIVED_FILES_MAX = 5
"""… and how many of them for one request; the same name again takes the place of the older one."""
RECEIVED_DAYS = 30
"""How long what chargers sent is kept."""
TRANSFER_DAYS = 365
"""How long it is told that a transfer took place."""
FIRMWARE_BYTES_MAX = 256 * 1024 * 1024
FIRMWARE_FILES_OF_TEAM_MAX = 20
FILES_BYTES_MAX = 20 * 1024 * 1024 * 1024
"""All files together that chargers sent and people uploaded."""
FORM_BYTES_MAX = 128 * 1024
"""What may stand beside a file in a form: its fields, and what divides them."""
ADDRESS_HOURS = 24
"""How long the address of a transfer is good for."""
UPLOAD_HOURS_MAX = 2
"""After this long, nobody expects the file any more; it is taken all the same while its address is good."""
RETRIEVE_DAYS_MAX = 30
"""How far ahead new firmware may be asked to be fetched."""
BODY_PAUSE_S = 60.0
"""How long the next piece of a file may be in coming …"""
BODY_S_MAX = 2 * 3600.0
"""… and how long a file may take in all."""
ARRIVING_MAX = 16
"""Files that one process takes in at the same time."""
FILE_REQUESTS_PER_MINUTE_MAX = 6_000
"""Requests of one address for files: many chargers of a house share one, and fetch in small pieces."""
WRONG_ADDRESSES_PER_MINUTE_MAX = 30
FIRMWARE_CHARGERS_MAX = 500
"""Chargers that one request may bring new firmware to."""
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
assert HEARTBEAT_S * 2 < SILENCE_UNPINGED_S
assert HANDSHAKES_PER_ADDRESS_MAX < HANDSHAKES_MAX
assert PAGE_DEFAULT <= PAGE_MAX
assert UPLOAD_HOURS_MAX <= ADDRESS_HOURS < 24 * RECEIVED_DAYS <= 24 * TRANSFER_DAYS
assert FORM_BYTES_MAX < BODY_BYTES_MAX < RECEIVED_BYTES_MAX < FIRMWARE_BYTES_MAX < FILES_BYTES_MAX
assert BODY_PAUSE_S < BODY_S_MAX
# A frame crosses the bus as JSON within JSON, beside what was read from it.
assert 3 * FRAME_BYTES_MAX < BUS_BYTES_MAX
assert BATCH_MS / 1000 < AUTHORISE_BUDGET_S
assert ASK_QUEUE_ORIGIN_MAX < ASK_QUEUE_MAX
assert JOBS_PATIENT_AT_ONCE < JOBS_AT_ONCE
assert RUN_AT_ONCE <= RUN_CHUNK <= RUN_CHARGERS_MAX
