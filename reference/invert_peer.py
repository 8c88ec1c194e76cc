"""PyTorch's inverse of a trained run: the fewest Picard iterations that reach an accuracy, and how long they take beside
ours.

    python invert_peer.py RUN [--images FOLDER] [--count 100] [--target 1e-6] [--repeat 5] [--threads 2]
                          [--iterations K] [--binary ../target/release/iresnet]

RUN is a run folder (`config.json`, `last.safetensors`). The images are the first of MNIST's test set in
`IRESNET_DATA`, or those of FOLDER (PNG or JPEG, searched recursively, taken at even distances), normalised as the run
says. Every block gets the same number of iterations, the smallest for which the normed L2 (mean of `|x - x^| / |x|`)
is at most the target; the faster of PyTorch's memory layouts counts. Beside it: the batch-wide stopping rule
`|x_k+1 - x_k| <= tolerance |x_k+1|` at the loosest tolerance that reaches the target (left out, and nothing searched,
where `--iterations` says how many Picard iterations are the fewest). Ours is `iresnet bench inverse --run RUN` at the
loosest tolerance that reaches it, a process between the rounds of PyTorch. One JSON object on standard output.
"""

from __future__ import annotations

import argparse
import copy
import gzip
import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from safetensors.torch import load_file

from peer import Config, Input, Network, normed_l2

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
TOLERANCES = [10.0**-exponent for exponent in range(2, 9)]


def load_run(run: Path) -> tuple[Network, dict]:
    """The network of a run with its normalised weights, and the run's configuration."""
    config = json.loads((run / "config.json").read_text())
    network = Network(Config(**config["model"]), Input(**config["input"]))
    network.load_state_dict(load_file(run / "last.safetensors"))
    return network.eval().baked(), config


def mnist_pixels(count: int) -> np.ndarray:
    folder = Path(os.environ.get("IRESNET_DATA", "."))
    name = "t10k-images-idx3-ubyte.gz"
    path = next((path for path in (folder / name, folder / "mnist" / name) if path.exists()), None)
    if path is None:
        raise SystemExit(f"{name} is neither in {folder} nor in {folder / 'mnist'}: set IRESNET_DATA, or give --images")
    with gzip.open(path) as file:
        return np.frombuffer(file.read(16 + count * 784), np.uint8, offset=16).reshape(count, 1, 28, 28)


def folder_pixels(folder: Path, count: int, channels: int) -> np.ndarray:
    from PIL import Image

    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".png", ".jpg", ".jpeg"))
    if len(paths) < count:
        raise SystemExit(f"{folder} holds {len(paths)} images, and --count asks for {count}")
    chosen = [paths[i * len(paths) // count] for i in range(count)]
    mode = "L" if channels == 1 else "RGB"
    pixels = np.stack([np.asarray(Image.open(path).convert(mode)) for path in chosen])
    return pixels[:, None] if channels == 1 else pixels.transpose(0, 3, 1, 2)


def normalize(pixels: np.ndarray, normalization: dict) -> torch.Tensor:
    """`scale * pixel + shift`, channel by channel."""
    scale, shift = (np.array(normalization[key], np.float32).reshape(1, -1, 1, 1) for key in ("scale", "shift"))
    return torch.from_numpy(pixels.astype(np.float32) * scale + shift)


def fewest_iterations(error: Callable[[int], float], target: float, limit: int = 200) -> int | None:
    """Smallest count with `error(count) <= target`, assuming that more iterations do not hurt."""
    high = 1
    while error(high) > target:
        high *= 2
        if high > limit:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if error(middle) <= target else (middle, high)
    return high


def bench_ours(args: argparse.Namespace, tolerance: float, repeat: int) -> dict:
    """`iresnet bench inverse` on the run's test images."""
    options = ["--run", args.run, "--batch", args.count, "--tolerance", tolerance, "--iterations", 200]
    command = [args.binary, "bench", "inverse", *options, "--repeat", repeat, "--threads", args.threads, "--json"]
    result = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(result.stdout)


def time_layouts(
    network: Network, latent: torch.Tensor, invert: Callable, repeat: int, between: Callable = lambda: None
) -> dict:
    """Best and median seconds a call in each layout, their rounds alternating, `between` called after each."""
    ready = {
        name: (copy.deepcopy(network).to(memory_format=form), latent.contiguous(memory_format=form))
        for name, form in LAYOUTS.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in ready}
    for round_ in range(repeat + 1):
        for name, (model, z) in ready.items():
            start = time.perf_counter()
            invert(model, z)
            if round_ > 0:
                seconds[name].append(time.perf_counter() - start)
        between()
    return {name: {"best": min(s), "median": median(s)} for name, s in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--target", type=float, default=1e-6)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--iterations", type=int, help="the fewest, where they are known")
    parser.add_argument("--binary", type=Path, default=Path(__file__).parent.parent / "target/release/iresnet")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    network, config = load_run(args.run)
    if args.images:
        pixels = folder_pixels(args.images, args.count, config["input"]["channels"])
    else:
        pixels = mnist_pixels(args.count)
    images = normalize(pixels, config["normalization"])
    with torch.no_grad():
        latent = network.latent(images)

    errors: dict[int, float] = {}

    def error(iterations: int) -> float:
        errors[iterations] = normed_l2(images, network.inverse(latent, iterations))
        return errors[iterations]

    report: dict = {"run": str(args.run), "images": args.count, "target": args.target, "threads": args.threads}
    report["torch"] = torch.__version__
    if args.iterations:
        error(args.iterations)
    iterations = args.iterations or fewest_iterations(error, args.target)
    report["errors_by_iterations"] = dict(sorted(errors.items()))
    tolerances = (10.0 ** (-exponent / 2) for exponent in range(8, 17))
    ours = next(t for t in tolerances if bench_ours(args, t, 1)["normed_l2"] <= args.target)
    rounds: list[dict] = []
    if iterations is not None:
        times = time_layouts(
            network,
            latent,
            lambda model, z: model.inverse(z, iterations),
            args.repeat,
            lambda: rounds.append(bench_ours(args, ours, 3)),
        )
        report["fixed"] = {"iterations": iterations, "normed_l2": errors[iterations], "seconds": times}
        best = min(row["best"] for row in rounds)
        middle = median(row["median"] for row in rounds)
        report["ours"] = {
            "tolerance": ours,
            "normed_l2": rounds[0]["normed_l2"],
            "mean_iterations": rounds[0]["mean_iterations"],
            "seconds": {"best": best, "median": middle},
        }
        report["ratio"] = {
            "best": min(t["best"] for t in times.values()) / best,
            "median": min(t["median"] for t in times.values()) / middle,
        }
    if args.iterations:
        print(json.dumps(report, indent=2))
        return
    reached = {t: normed_l2(images, network.inverse_until(latent, t, 200)) for t in TOLERANCES}
    tolerance = next((t for t in TOLERANCES if reached[t] <= args.target), None)
    if tolerance is not None:
        times = time_layouts(network, latent, lambda model, z: model.inverse_until(z, tolerance, 200), args.repeat)
        report["batch_wide"] = {"tolerance": tolerance, "normed_l2": reached[tolerance], "seconds": times}
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
