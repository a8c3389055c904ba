"""How fast nodes are reached over SSH, beside others on the same machine at the same time."""
