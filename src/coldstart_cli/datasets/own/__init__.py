"""Your own data: four layouts, their splits, one task to adapt to."""
