"""Charging transactions: their start, readings and end, exactly once each.

Tables: transactions, samples, orphan_stops. The number that a charger gets is the table's own key
and is never given again. A start is recorded even when its card was refused: energy that flowed is
energy. A stop that names no transaction of its charger is kept, and resolved or shown as an orphan.
Those who may see the sensitive data of a location see its transactions.
"""
