"""Chargers: registry, presence, connectors, commands towards them, the log of their calls.

Tables: chargers, pin_tries, presences, connectors, commands, runs, run_items, calls. A charger without a
location is in the inventory, or held: unknown to us, connected, waiting to be claimed. Whoever sees the
location sees its chargers; control and change need the permissions of ``locations.access``. All clean-up of
a presence compares the session id, so that an old socket's end never hides a new one.

Of parameters (tables parameters, parameter_reads) and set-ups (setups) there is one row for each key or
charger; they go with the charger, and what an earlier owner left in them is not shown.

Firmware (firmware_files) belongs to a team and goes when the team deletes it. Of transfers (transfers,
transfer_steps, received_files) housekeeping deletes what chargers sent after a month and the rest after a
year; the bytes of files are stored files, whose rows go after them.
"""
