"""Back offices of others: the directory, links, cursors, virtual keys."""
