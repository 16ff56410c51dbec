"""``python -m voltyard`` is the command ``voltyard``."""

from voltyard.cli.main import main

main()
