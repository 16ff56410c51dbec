"""Local lists: the cards that chargers know by heart, for times without us (OCPP 1.6 §3.5).

Tables: local_lists, local_list_cards. Each charger's list follows the cards of its location; nobody
edits it. Those who may view a charger see how its list stands, those who may control it have it sent
anew. Rows of a charger stay as long as the charger.
"""
