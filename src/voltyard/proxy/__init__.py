"""The charger that an operator believes to talk to. Pure."""
