"""The authors' recipe for resnet32x4 -> resnet8x4 as they write it, on 2,000 images of a CIFAR-100-format data set that Python makes
from Fashion-MNIST: the full recipe is planned, and two epochs of it run with nothing changed but their number."""

import gzip
import io
import json
import pathlib
import pickle
import tarfile

import numpy as np

from support import GOLDENS, check, folder, rld

SOURCE = pathlib.Path("/usr/share/datasets/fashion-mnist")

RECIPE = GOLDENS / "authors_rld_res32x4_res8x4.yaml"


def part(name, count):
    """Images in the middle of 32x32 grey pixels in three colours, and ten classes for each kind of clothes."""
    with gzip.open(SOURCE / f"{name}-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read()[16:], np.uint8).reshape(-1, 28, 28)[:count]
    with gzip.open(SOURCE / f"{name}-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read()[8:], np.uint8)[:count]
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2)))
    return {
        b"data": np.repeat(padded.reshape(count, 1, 1024), 3, 1).reshape(count, 3072),
        b"fine_labels": [int(label) * 10 + index % 10 for index, label in enumerate(labels)],
        b"coarse_labels": [int(label) for label in labels],
    }


with folder() as place:
    place = pathlib.Path(place)
    archive = place / "cifar-100-python.tar.gz"
    contents = {"train": part("train", 2000), "test": part("t10k", 200),
                "meta": {b"fine_label_names": [b"kind %d" % i for i in range(100)]}}
    with tarfile.open(archive, "w:gz") as tar:
        for name, value in contents.items():
            data = pickle.dumps(value, protocol=2)
            entry = tarfile.TarInfo(f"cifar-100-python/{name}")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    data = f"cifar100:{archive}"
    rld("train", "--model", "resnet32x4", "--data", data, "--limit", 64, "--validation", 0, "--epochs", 1, "--batch-size", 32,
        "--out", place / "teacher")

    recipe = ["distill", "--config", RECIPE, "--data", data, "--teacher", place / "teacher/last.safetensors"]
    plan = json.loads(rld(*recipe, "--dry-run", "--json"))
    text = "\n".join(plan["plan"])
    for wanted in ("resnet8x4", "resnet32x4", "alpha 1, beta 8, temperature 4, confidence-temperature 1", "warm-up 20",
                   "learning rate 0.05", "240 epochs, batch 64", "2000 to train on, 0 to validate, 200 to test"):
        check(wanted in text, f"'{wanted}' in the plan:\n{text}")
    check(plan["steps"] == 240 * 32 and plan["seconds"] > 7680 * 0.9 * plan["seconds_per_step"] > 0, f"estimate {plan}")

    result = json.loads(rld(*recipe, "--set", "epochs=2", "--out", place / "run", "--json"))
    check(result["epochs"] == 2 and result["last"]["images"] == 200, f"result {result}")
    lines = [json.loads(line) for line in (place / "run/metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if line["kind"] == "step"]
    check(sum(line["images"] for line in steps) == 4000 and set(steps[0]["terms"]) == {"ce", "scd", "mcd"}, "steps")
    for line in steps:
        terms = line["terms"]
        total = terms["ce"] + line["warmup"] * (terms["scd"] + 8 * terms["mcd"])
        check(abs(line["loss"] - total) < 1e-5 * total, f"loss {line['loss']}, its terms make {total}")
    check([line["warmup"] for line in steps if line["step"] == 32] == [1 / 20, 2 / 20], "warm-up over 20 epochs")
print(f"recipe: two epochs of 2,000 images in {result['seconds']:.0f} s; the full recipe on them is planned to take "
      f"{plan['seconds'] / 3600:.1f} h")
