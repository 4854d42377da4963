"""Encoders, heads and the network they make. What is trainable is the strategy's matter."""

from coldstart_cli.faces import face

__getattr__, __dir__ = face(
    __name__,
    {
        "language.causal_lm": "CausalLM",
        "pretrained.clip": "CLIP Captions",
        "conv": "Conv4",
        "conv1d": "Conv1d",
        "mlp": "MLP",
        "network": "Encoder Network Predictor",
        "language.prompt": "Prompt",
        "preprocess": "Plain Preprocess",
        "pretrained.features": "Features",
        "pretrained.embedding_bag": "EmbeddingBag",
        "pretrained.text": "FrozenText HFText Tokens",
        "pretrained.vision": "FrozenImage HFImage Pixels",
    },
)
