"""What every part stands on: errors, ids, units, clock, database, bus, jobs, settings."""
