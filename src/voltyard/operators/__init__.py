"""Back offices of others: who they are, what they may do, how far each has been told.

A *link* ties one operator to one charger. What the charger said is in the log of calls; a link is fed from
it by a cursor, so nothing is lost while its operator is away. Tables: ``links``, ``link_keys``,
``link_profiles``, ``link_numbers`` (our transaction numbers and theirs), ``link_verdicts`` (cards that a
Billing operator accepted), ``deliveries`` (what each operator was sent and asked, forgotten as the log is),
``link_history`` (who did what). Seeing links takes access to sensitive data of the charger's location,
changing them full access. A link belongs to the location where it was made: when the charger moves, it ends.
"""
