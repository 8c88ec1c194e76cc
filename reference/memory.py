"""Peak resident memory and time of a training step at several depths: `iresnet` in each of its modes and PyTorch, plain
and with checkpoints. Writes memory.json, memory.md and memory.svg.

    python memory.py [--blocks 18 55 165 330] [--batch 128] [--binary ../target/release/iresnet] [--who both]
                     [--out memory]

`--who iresnet` or `--who pytorch` measures one side and keeps what the file has of the other.

Widths are those of paper-cifar10, spectral normalisation at c = 0.9; every measurement is a process of its own. The
modes: `plain` keeps all activations, `checkpoint` the input of every block, `checkpoint-sqrt` that of every K-th
block of a stage, K the root of the stage's depth. The allocators: `default` is glibc as it comes, whose heap
fragments here; `mmap` maps every block from 256 KiB on by itself (`MALLOC_MMAP_THRESHOLD_`), which is smaller and
slower. `baseline_rss_bytes` is what the process held before the network; the machine is best idle for the times.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

OURS = ["standard", "checkpoint", "reversible"]
MODES = ["plain", "checkpoint", "checkpoint-sqrt"]
ALLOCATORS = {"default": {}, "mmap": {"MALLOC_MMAP_THRESHOLD_": str(256 * 1024)}}


def split(blocks: int) -> list[int]:
    """Blocks of the three stages: 55 is 18, 18, 19."""
    return [(blocks + stage) // 3 for stage in range(3)]


def peak_rss_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(blocks: int, batch: int, mode: str, threads: int) -> dict:
    """One step in this process, after a small one that makes the momentum buffers."""
    import torch
    from torch.nn import functional as F

    from peer import preset, sgd

    torch.set_num_threads(threads)
    baseline = peak_rss_bytes()
    network = preset("paper-cifar10", blocks=split(blocks)).train()
    network.checkpoint_every = {
        "plain": None,
        "checkpoint": 1,
        "checkpoint-sqrt": round(math.sqrt(blocks / 3)),
    }[mode]
    optimizer = sgd(network, fused=True)
    images, labels = torch.rand(batch, 3, 32, 32) - 0.5, torch.randint(10, (batch,))
    for count in (2, batch):
        start = time.perf_counter()
        optimizer.zero_grad()
        F.cross_entropy(network(images[:count]), labels[:count]).backward()
        optimizer.step()
        seconds = time.perf_counter() - start
    return {
        "blocks": blocks,
        "stages": split(blocks),
        "mode": mode,
        "batch": batch,
        "parameters": sum(p.numel() for p in network.parameters()),
        "seconds_per_step": seconds,
        "baseline_rss_bytes": baseline,
        "peak_rss_bytes": peak_rss_bytes(),
    }


def measure_ours(blocks: int, batch: int, mode: str, threads: int, binary: Path) -> dict:
    """One process of `iresnet bench step`; `checkpoint` keeps every K-th activation, K the root of a stage's depth."""
    stages = split(blocks)
    memory = f"checkpoint={round(math.sqrt(blocks / 3))}" if mode == "checkpoint" else mode
    options = ["--preset", "paper-cifar10", "--blocks", *stages, "--batch", batch, "--threads", threads]
    command = [binary, "bench", "step", *options, "--memory", memory, "--repeat", 2, "--json"]
    child = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True, check=True)
    bench = json.loads(child.stdout)
    return {
        "blocks": blocks,
        "stages": stages,
        "mode": memory,
        "batch": batch,
        "seconds_per_step": bench["best"],
        "peak_rss_bytes": bench["peak_rss_bytes"],
    }


def curves(rows: list[dict]) -> dict[str, dict[int, dict]]:
    """A row for every way to train, by blocks; of PyTorch's allocators the one with the smaller peak."""
    found: dict[str, dict[int, dict]] = {}
    for row in rows:
        mode = row["mode"].split("=")[0]
        name = f"{row['implementation']}, {mode}"
        best = found.setdefault(name, {}).get(row["blocks"])
        if best is None or row["peak_rss_bytes"] < best["peak_rss_bytes"]:
            found[name][row["blocks"]] = row
    return found


def state_bytes(blocks: int) -> int:
    """Weights, momentum, gradients and power-iteration vectors of a network of this depth, float32."""
    stages = [(12, 3, 32), (48, 12, 16), (192, 48, 8)]
    total = 0
    for count, (c, m, side) in zip(split(blocks), stages, strict=True):
        weights = 18 * c * m + m * m + 2 * m + c
        vectors = 2 * (c + m) * side * side + 2 * m
        total += count * (3 * weights + vectors)
    return 4 * total


