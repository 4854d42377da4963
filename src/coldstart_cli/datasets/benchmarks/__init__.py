"""Published and generated data sets, one file each."""
