"""Data of one's own: four layouts, their splits, one task to adapt to."""
