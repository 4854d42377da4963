"""What labels that were held out tell: folds, temperature, the threshold that keeps a precision."""
