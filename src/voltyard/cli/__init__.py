"""The command line: serving, first people and tokens, the inventory, the simulator, the demo."""
