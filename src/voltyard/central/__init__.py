"""The central system's desk: hears what chargers say, decides, stores, and only then replies.

It knows no OCPP version and holds no sockets; any process may serve any saying. Everything that is
heard goes through group commit: the sayings of many chargers share one Work, and each reply waits
for the commit.
"""
