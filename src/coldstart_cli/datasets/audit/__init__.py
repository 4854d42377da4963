"""Whether data and tasks leak: whole splits by content, and the tasks of the bank."""
