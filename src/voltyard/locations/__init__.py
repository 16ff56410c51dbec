"""Where charging happens: locations, and which team may do what there, until when.

Tables: locations, memberships. A team's membership has a level (basic, sensitive, full), may own
the location, and may end at a time; nothing expires by a timer, every rule compares times.
``visible`` is the one sub-select by which every list of every room is scoped.
"""
