"""What the reports, comparisons and gates share: runs on disk, requests as columns, and how sure a figure is."""
