"""Files of the safetensors package are read, and ours are read by it, bit for bit."""

import json

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from support import GOLDENS, check, close, folder, rld

with folder() as path:
    random = np.random.default_rng(3)
    arrays = {
        "f64": random.normal(size=(2, 3)), "f32": random.normal(size=(4,)).astype(np.float32),
        "f16": random.normal(size=(2, 2)).astype(np.float16), "i64": np.array(-(2**53) - 1),
        "i32": np.arange(-3, 3, dtype=np.int32), "i16": np.array([-1, 2], dtype=np.int16),
        "i8": np.array([-128, 127], dtype=np.int8), "u8": np.array([[255]], dtype=np.uint8),
        "u16": np.array([65535], dtype=np.uint16), "u32": np.array([2**32 - 1], dtype=np.uint32),
        "u64": np.array([2**64 - 1], dtype=np.uint64), "bool": np.array([True, False]),
        "empty": np.zeros((0, 2), dtype=np.float32),
    }
    save_file(arrays, f"{path}/theirs.safetensors", metadata={"epoch": "3", "é \"x\"": "line\nbreak"})
    rld("convert", f"{path}/theirs.safetensors", f"{path}/ours.safetensors")
    found = load_file(f"{path}/ours.safetensors")
    check(found.keys() == arrays.keys(), f"names {found.keys()}")
    for name, array in arrays.items():
        check(found[name].dtype == array.dtype and np.array_equal(found[name], array), name)
    with safe_open(f"{path}/ours.safetensors", "np") as file:
        check(file.metadata() == {"epoch": "3", "é \"x\"": "line\nbreak", "format": "pt"}, f"metadata {file.metadata()}")

    # Half precision: what other tools round to, and the logits that come of it.
    source = GOLDENS / "checkpoints/resnet8_c10.safetensors"
    rld("convert", source, f"{path}/half.safetensors", "--dtype", "f16")
    exact, half = load_file(source), load_file(f"{path}/half.safetensors")
    for name, array in exact.items():
        wanted = array.astype(np.float16) if array.dtype == np.float32 else array
        check(half[name].dtype == wanted.dtype and np.array_equal(half[name], wanted), f"{name} as float16")

    golden = json.loads((GOLDENS / "checkpoints/resnet8_c10.json").read_text())
    check(list(exact) and sorted(exact) == sorted(name for name, _, _ in golden["state"]), "golden names")
print("safetensors: 13 types both ways, metadata, float16 rounding")
