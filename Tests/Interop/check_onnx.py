"""Exported models pass the ONNX checker, and onnxruntime gives what rld gives: one network of every family, and every operation
as ONNXOperationTests left it."""

import json
import struct

import numpy as np
import onnx
import onnxruntime
from safetensors import safe_open
from safetensors.numpy import save_file

from support import GOLDENS, ROOT, check, close, folder, rld, weights

# One of every family: network, classes, input.
NETWORKS = [
    ("resnet8", 10, (3, 32, 32)), ("resnet8x4", 100, (3, 32, 32)), ("wrn_16_1", 10, (3, 32, 32)), ("vgg8", 10, (3, 32, 32)),
    ("MobileNetV2", 10, (3, 32, 32)), ("ShuffleV1", 10, (3, 32, 32)), ("ShuffleV2", 10, (3, 32, 32)),
    ("ResNet18", 10, (3, 32, 32)), ("imagenet_MobileNetV1", 20, (3, 64, 64)), ("imagenet_ResNet18", 20, (3, 64, 64)),
]
# Of the largest logit: float32 sums in another order, through up to fifty layers.
BOUND = 5e-6


def session(path):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def properties(path):
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    check([(o.domain, o.version) for o in model.opset_import] == [("", 17)], "opset")
    return model, {entry.key: entry.value for entry in model.metadata_props}


worst = {}
operations = sorted((ROOT / ".build/interop/operations").glob("*.onnx"))
check(len(operations) > 100, f"{len(operations)} models of operations")
for model in operations:
    properties(model)
    with safe_open(model.with_suffix(".safetensors"), "numpy") as file:
        name, images, expected = file.metadata()["name"], file.get_tensor("images"), file.get_tensor("output")
    error = close(session(model).run(["logits"], {"images": images})[0], expected, BOUND, name)
    worst["operations"] = max(worst.get("operations", 0), error)

with folder() as path:
    for name, classes, shape in NETWORKS:
        save_file(weights(name, classes, shape), f"{path}/w.safetensors")
        images = np.random.default_rng(9).normal(size=(3, *shape)).astype(np.float32)
        np.save(f"{path}/images.npy", images)
        rld("predict", "--model", name, "--classes", classes, "--weights", f"{path}/w.safetensors", "--images", f"{path}/images.npy",
            "--output", f"{path}/logits.npy", "--device", "reference")
        expected = np.load(f"{path}/logits.npy")
        for fold in ["--fold", "--no-fold"]:
            rld("export", "--onnx", f"{path}/m.onnx", "--model", name, "--classes", classes, "--weights", f"{path}/w.safetensors",
                "--input", "x".join(map(str, shape)), fold)
            model, texts = properties(f"{path}/m.onnx")
            kinds = [node.op_type for node in model.graph.node]
            if fold == "--no-fold":
                check("BatchNormalization" in kinds, "batch norms are kept")
            elif not name.startswith(("wrn", "Shuffle")):
                check("BatchNormalization" not in kinds, f"{name}: batch norms are folded")
            check(texts["model"] == name and texts["classes"] == str(classes), f"{texts}")
            run = session(f"{path}/m.onnx")
            found = run.run(["logits"], {"images": images})[0]
            error = close(found, expected, BOUND, f"{name} {fold}")
            worst[name] = max(worst.get(name, 0), error)
            single = run.run(None, {"images": images[:1]})[0]
            close(single, expected[:1], BOUND, f"{name} {fold}, batch 1")

    # The golden checkpoint: PyTorch's logits, through our ONNX.
    golden = json.loads((GOLDENS / "checkpoints/resnet8_c10.json").read_text())
    rld("export", "--onnx", f"{path}/golden.onnx", "--model", "resnet8", "--weights", GOLDENS / "checkpoints/resnet8_c10.pth")

    def formula(name, count):
        # Images of the goldens: 2 * s(seed(name), i), exact in float32.
        mask = (1 << 64) - 1
        value = 0xCBF29CE484222325
        for byte in name.encode():
            value = ((value ^ byte) * 0x100000001B3) & mask
        with np.errstate(over="ignore"):
            z = (np.uint64(value & 0x7FFFFFFF) << np.uint64(32)) + np.arange(count, dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15)
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            z ^= z >> np.uint64(31)
        return (2 * (2 * ((z >> np.uint64(40)).astype(np.float32) / np.float32(2**24)) - 1)).astype(np.float32)

    images = np.stack([formula(name, 3072).reshape(3, 32, 32) for name in golden["images"]])
    found = session(f"{path}/golden.onnx").run(None, {"images": images})[0]
    worst["golden checkpoint"] = close(found, np.array(golden["logits_f64"]), 1e-5, "golden checkpoint")

    # A student as training leaves it: metadata without any option, and normalisation as nodes.
    (data := __import__("pathlib").Path(path) / "data").mkdir()
    random = np.random.default_rng(4)
    for part, count in [("train", 40), ("t10k", 10)]:
        pixels = random.integers(0, 256, (count, 5, 5), dtype=np.uint8)
        (data / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 0x803, count, 5, 5) + pixels.tobytes())
        (data / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 0x801, count) + bytes(i % 10 for i in range(count)))
    rld("train", "--model", "resnet8", "--data", f"mnist:{data}", "--epochs", 1, "--batch-size", 20, "--validation", 0,
        "--device", "reference", "--out", f"{path}/run")
    rld("export", "--weights", f"{path}/run/best.safetensors", "--onnx", f"{path}/student.onnx")
    _, texts = properties(f"{path}/student.onnx")
    check(texts["normalization"] == "expected" and json.loads(texts["mean"]) == [0.1307], f"{texts}")
    check(json.loads(texts["class_names"]) == [str(i) for i in range(10)] and len(texts["data_hash"]) == 16, f"{texts}")
    check(json.loads(texts["deviation"]) == [0.3081] and texts["input"] == "1x5x5" and texts["method"] == "ce", f"{texts}")
    rld("export", "--weights", f"{path}/run/best.safetensors", "--onnx", f"{path}/pixels.onnx", "--normalization", "nodes")
    check(properties(f"{path}/pixels.onnx")[1]["normalization"] == "included", "normalization")
    pixels = random.integers(0, 256, (4, 1, 5, 5), dtype=np.uint8)
    np.save(f"{path}/pixels.npy", pixels)
    rld("predict", "--model", "resnet8", "--weights", f"{path}/run/best.safetensors", "--images", f"{path}/pixels.npy",
        "--output", f"{path}/logits.npy", "--device", "reference")
    scaled = pixels.astype(np.float32) / np.float32(255)
    mean, deviation = np.float32(json.loads(texts["mean"])[0]), np.float32(json.loads(texts["deviation"])[0])
    expected = np.load(f"{path}/logits.npy")
    close(session(f"{path}/pixels.onnx").run(None, {"images": scaled})[0], expected, BOUND, "normalisation as nodes")
    close(session(f"{path}/student.onnx").run(None, {"images": (scaled - mean) / deviation})[0], expected, BOUND, "normalised images")
for name, error in worst.items():
    print(f"onnx: {name}: largest error {error:.2g} of the largest logit (bound {BOUND:g})")
