"""What the checks share: running rld, weights for any of its networks, comparisons that say by how much they fail."""

import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
RLD = ROOT / ".build/release/rld"
GOLDENS = ROOT / "Tests/Goldens"


def rld(*arguments, expect=0):
    """Runs rld and returns its standard output."""
    result = subprocess.run([RLD, *map(str, arguments)], capture_output=True, text=True)
    if result.returncode != expect:
        sys.exit(f"rld {' '.join(map(str, arguments))}\nended with {result.returncode}, expected {expect}\n{result.stderr}")
    return result.stdout if expect == 0 else result.stderr


def folder():
    return tempfile.TemporaryDirectory(prefix="rld-interop-")


def check(good, message):
    if not good:
        sys.exit(f"FAILED: {message}")


def close(found, expected, bound, name):
    """Fails unless every value is within bound * max |expected|; returns the largest error over max |expected|."""
    check(found.shape == expected.shape, f"{name}: shape {found.shape}, expected {expected.shape}")
    check(np.isfinite(found).all() and np.isfinite(expected).all(), f"{name}: not finite")
    error = float(np.abs(found.astype(np.float64) - expected).max() / np.abs(expected).max())
    check(error <= bound, f"{name}: error {error:.3g}, bound {bound:g}")
    return error


def tensors(model, classes, shape):
    """Names, shapes and kinds of a network's tensors."""
    text = rld("models", model, "--classes", classes, "--input", "x".join(map(str, shape)), "--json")
    return json.loads(text)["tensors"]


def weights(model, classes, shape, seed=1):
    """Random weights under which activations keep their size, as a state dict of arrays."""
    random = np.random.default_rng(seed)
    state = {}
    for tensor in tensors(model, classes, shape):
        name, extents = tensor["name"], tensor["shape"]
        if name.endswith("num_batches_tracked"):
            state[name] = np.array(7, dtype=np.int64)
        elif len(extents) >= 2:
            deviation = (2 / np.prod(extents[1:])) ** 0.5
            state[name] = random.normal(0, deviation, extents).astype(np.float32)
        elif name.endswith(("running_var", "weight")):
            state[name] = random.uniform(0.5, 1.5, extents).astype(np.float32)
        else:
            state[name] = random.normal(0, 0.1, extents).astype(np.float32)
    return state
