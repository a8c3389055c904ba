"""What the tests need beyond Python packages, and how to get it."""