def table(rows: list[dict], depths: list[int]) -> str:
    """Peaks in MiB, in parentheses seconds a step, a line for every way to train."""
    lines = [
        "Peak resident memory of a training step in MiB (seconds a step), batch 128, paper-cifar10 widths, spectral",
        "normalisation at c = 0.9, by number of blocks. PyTorch's process holds about 485 MiB before the network, ours",
        "10; of its allocators the one with the smaller peak is shown. The last line is the peak of the reversible step",
        "less weights, momentum, gradients and power-iteration vectors. Made by `reference/memory.py`.",
        "",
        "| how | " + " | ".join(str(blocks) for blocks in depths) + " |",
        "| --- |" + " --- |" * len(depths),
    ]
    found = curves(rows)
    for name, by_blocks in found.items():
        cells = []
        for blocks in depths:
            row = by_blocks.get(blocks)
            cells.append(f"{row['peak_rss_bytes'] >> 20} ({row['seconds_per_step']:.2f})" if row else "")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    reversible = found.get("iresnet, reversible", {})
    above = [
        f"{(reversible[b]['peak_rss_bytes'] - state_bytes(b)) >> 20}" if b in reversible else "" for b in depths
    ]
    lines.append("| iresnet, reversible, above the state | " + " | ".join(above) + " |")
    return "\n".join(lines) + "\n"


def plot(rows: list[dict], depths: list[int]) -> str:
    """Peak memory against depth, both logarithmic, as SVG."""
    width, height, left, top = 860, 420, 70, 20
    right, bottom = 560, height - 50
    colours = ["#d55e00", "#0072b2", "#009e73", "#cc79a7", "#966900", "#56b4e9"]
    peaks = [row["peak_rss_bytes"] / 2**20 for row in rows]
    low, high = min(peaks) * 0.8, max(peaks) * 1.2

    def x(blocks: int) -> float:
        span = math.log(depths[-1] / depths[0]) or 1.0
        return left + (right - left) * math.log(blocks / depths[0]) / span

    def y(mebibytes: float) -> float:
        return bottom - (bottom - top) * math.log(mebibytes / low) / math.log(high / low)

    opening = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif"'
    parts = [
        f'{opening} font-size="14" role="img"><title>Peak memory of a training step against depth</title>',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<path d="M{left} {top}V{bottom}H{right}" fill="none" stroke="black"/>',
        f'<text x="{(left + right) / 2}" y="{height - 10}" text-anchor="middle">residual blocks</text>',
        f'<text transform="translate(16 {(top + bottom) / 2}) rotate(-90)" text-anchor="middle">peak memory, MiB</text>',
    ]
    for blocks in depths:
        parts.append(f'<text x="{x(blocks):.1f}" y="{bottom + 18}" text-anchor="middle">{blocks}</text>')
    for tick in [100, 200, 500, 1000, 2000, 5000, 10000]:
        if low <= tick <= high:
            parts.append(f'<path d="M{left} {y(tick):.1f}H{right}" stroke="#ddd"/>')
            parts.append(f'<text x="{left - 6}" y="{y(tick) + 5:.1f}" text-anchor="end">{tick}</text>')
    for i, (name, by_blocks) in enumerate(curves(rows).items()):
        points = [(x(b), y(row["peak_rss_bytes"] / 2**20)) for b, row in sorted(by_blocks.items())]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
        colour, dash = colours[i % len(colours)], ' stroke-dasharray="6 4"' if name.startswith("PyTorch") else ""
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        parts.extend(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="4" fill="{colour}"/>' for px, py in points)
        line = top + 20 + 24 * i
        parts.append(f'<path d="M{right + 16} {line - 5}h28" stroke="{colour}" stroke-width="2"{dash}/>')
        parts.append(f'<text x="{right + 52}" y="{line}">{name}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def measure_peer(args: argparse.Namespace, blocks: int, mode: str, allocator: str) -> dict:
    """A process of this script for the peer."""
    options = ["--blocks", blocks, "--modes", mode, "--batch", args.batch, "--threads", args.threads]
    command = [sys.executable, __file__, "--child", *map(str, options)]
    environment = os.environ | ALLOCATORS[allocator]
    child = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(child.stdout) | {"allocator": allocator}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, nargs="+", default=[18, 55, 165, 330])
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES)
    parser.add_argument("--allocators", nargs="+", choices=ALLOCATORS, default=list(ALLOCATORS))
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--who", choices=["both", "iresnet", "pytorch"], default="both")
    parser.add_argument("--binary", type=Path, default=Path(__file__).parent.parent / "target/release/iresnet")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "memory")
    parser.add_argument("--child", action="store_true", help="measure PyTorch here, print one JSON object")
    args = parser.parse_args()
    if args.child:
        print(json.dumps(measure(args.blocks[0], args.batch, args.modes[0], args.threads)))
        return
    file = args.out.with_suffix(".json")
    kept = {"iresnet": "PyTorch", "pytorch": "iresnet"}.get(args.who)
    rows = [row for row in json.loads(file.read_text()) if row["implementation"] == kept] if kept else []

    def record(implementation: str, row: dict) -> None:
        rows.append({"implementation": implementation} | row)
        print(rows[-1], file=sys.stderr)
        rows.sort(key=lambda row: row["implementation"] == "PyTorch")
        file.write_text(json.dumps(rows, indent=2) + "\n")

    if args.who != "pytorch":
        for blocks, mode in itertools.product(args.blocks, OURS):
            record("iresnet", measure_ours(blocks, args.batch, mode, args.threads, args.binary))
    if args.who != "iresnet":
        for blocks, mode, allocator in itertools.product(args.blocks, args.modes, args.allocators):
            record("PyTorch", measure_peer(args, blocks, mode, allocator))
    args.out.with_suffix(".md").write_text(table(rows, args.blocks))
    args.out.with_suffix(".svg").write_text(plot(rows, args.blocks))


if __name__ == "__main__":
    main()
