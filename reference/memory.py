"""Peak resident memory and time of a PyTorch training step at several depths, plain and with checkpoints.

    python memory.py [--blocks 18 55 165 330] [--batch 128] [--out memory.json]

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, nargs="+", default=[18, 55, 165, 330])
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES)
    parser.add_argument("--allocators", nargs="+", choices=ALLOCATORS, default=list(ALLOCATORS))
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "memory.json")
    parser.add_argument("--child", action="store_true", help="measure here, print one JSON object")
    args = parser.parse_args()
    if args.child:
        print(json.dumps(measure(args.blocks[0], args.batch, args.modes[0], args.threads)))
        return
    rows = []
    for blocks, mode, allocator in itertools.product(args.blocks, args.modes, args.allocators):
        options = ["--blocks", blocks, "--modes", mode, "--batch", args.batch, "--threads", args.threads]
        command = [sys.executable, __file__, "--child", *map(str, options)]
        environment = os.environ | ALLOCATORS[allocator]
        child = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
        row = json.loads(child.stdout) if child.returncode == 0 else {"blocks": blocks, "mode": mode, "failed": True}
        rows.append(row | {"allocator": allocator})
        print(rows[-1], file=sys.stderr)
        args.out.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
