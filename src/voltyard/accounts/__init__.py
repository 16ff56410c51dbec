"""Who people are: users, their teams, sessions in a browser, and API tokens.

Tables: users, teams, teammates, sessions, tokens, idempotency_keys. Every user has a personal team; access to
locations is given to teams, never to users. Passwords are hashed with argon2, and never inside a
Work; sessions and tokens are 160 random bits, kept as keyed fast hashes.
"""
