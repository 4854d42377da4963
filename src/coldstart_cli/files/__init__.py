"""Files that a crash cannot tear, the cache folder, files that a stranger may have written."""
