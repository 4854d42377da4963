"""The folder of a bundle: its card, its versions, what it keeps of the rows; written whole or not at all."""
