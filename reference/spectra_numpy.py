"""Recomputes a trained network's singular values with NumPy and compares them with `iresnet spectrum RUN --json`.

    iresnet spectrum RUN --json --export-effective effective.safetensors > spectrum.json
    python reference/spectra_numpy.py effective.safetensors spectrum.json

The exported file holds the network with its spectral normalisation in the weights. Every convolution's circular singular
values come from `numpy.fft.fft2` of its kernel, wrapped onto the image, and one dense SVD a frequency (Sedghi et al.
2018); the whole spectrum must agree to 1e-10 of its largest value. NumPy's power iteration on the zero-padded operator
must not exceed the upper end of the interval, nor fall short of the lower one by more than the iteration may still lack.
Exit status 1 if anything disagrees.
"""

import argparse
import json
import struct
import sys

import numpy as np

# Largest difference of two singular values, relative to the largest of the layer.
TOLERANCE = 1e-10


def load(path):
    """The float32 tensors of a `.safetensors` file, as float64."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        data = file.read()
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        if entry["dtype"] == "F32":
            begin, end = entry["data_offsets"]
            tensors[name] = np.frombuffer(data[begin:end], "<f4").reshape(entry["shape"]).astype(np.float64)
    return tensors


def circular(kernel, height, width):
    """All singular values with circular padding, largest first."""
    size = kernel.shape[-1]
    wrapped = np.zeros((*kernel.shape[:2], height, width))
    for y in range(size):
        for x in range(size):
            wrapped[:, :, (y - size // 2) % height, (x - size // 2) % width] += kernel[:, :, y, x]
    symbols = np.fft.fft2(wrapped).transpose(2, 3, 0, 1)
    return np.sort(np.linalg.svd(symbols, compute_uv=False).ravel())[::-1]


def convolve(kernel, image):
    """Zero 'same' padding, as PyTorch's `conv2d`: `[in, H, W]` to `[out, H, W]`."""
    half = kernel.shape[-1] // 2
    height, width = image.shape[1:]
    padded = np.pad(image, ((0, 0), (half, half), (half, half)))
    out = np.zeros((kernel.shape[0], height, width))
    for y in range(kernel.shape[-1]):
        for x in range(kernel.shape[-1]):
            out += np.tensordot(kernel[:, :, y, x], padded[:, y : y + height, x : x + width], 1)
    return out


def norm_from_below(kernel, height, width, iterations=1000):
    """Power iteration on the zero-padded operator; the transpose has the mirrored kernel, channels exchanged.

    Ends once a hundred iterations gain less than 1e-4: large images have many singular values close to the largest.
    """
    transposed = kernel.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1]
    v = np.random.default_rng(0).standard_normal((kernel.shape[1], height, width))
    norm = before = 0.0
    for i in range(iterations):
        if i % 100 == 99:
            if norm <= before * (1 + 1e-4):
                break
            before = norm
        length = np.linalg.norm(v)
        if length == 0:
            return 0.0
        image = convolve(kernel, v / length)
        norm = np.linalg.norm(image)
        v = convolve(transposed, image)
    return norm


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", help="output of `iresnet spectrum RUN --export-effective`")
    parser.add_argument("spectrum", help="output of `iresnet spectrum RUN --json`")
    parser.add_argument("--size", type=int, nargs=2, metavar=("H", "W"), help="image size, if it is not square")
    args = parser.parse_args()
    tensors = load(args.weights)
    with open(args.spectrum) as file:
        layers = json.load(file)["layers"]
    if any(name.endswith(".u") for name in tensors):
        parser.error(f"{args.weights} holds weights before their normalisation; give the file of --export-effective")
    worst, failures = 0.0, 0
    # Downsampling halves the sides when a new stage begins, so the first layer with a kernel above 1x1 tells the size.
    height = width = None
    for layer in layers:
        name = layer["name"]
        kernel = tensors[name + ".weight"]
        ours = np.array(layer["circular"])
        if kernel.shape[-1] == 1:
            theirs = np.sort(np.linalg.svd(kernel[:, :, 0, 0], compute_uv=False))[::-1]
            below = theirs[0]
        else:
            area = ours.size // min(kernel.shape[:2])
            height, width = (round(area**0.5),) * 2
            if args.size:
                shrink = round((args.size[0] * args.size[1] / area) ** 0.5)
                height, width = args.size[0] // shrink, args.size[1] // shrink
            if height * width * min(kernel.shape[:2]) != ours.size:
                parser.error(f"{name}: {ours.size} singular values fit no square image; give --size H W")
            theirs = circular(kernel, height, width)
            below = norm_from_below(kernel, height, width)
        error = np.abs(ours - theirs).max() / max(theirs[0], 1e-300) if ours.shape == theirs.shape else np.inf
        lower, upper = layer["norm"]["lower"], layer["norm"]["upper"]
        # The iterations end within 1 % of the norm; their rounding is below 1e-12.
        good = error <= TOLERANCE and lower * (1 - 1e-2) <= below <= upper * (1 + 1e-12) and lower <= upper
        worst, failures = max(worst, error), failures + (not good)
        print(
            f"{name:<28} circular {theirs[0]:.12f}, off by {error:.1e}; power {below:.8f} below [{lower:.8f}, {upper:.8f}]"
            + ("" if good else "   DISAGREES")
        )
    print(f"{len(layers)} layers, largest relative difference {worst:.1e} (at most {TOLERANCE:.0e}), {failures} disagree")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
