"""Encoders, heads and the network they make. What is trainable is the strategy's matter."""

from coldstart_cli.faces import face

__getattr__, __dir__ = face(
    __name__,
    {
        "causal_lm": "CausalLM",
        "clip": "CLIP Captions",
        "conv": "Conv4",
        "mlp": "MLP",
        "network": "Encoder Network Predictor",
        "prompt": "Prompt",
        "preprocess": "Plain Preprocess",
        "pretrained": "Features",
        "text": "EmbeddingBag FrozenText HFText Tokens",
        "vision": "FrozenImage HFImage Pixels",
    },
)
