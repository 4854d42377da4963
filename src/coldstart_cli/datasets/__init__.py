"""Task sources: what tasks are drawn from."""
