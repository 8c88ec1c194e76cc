"""The `iresnet` binary against the PyTorch peer, interleaved; writes bench.md and bench.json.

    python bench.py [--presets paper-cifar10 paper-mnist icml-cifar10] [--kinds forward step inverse block]
                    [--rounds 5] [--threads 2] [--compile] [--binary ../target/release/iresnet] [--out bench]

Both sides run the same network (spectral normalisation, c = 0.9) on the same batch with the same number of threads.
A round is one process of `iresnet bench`, then the peer in each memory layout (contiguous, channels_last; with
--compile, forward, step and block also under torch.compile), so that a slow phase of the machine hits all of them.
The ratio uses the peer's better variant: `best` compares the fastest calls of all rounds, `median` the medians of all
calls (ours: the median over rounds of each process's median). GF/s counts the multiplications and additions of direct
convolution, three times the forward ones for a training step, and so may exceed the peak where Winograd saves some.

Forward and inverse run on normalised weights that are computed once; a step is one power iteration of every layer,
forward, cross entropy, backward, SGD update.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from torch.nn import functional as F

from peer import Block, Config, Input, Network, preset, sgd

HERE = Path(__file__).parent
PRESETS = ["paper-cifar10", "paper-mnist", "icml-cifar10"]
KINDS = ["forward", "step", "inverse", "block"]
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
ITERATIONS = 20
# Channels, bottleneck, height and width of single blocks: the presets' stages and the widest common sizes.
BLOCKS = [
    (12, 3, 32, 32),
    (48, 12, 16, 16),
    (192, 48, 8, 8),
    (4, 1, 28, 28),
    (16, 4, 14, 14),
    (64, 16, 7, 7),
    (16, 32, 32, 32),
    (64, 64, 16, 16),
    (256, 128, 8, 8),
]


@dataclass
class Case:
    """One row of the table."""

    name: str
    kind: str
    batch: int
    flops: float
    options: list  # of `iresnet bench`
    make: Callable[[str, bool], Callable[[], None]]  # layout, compile -> one call of the peer


def conv_flops(network: Network | Block, image: Input) -> float:
    """Floating point operations of the convolutions for one image."""
    blocks = [[network]] if isinstance(network, Block) else [list(stage.blocks) for stage in network.stages]
    return sum(
        2.0 * conv.weight.numel() * (image.height >> stage) * (image.width >> stage)
        for stage, members in enumerate(blocks)
        for block in members
        for conv in (block.conv1, block.conv2, block.conv3)
    )


def network_case(kind: str, name: str, batch: int) -> Case:
    network = preset(name)
    image = network.image
    flops = conv_flops(network, image) * batch * {"forward": 1, "step": 3, "inverse": ITERATIONS}[kind]
    options = ["--preset", name, "--batch", batch, *(["--iterations", ITERATIONS] if kind == "inverse" else [])]

    def make(layout: str, compiled: bool) -> Callable[[], None]:
        torch.manual_seed(0)
        form = LAYOUTS[layout]
        images = torch.rand(batch, image.channels, image.height, image.width) - 0.5
        images = images.contiguous(memory_format=form)
        labels = torch.randint(image.classes, (batch,))
        model = copy.deepcopy(network) if kind == "step" else network.baked()
        model = model.to(memory_format=form)
        forward = torch.compile(model) if compiled else model
        if kind == "step":
            optimizer = sgd(model.train(), fused=True)

            def call():
                optimizer.zero_grad()
                F.cross_entropy(forward(images), labels).backward()
                optimizer.step()

        elif kind == "forward":

            @torch.no_grad()
            def call():
                forward(images)

        else:
            with torch.no_grad():
                latent = model.latent(images)

            def call():
                model.inverse(latent, ITERATIONS)

        return call

    return Case(name, kind, batch, flops, options, make)


def block_case(channels: int, width: int, height: int, breadth: int, batch: int) -> Case:
    image = Input(channels, height, breadth)
    block = Block(Config(dropout=0.0), channels, width, image, first=False).eval().requires_grad_(False)
    options = ["--channels", channels, "--bottleneck", width, "--size", height, breadth, "--batch", batch]

    def make(layout: str, compiled: bool) -> Callable[[], None]:
        form = LAYOUTS[layout]
        x = torch.randn(batch, channels, height, breadth).contiguous(memory_format=form)
        model = copy.deepcopy(block).to(memory_format=form)
        forward = torch.compile(model) if compiled else model

        @torch.no_grad()
        def call():
            forward(x)

        return call

    name = f"{channels}/{width} at {height}x{breadth}"
    return Case(name, "block", batch, conv_flops(block, image) * batch, options, make)


def run_ours(binary: Path, case: Case, threads: int, repeat: int) -> dict:
    """One process of `iresnet bench`."""
    options = [*case.options, "--threads", threads, "--repeat", repeat, "--json"]
    command = [str(binary), "bench", case.kind, *map(str, options)]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if result.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {result.returncode}")
    return json.loads(result.stdout)


def time_calls(call: Callable[[], None], budget: float, least: int = 1) -> list[float]:
    """Seconds of each call, as many as fit the budget."""
    seconds: list[float] = []
    while len(seconds) < least or sum(seconds) + min(seconds) < budget:
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return seconds


def prepare_peer(case: Case, compiled: bool) -> dict[str, Callable[[], None]]:
    """Warm calls of the peer, a variant each; those that torch.compile cannot make are left out."""
    torch.compiler.reset()
    calls = {}
    for layout in LAYOUTS:
        for variant in [False, True] if compiled else [False]:
            name = f"{layout}, compiled" if variant else layout
            try:
                call = case.make(layout, variant)
                call()
                calls[name] = call
            except Exception as error:
                if not variant:
                    raise
                print(f"{case.kind} {case.name}, {name}: skipped ({type(error).__name__})", file=sys.stderr)
    return calls


def run_case(case: Case, args: argparse.Namespace) -> dict:
    calls = prepare_peer(case, args.compile and case.kind != "inverse")
    peer: dict[str, list[float]] = {name: [] for name in calls}
    ours, repeat = [], 1
    for _ in range(args.rounds):
        ours.append(run_ours(args.binary, case, args.threads, repeat))
        # As long as the peer's calls of a round: enough to be warm, short enough to alternate.
        repeat = max(1, min(1000, int(args.seconds / ours[-1]["best"])))
        for name, call in calls.items():
            peer[name] += time_calls(call, args.seconds)
    best, middle = min(run["best"] for run in ours), median(run["median"] for run in ours[1:] or ours)
    variants = {name: {"best": min(s), "median": median(s), "calls": len(s)} for name, s in peer.items()}
    peer_best = min(v["best"] for v in variants.values())
    peer_median = min(v["median"] for v in variants.values())
    return {
        "kind": case.kind,
        "name": case.name,
        "batch": case.batch,
        "flops": case.flops,
        "ours": {
            "best": best,
            "median": middle,
            "gflops_per_second": case.flops / best / 1e9,
            "peak_rss_bytes": max(run.get("peak_rss_bytes", 0) for run in ours),
        },
        "peer": variants,
        "peer_gflops_per_second": case.flops / peer_best / 1e9,
        "ratio_best": peer_best / best,
        "ratio_median": peer_median / middle,
    }


def fma_peak() -> float:
    """GF/s of the faster of a large float32 matrix product and a wide 3x3 convolution (libraries differ by CPU)."""
    a, b = torch.rand(2048, 2048), torch.rand(2048, 2048)
    product = 2 * 2048**3 / min(time_calls(lambda: a @ b, 2.0, least=5))
    x, w = torch.rand(32, 256, 16, 16).to(memory_format=torch.channels_last), torch.rand(256, 256, 3, 3)
    flops = 2.0 * w.numel() * x.shape[0] * x.shape[2] * x.shape[3]
    convolution = flops / min(time_calls(lambda: F.conv2d(x, w, padding=1), 2.0, least=5))
    return max(product, convolution) / 1e9


def machine() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    flags = fields.get("flags", "").split()
    level = next((name for flag, name in [("avx512f", "AVX-512"), ("avx2", "AVX2")] if flag in flags), "no AVX2")
    cores = sum(line.startswith("processor") for line in lines)
    return f"{fields.get('model name', platform.machine())}, {cores} cores, {level}"


def markdown(report: dict) -> str:
    lines = [
        f"`iresnet bench` against PyTorch {report['torch']} on {report['machine']}, {report['threads']} threads; "
        f"FMA peak as PyTorch reaches it {report['peak_gflops_per_second']:.0f} GF/s. Seconds a call; the ratio is "
        "PyTorch's better variant over ours. Made by `reference/bench.py`.",
        "",
        "| what | network or block | batch | ours best (median) | GF/s | PyTorch best (median), variant | GF/s "
        "| ratio best | ratio median | peak memory |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in report["cases"]:
        ours = row["ours"]
        name, peer = min(row["peer"].items(), key=lambda item: item[1]["best"])
        what = f"inverse, {ITERATIONS} iterations" if row["kind"] == "inverse" else row["kind"]
        lines.append(
            f"| {what} | {row['name']} | {row['batch']} | {ours['best']:.4g} ({ours['median']:.4g}) "
            f"| {ours['gflops_per_second']:.0f} | {peer['best']:.4g} ({peer['median']:.4g}), {name} "
            f"| {row['peer_gflops_per_second']:.0f} | {row['ratio_best']:.2f} | {row['ratio_median']:.2f} "
            f"| {ours['peak_rss_bytes'] / 2**20:.0f} MiB |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", default=PRESETS)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each side in a round, at least one call")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true", help="also try torch.compile (minutes for deep networks)")
    parser.add_argument("--binary", type=Path, default=HERE.parent / "target" / "release" / "iresnet")
    parser.add_argument("--out", type=Path, default=HERE / "bench", help="stem of the two files")
    args = parser.parse_args()
    if not args.binary.exists():
        parser.error(f"{args.binary} is missing: run `cargo build --release` or name it with --binary")
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)

    cases = [
        network_case(kind, name, 100 if kind == "inverse" else 128)
        for name in args.presets
        for kind in args.kinds
        if kind != "block"
    ]
    cases += [block_case(*sizes, 128) for sizes in BLOCKS if "block" in args.kinds]
    report = {
        "machine": machine(),
        "threads": args.threads,
        "torch": torch.__version__,
        "rounds": args.rounds,
        "peak_gflops_per_second": fma_peak(),
        "cases": [],
    }
    for case in cases:
        row = run_case(case, args)
        report["cases"].append(row)
        print(f"{case.kind} {case.name}: {row['ratio_best']:.2f} ({row['ratio_median']:.2f})", file=sys.stderr)
        args.out.with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n")
        args.out.with_suffix(".md").write_text(markdown(report))


if __name__ == "__main__":
    main()
