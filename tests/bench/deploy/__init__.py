"""How long a deploy takes beside what its graph allows, and beside Compose itself."""
