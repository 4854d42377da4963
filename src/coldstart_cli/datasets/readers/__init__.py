"""Files to arrays: images, tables, archives, downloads, and the cache of what was decoded."""
