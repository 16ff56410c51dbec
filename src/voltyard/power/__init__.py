"""Who may draw how much: groups, meters, the allocator and its control."""
