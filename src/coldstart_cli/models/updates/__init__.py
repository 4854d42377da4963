"""Small changes of large networks: low-rank updates, scales, and the folders that peft reads."""
