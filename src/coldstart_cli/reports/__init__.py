"""What a person reads: tables, sentences, plots."""
