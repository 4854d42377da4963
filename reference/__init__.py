"""The reference of the documentation site, made of what the program knows of itself.

    python -m reference            writes docs/reference/, which git ignores; `make docs` does it too
    python -m reference FOLDER     writes the pages there

Keys, types, ranges and defaults come from `config.keys`, which `coldstart explain` prints; commands from
their parsers; strategies from their classes, built as the laws build them; Python and files from docstrings;
measured places from the comparisons in docs/reports. A thing without a sentence is refused (`Unsaid`).
`hooks.py` is what mkdocs itself calls.
"""
