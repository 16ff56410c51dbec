"""The gateway holds chargers' sockets: it speaks OCPP, knows no tables and decides nothing.

``handshake`` lets sockets in, ``exchange`` owns one charger's socket, ``server`` holds them all.
"""
