"""Writes `fixtures/NAME.safetensors` and `fixtures/NAME.json`: what a tiny network does in one training step.

Everything is computed in float64 from values that float32 holds exactly, and stored as float32, except the losses
and the spectral estimates, which stay float64. The JSON says which network (`model`, `input`, in the words of a run's
configuration), the optimiser's settings and `kink_margin`: the smallest |value| that any ReLU or ELU saw in the step,
far above what float32 can move, so that no gradient depends on the rounding.

Tensors, with the names of the network's `state_dict` for KEY:

    images, labels            the batch (labels int64)
    initial.KEY               weights, running statistics and power-iteration vectors before anything else
    power.K.CONV.{u,v,sigma}  after K = 1 and 5 power iterations from the initial vectors (spectral only)
    mask.N                    dropout multipliers of block N on the input of its last convolution (if dropout > 0)
    latent.eval, logits.eval  evaluation with the initial running statistics and the vectors power.1
    logits.train, loss        the training step's forward: one power iteration, batch statistics, masks
    gradient.KEY              of the loss with respect to every parameter; gradient.images to the images
    after.KEY                 everything of `initial` after the step of SGD (momentum buffer new) that follows
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from peer import ACTIVATIONS, Config, Input, Network, sgd

OUT = Path(__file__).parent / "fixtures"
LEARNING_RATE = 0.1
MARGIN = 2e-5

NONE, BATCH, SPECTRAL = {"kind": "none"}, {"kind": "batch"}, {"kind": "spectral", "coeff": 0.9}
GREY, COLOUR, ODD = Input(1, 8, 8, 10), Input(3, 12, 12, 4), Input(2, 7, 5, 3)


def _narrow(*widths: int) -> dict:
    return {"padding": {"extra": 2}, "bottleneck": {"widths": list(widths)}, "dropout": 0.0}


# name -> (architecture, input, batch size)
FIXTURES = {
    "none_relu": (Config(blocks=(2, 1), dropout=0.0, norm=NONE), GREY, 5),
    "none_softplus": (Config(blocks=(1, 1), activation="softplus", norm=NONE, **_narrow(2, 5)), COLOUR, 6),
    "batch_relu": (Config(blocks=(1, 2), dropout=0.0, norm=BATCH), GREY, 20),
    "batch_lipswish": (
        Config(blocks=(2, 1), activation="lipswish", norm=BATCH, step=0.5, **_narrow(3, 4)),
        COLOUR,
        7,
    ),
    "spectral_relu": (Config(blocks=(1, 1, 1), norm=SPECTRAL, **_narrow(2, 3, 4)), COLOUR, 5),
    "spectral_elu_dropout": (
        Config(blocks=(2, 1), activation="elu", dropout=0.1, norm={"kind": "spectral", "coeff": 0.5}),
        GREY,
        6,
    ),
    "spectral_lipswish_odd": (
        Config(blocks=(2,), kernels=(3, 5, 1), activation="lipswish", norm=SPECTRAL, **_narrow(3)),
        ODD,
        17,
    ),
}


def _float32(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float().double()


@torch.no_grad()
def _randomize(network: Network) -> None:
    """Values away from the special ones of an initialisation; float64, exact in float32.

    Every third convolution is small, so that spectral normalisation leaves it as it is.
    """
    for conv in list(network.convs().values())[1::3]:
        conv.weight.mul_(0.25)
    for name, value in network.state_dict().items():
        if name.endswith(("bias", "running_mean")):
            value.normal_(std=0.3)
        elif "norm" in name and name.endswith(("weight", "running_var")):
            value.uniform_(0.5, 1.5)
        if value.is_floating_point():
            value.copy_(_float32(value))


def _watch_kinks(network: Network) -> list[float]:
    """Makes the activations of `network` note the smallest |input| they see."""
    seen: list[float] = []

    def watched(function):
        def call(z):
            seen.append(z.detach().abs().min().item())
            return function(z)

        return call

    pair = tuple(watched(function) for function in ACTIVATIONS[network.config.activation])
    for module in [*network.blocks(), network.head]:
        module.activation = pair
    return seen


def _masks(network: Network, batch: int) -> list[torch.Tensor] | None:
    p = network.config.dropout
    if p == 0:
        return None
    masks = []
    for block in network.blocks():
        shape = (batch, block.conv2.weight.shape[0], *_image_size(network, block))
        masks.append(_float32((torch.rand(shape) >= p).double() / (1 - p)))
    return masks


def _image_size(network: Network, block: torch.nn.Module) -> tuple[int, int]:
    stage = next(s for s, stage in enumerate(network.stages) if block in list(stage.blocks))
    return network.image.height >> stage, network.image.width >> stage


def _power(network: Network, iterations: int) -> dict[str, torch.Tensor]:
    """Vectors and estimates after `iterations`; leaves the network there."""
    out = {}
    for name, conv in network.convs().items():
        for _ in range(iterations):
            sigma = conv.sigma(iterate=True)
        out[f"{name}.sigma"] = sigma.detach().reshape(1)
        out[f"{name}.u"], out[f"{name}.v"] = conv.u.clone(), conv.v.clone()
    return out


def _state(network: Network) -> dict[str, torch.Tensor]:
    return {key: value.detach().clone() for key, value in network.state_dict().items()}


def _compute(config: Config, image: Input, batch: int, seed: int) -> tuple[dict[str, torch.Tensor], float]:
    torch.manual_seed(seed)
    network = Network(config, image).double()
    _randomize(network)
    images = _float32(torch.rand(batch, image.channels, image.height, image.width) - 0.5).requires_grad_()
    labels = torch.randint(image.classes, (batch,))
    masks = _masks(network, batch)
    initial = _state(network)
    tensors = {"images": images.detach(), "labels": labels}
    tensors |= {f"initial.{key}": value for key, value in initial.items()}
    tensors |= {f"mask.{n}": mask for n, mask in enumerate(masks or [])}

    if config.coeff is not None:
        tensors |= {f"power.5.{key}": value for key, value in _power(network, 5).items()}
        network.load_state_dict(initial)
        tensors |= {f"power.1.{key}": value for key, value in _power(network, 1).items()}
    seen = _watch_kinks(network)
    with torch.no_grad():
        network.eval()
        tensors["latent.eval"] = network.latent(images)
        tensors["logits.eval"] = network.head(tensors["latent.eval"])

    network.load_state_dict(initial)
    network.train()
    optimizer = sgd(network, LEARNING_RATE)
    logits = network(images, masks)
    loss = F.cross_entropy(logits, labels)
    loss.backward()
    tensors |= {"logits.train": logits.detach(), "loss": loss.detach().reshape(1)}
    tensors |= {f"gradient.{key}": value.grad for key, value in network.named_parameters()}
    tensors["gradient.images"] = images.grad
    optimizer.step()
    tensors |= {f"after.{key}": value for key, value in _state(network).items()}

    smooth = config.activation in ("softplus", "lipswish")
    return tensors, float("inf") if smooth else min(seen)


def _stored(name: str, tensor: torch.Tensor) -> torch.Tensor:
    exact = name == "loss" or name.endswith(".sigma") or tensor.dtype == torch.int64
    return (tensor if exact else tensor.float()).contiguous()


def main() -> None:
    torch.set_num_threads(1)
    OUT.mkdir(exist_ok=True)
    total = 0
    for name, (config, image, batch) in FIXTURES.items():
        for seed in range(1000):
            tensors, margin = _compute(config, image, batch, seed)
            if margin > MARGIN:
                break
        path = OUT / f"{name}.safetensors"
        save_file({key: _stored(key, value) for key, value in tensors.items()}, path)
        description = {
            "input": vars(image),
            "model": config.to_json(),
            "batch": batch,
            "optimizer": {"learning_rate": LEARNING_RATE, "momentum": 0.9, "weight_decay": 5e-4},
            "kink_margin": None if margin == float("inf") else margin,
            "seed": seed,
            "torch": torch.__version__,
        }
        path.with_suffix(".json").write_text(json.dumps(description, indent=2) + "\n")
        total += path.stat().st_size
        print(f"{name}: seed {seed}, margin {margin:.1e}, {path.stat().st_size} bytes")
    print(f"{total} bytes in all")


if __name__ == "__main__":
    main()
