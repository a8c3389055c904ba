"""What the sampling of a node costs that node."""
