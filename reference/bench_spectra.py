"""Times `iresnet`'s spectra and certified norms beside NumPy's FFT and SVD, in turn on the same layers.

    python reference/bench_spectra.py --binary target/release/iresnet [--preset icml-cifar10] [--rounds 5] [--markdown FILE]

Every round times one call of each: all singular values of all convolutions (`bench spectrum`), their certified norms alone
(`bench norms`), and NumPy's `fft2` of every kernel with one batched SVD without vectors, on as many threads as wanted.
NumPy takes one layer of each shape and multiplies, ours all layers. Random weights: the work hardly depends on them.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import time
import tomllib

import numpy as np

from spectra_numpy import circular


def shapes(preset):
    """`(out, in, kernel, side)` of the three convolutions of each stage, and the number of blocks."""
    path = pathlib.Path(__file__).parent.parent / "configs" / f"{preset}.toml"
    model = tomllib.loads(path.read_text())["model"]
    mnist = preset.endswith("mnist")
    channels, side = (1, 28) if mnist else (3, 32)
    padding = model["padding"]
    channels = channels * padding["factor"] if "factor" in padding else channels + padding["extra"]
    for stage, blocks in enumerate(model["blocks"]):
        if stage:
            channels, side = 4 * channels, side // 2
        bottleneck = model["bottleneck"]
        middle = channels // bottleneck["ratio"] if "ratio" in bottleneck else bottleneck["widths"][stage]
        widths = [channels, middle, middle, channels]
        for i, kernel in enumerate(model["kernels"]):
            yield blocks, (widths[i + 1], widths[i], kernel, side)


def numpy_seconds(layers):
    total = 0.0
    for times, kernel, side in layers:
        begun = time.perf_counter()
        circular(kernel, side, side)
        total += times * (time.perf_counter() - begun)
    return total


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default="target/release/iresnet")
    parser.add_argument("--preset", default="icml-cifar10")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--markdown", help="write the table to this file too")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    layers = []
    for blocks, (out, into, kernel, side) in shapes(args.preset):
        # A 1x1 kernel is the same matrix at every frequency.
        layers.append((blocks, rng.standard_normal((out, into, kernel, kernel)), side if kernel > 1 else 1))

    def ours(kind, *options):
        command = [args.binary, "bench", kind, "--preset", args.preset, "--repeat", "1", "--json", *options]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["best"]

    runs = {
        "NumPy, all singular values": lambda: numpy_seconds(layers),
        "all singular values": lambda: ours("spectrum"),
        "certified norms": lambda: ours("norms"),
        "certified norm, 512x512 3x3 at 32x32": lambda: ours("norm", "--channels", "512", "--size", "32", "32"),
    }
    seconds = {name: [] for name in runs}
    for _ in range(args.rounds):
        for name, run in runs.items():
            seconds[name].append(run())
    base = seconds["NumPy, all singular values"]
    lines = [f"| {args.preset}, {args.rounds} rounds | best s | median s | NumPy / ours, best (median) |", "| --- | --- | --- | --- |"]
    for name, values in seconds.items():
        best, median = min(values), statistics.median(values)
        ratio = f"{min(base) / best:.1f} ({statistics.median(base) / median:.1f})" if "singular values" in name or name.endswith("norms") else ""
        lines.append(f"| {name} | {best:.3f} | {median:.3f} | {ratio} |")
    print("\n".join(lines))
    if args.markdown:
        pathlib.Path(args.markdown).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
