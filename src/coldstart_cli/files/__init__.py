"""Files that a crash cannot tear, places that a user names, the cache folder, files of a stranger."""
