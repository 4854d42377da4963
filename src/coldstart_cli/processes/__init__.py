"""Several processes, their signals and standard streams. Imports no torch before it must."""
