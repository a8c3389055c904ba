"""Ways of breaking an engine on purpose while a load runs: its services, the network between them, a disk."""
