"""The invertible residual network of Behrmann et al. (arXiv 1811.00995) in plain PyTorch.

The peer of the Rust network: same architecture, same names in the `state_dict`, same normalisations. It makes the
fixtures that the Rust tests read, and it is what the benchmarks are measured against, so it is written to be fast as
PyTorch goes: activations in place where autograd allows, one convolution shared between the power iteration and its
gradient, weights normalised once for a whole inverse.

A residual block is `y = x + h g(x)`, `g = W3 k(W2 k(W1 k(x) + b1) + b2) + b3`; the first block of the network has no
activation on its input. Convolutions are zero padded to the same size.
"""

from __future__ import annotations

import copy
import math
import tomllib
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

CONFIGS = Path(__file__).parent.parent / "configs"


@dataclass(frozen=True)
class Input:
    """The images and classes that a network is built for."""

    channels: int
    height: int
    width: int
    classes: int = 10


@dataclass(frozen=True)
class Config:
    """An architecture, with the keys and the spelling of the Rust `ModelConfig`."""

    blocks: tuple[int, ...] = (18, 18, 19)
    padding: dict | None = None  # {"factor": 4} or {"extra": 13}
    bottleneck: dict | None = None  # {"ratio": 4} or {"widths": [32, 64, 128]}
    kernels: tuple[int, int, int] = (3, 1, 3)
    activation: str = "relu"  # relu, elu, softplus or lipswish
    norm: dict | None = None  # {"kind": "none"}, {"kind": "batch"} or {"kind": "spectral", "coeff": 0.9}
    dropout: float = 0.1
    step: float = 1.0
    actnorm: bool = False

    def __post_init__(self):
        if self.actnorm:
            raise ValueError("actnorm = true: the peer has no ActNorm")
        object.__setattr__(self, "blocks", tuple(self.blocks))
        object.__setattr__(self, "kernels", tuple(self.kernels))
        object.__setattr__(self, "padding", self.padding or {"factor": 4})
        object.__setattr__(self, "bottleneck", self.bottleneck or {"ratio": 4})
        object.__setattr__(self, "norm", self.norm or {"kind": "none"})
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation {self.activation!r}: expected one of {', '.join(ACTIVATIONS)}")
        if self.norm["kind"] not in ("none", "batch", "spectral"):
            raise ValueError(f"norm {self.norm!r}: expected the kind none, batch or spectral")

    @property
    def coeff(self) -> float | None:
        """The coefficient c of spectral normalisation, if that is the norm."""
        return self.norm["coeff"] if self.norm["kind"] == "spectral" else None

    def padded_channels(self, channels: int) -> int:
        return channels * self.padding["factor"] if "factor" in self.padding else channels + self.padding["extra"]

    def bottleneck_width(self, stage: int, channels: int) -> int:
        if "widths" in self.bottleneck:
            return self.bottleneck["widths"][stage]
        return max(1, channels // self.bottleneck["ratio"])

    def to_json(self) -> dict:
        return asdict(self) | {"blocks": list(self.blocks), "kernels": list(self.kernels)}


def _lipswish(z: Tensor) -> Tensor:
    return F.silu(z) / 1.1


# Out of place (block inputs), and in place where the tensor is ours (outputs of convolutions).
ACTIVATIONS = {
    "relu": (F.relu, F.relu_),
    "elu": (F.elu, F.elu_),
    "softplus": (F.softplus, F.softplus),
    "lipswish": (_lipswish, _lipswish),
}

# What a preset is for, by the end of its name.
INPUTS = {"digits": Input(1, 8, 8), "mnist": Input(1, 28, 28), "cifar10": Input(3, 32, 32)}


def preset(name: str, norm: dict | None = None, blocks: list[int] | None = None) -> Network:
    """The network of `configs/NAME.toml`, with spectral normalisation at c = 0.9 unless told otherwise."""
    model = tomllib.loads((CONFIGS / f"{name}.toml").read_text())["model"]
    model |= {"norm": norm or {"kind": "spectral", "coeff": 0.9}}
    model |= {"blocks": blocks} if blocks else {}
    return Network(Config(**model), INPUTS[name.split("-")[-1]])


def _unit(x: Tensor) -> Tensor:
    return x / x.norm()


class Conv(nn.Module):
    """A convolution with zero 'same' padding; with `coeff` its spectral norm is held at most at that.

    The norm is that of the operator at the layer's true input size. `u` and `v` are its singular vectors, flat;
    for 1x1 kernels, whose operator is the same matrix at every pixel, those of the matrix.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, height: int, width: int, coeff: float | None):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.size = (1, 1) if kernel == 1 else (height, width)
        self.padding = kernel // 2
        self.coeff = coeff
        if coeff is not None:
            positions = self.size[0] * self.size[1]
            self.register_buffer("u", _unit(torch.randn(outputs * positions)))
            self.register_buffer("v", _unit(torch.randn(inputs * positions)))

    def _apply_flat(self, v: Tensor) -> Tensor:
        image = v.view(1, self.weight.shape[1], *self.size)
        return F.conv2d(image, self.weight, padding=self.padding).reshape(-1)

    def _adjoint_flat(self, u: Tensor) -> Tensor:
        image = u.view(1, self.weight.shape[0], *self.size)
        return F.conv_transpose2d(image, self.weight, padding=self.padding).reshape(-1)

    def sigma(self, iterate: bool) -> Tensor:
        """`<u, W v>`, after `v <- W^T u / |W^T u|`, `u <- W v / |W v|` if `iterate`; only W has a gradient."""
        if iterate:
            with torch.no_grad():
                self.v = _unit(self._adjoint_flat(self.u))
        image = self._apply_flat(self.v)
        if iterate:
            self.u = _unit(image.detach())
        return torch.dot(self.u, image)

    def effective_weight(self) -> Tensor:
        """`W c / sigma` where that is smaller than W, else W. In training each call is one power iteration."""
        if self.coeff is None:
            return self.weight
        return self.weight * (self.coeff / self.sigma(iterate=self.training)).clamp(max=1.0)

    def forward(self, x: Tensor, weight: Tensor | None = None) -> Tensor:
        weight = self.effective_weight() if weight is None else weight
        return F.conv2d(x, weight, self.bias, padding=self.padding)


class Block(nn.Module):
    """`x + h g(x)`."""

    def __init__(self, config: Config, channels: int, width: int, image: Input, first: bool):
        super().__init__()
        widths = [channels, width, width, channels]
        for i, kernel in enumerate(config.kernels):
            conv = Conv(widths[i], widths[i + 1], kernel, image.height, image.width, config.coeff)
            setattr(self, f"conv{i + 1}", conv)
            if config.norm["kind"] == "batch" and not (first and i == 0):
                setattr(self, f"norm{i + 1}", nn.BatchNorm2d(widths[i]))
        self.first = first
        self.dropout = config.dropout
        self.step = config.step
        self.activation = ACTIVATIONS[config.activation]

    def _activate(self, i: int, z: Tensor) -> Tensor:
        norm = getattr(self, f"norm{i}", None)
        if norm is not None:
            z = norm(z)
        out_of_place, in_place = self.activation
        return out_of_place(z) if norm is None and i == 1 else in_place(z)

    def effective_weights(self) -> list[Tensor]:
        return [conv.effective_weight() for conv in (self.conv1, self.conv2, self.conv3)]

    def branch(self, x: Tensor, mask: Tensor | None = None, weights: list[Tensor] | None = None) -> Tensor:
        """g(x); `mask` holds dropout multipliers (0 or 1 / (1 - p)), `weights` are used in place of normalised ones."""
        w1, w2, w3 = weights or (None, None, None)
        z = x if self.first else self._activate(1, x)
        z = self._activate(2, self.conv1(z, w1))
        z = self._activate(3, self.conv2(z, w2))
        if mask is not None:
            z = z * mask
        elif self.training and self.dropout > 0:
            z = F.dropout(z, self.dropout)
        return self.conv3(z, w3)

    def forward(self, x: Tensor, mask: Tensor | None = None, weights: list[Tensor] | None = None) -> Tensor:
        return torch.add(x, self.branch(x, mask, weights), alpha=self.step)

    def picard(self, y: Tensor, x: Tensor) -> Tensor:
        """One fixed-point step `y - h g(x)` of the inverse."""
        return torch.sub(y, self.branch(x), alpha=self.step)


class Stage(nn.Module):
    """Residual blocks at one image size."""

    def __init__(self, blocks: list[Block]):
        super().__init__()
        self.blocks = nn.ModuleList(blocks)


class Head(nn.Module):
    """BatchNorm, activation, global average pooling, linear."""

    def __init__(self, channels: int, classes: int, activation: str):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.linear = nn.Linear(channels, classes)
        self.activation = ACTIVATIONS[activation]

    def forward(self, latent: Tensor) -> Tensor:
        return self.linear(self.activation[1](self.norm(latent)).mean(dim=(2, 3)))


class Network(nn.Module):
    """Injective padding, stages with an invertible downsampling between them, head."""

    def __init__(self, config: Config, image: Input):
        super().__init__()
        self.config, self.image = config, image
        self.padded = config.padded_channels(image.channels)
        self.checkpoint_every: int | None = None  # in training, keep only the input of every K-th block of a stage
        channels, size, stages = self.padded, image, []
        for s, count in enumerate(config.blocks):
            if s > 0:
                channels, size = 4 * channels, replace(size, height=size.height // 2, width=size.width // 2)
            width = config.bottleneck_width(s, channels)
            stages.append(Stage([Block(config, channels, width, size, s == 0 and b == 0) for b in range(count)]))
        self.stages = nn.ModuleList(stages)
        self.head = Head(channels, image.classes, config.activation)
        self.initialize()

    def blocks(self) -> list[Block]:
        return [block for stage in self.stages for block in stage.blocks]

    def convs(self) -> dict[str, Conv]:
        return {name: module for name, module in self.named_modules() if isinstance(module, Conv)}

    def initialize(self) -> None:
        """He-normal, the last convolution of each block times 1 / sqrt(blocks); PyTorch's default in the head.

        The Rust network starts otherwise; fixtures and benchmarks carry their own weights.
        """
        damping = 1 / math.sqrt(len(self.blocks()))
        for name, conv in self.convs().items():
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            if name.endswith("conv3"):
                conv.weight.data.mul_(damping)

    def latent(self, images: Tensor, masks: list[Tensor] | None = None) -> Tensor:
        """The trunk: images to latent."""
        x = F.pad(images, (0, 0, 0, 0, 0, self.padded - images.shape[1]))
        masks = iter(masks) if masks is not None else None
        for s, stage in enumerate(self.stages):
            if s > 0:
                x = F.pixel_unshuffle(x, 2)
            if self.checkpoint_every and self.training:
                x = self._checkpointed(list(stage.blocks), x)
                continue
            for block in stage.blocks:
                x = block(x, next(masks) if masks is not None else None)
        return x

    def _checkpointed(self, blocks: list[Block], x: Tensor) -> Tensor:
        # Weights are normalised outside, so that recomputation does not advance the power iteration again.
        def run(x: Tensor, segment: list[tuple[Block, list[Tensor]]]) -> Tensor:
            for block, weights in segment:
                x = block(x, None, weights)
            return x

        pairs = [(block, block.effective_weights()) for block in blocks]
        for start in range(0, len(pairs), self.checkpoint_every):
            segment = pairs[start : start + self.checkpoint_every]
            x = checkpoint(run, x, segment, use_reentrant=False)
        return x

    def forward(self, images: Tensor, masks: list[Tensor] | None = None) -> Tensor:
        return self.head(self.latent(images, masks))

    def baked(self) -> Network:
        """A copy for inference, with the normalised weights in place of the raw ones and no power iteration."""
        other = copy.deepcopy(self).eval().requires_grad_(False)
        for conv in other.convs().values():
            conv.weight.copy_(conv.effective_weight())
            conv.coeff = None
        return other

    def inverse(self, latent: Tensor, iterations: int) -> Tensor:
        """Latent to images by a fixed number of Picard iterations a block, all samples alike.

        Call it on a `baked()` network: otherwise every iteration normalises the weights again.
        """
        return self._inverse(latent, iterations, None)

    def inverse_until(self, latent: Tensor, tolerance: float, max_iterations: int = 100) -> Tensor:
        """As `inverse`, but a block stops when the whole batch moved by less than `tolerance * |x|`."""
        return self._inverse(latent, max_iterations, tolerance)

    @torch.no_grad()
    def _inverse(self, latent: Tensor, iterations: int, tolerance: float | None) -> Tensor:
        y = latent
        for s, stage in reversed(list(enumerate(self.stages))):
            for block in reversed(stage.blocks):
                x = y
                for _ in range(iterations):
                    previous, x = x, block.picard(y, x)
                    if tolerance is not None and (x - previous).norm() <= tolerance * x.norm():
                        break
                y = x
            if s > 0:
                y = F.pixel_shuffle(y, 2)
        return y[:, : self.image.channels]


def sgd(network: Network, lr: float = 0.1, fused: bool = False) -> torch.optim.SGD:
    """The paper's optimiser."""
    return torch.optim.SGD(network.parameters(), lr=lr, momentum=0.9, weight_decay=5e-4, fused=fused)


def normed_l2(images: Tensor, reconstructed: Tensor) -> float:
    """Mean over images of `|x - x^| / |x|`."""
    difference = (images - reconstructed).flatten(1).norm(dim=1)
    return (difference / images.flatten(1).norm(dim=1)).mean().item()
