"""Task sources: what tasks are drawn from."""

from coldstart_cli.faces import face

__getattr__, __dir__ = face(
    __name__,
    {
        "benchmarks.banking77": "banking77",
        "benchmarks.clinc150": "clinc150",
        "benchmarks.digits": "Digits",
        "benchmarks.glyph_rules": "GlyphRules",
        "benchmarks.glyph_shift": "glyph_shift",
        "benchmarks.glyph_styles": "glyph_styles",
        "benchmarks.glyphs": "glyphs",
        "benchmarks.omniglot": "omniglot",
        "benchmarks.sentences": "sentences",
        "benchmarks.sensors": "sensors",
        "benchmarks.synthetic": "Sinusoid",
        "own.arrays": "arrays",
        "own.image_folder": "image_folder",
        "own.tabular": "tabular",
        "own.text": "text",
    },
)
