"""Data sets that NumPy, Pillow, pickle, gzip and tarfile wrote are read pixel for pixel, and a network trains on them."""

import csv
import gzip
import io
import json
import pathlib
import pickle
import tarfile

import numpy as np
from PIL import Image

from support import check, folder, rld

random = np.random.default_rng(3)


def fnv(data, value=0xCBF29CE484222325):
    """64-bit FNV-1a."""
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) & (2**64 - 1)
    return value


def content_hash(parts, classes):
    """What `rld data` calls the content of a data set: of each part its pixels, then extents, class count and labels."""
    texts = []
    for images, labels in parts:
        count, channels, height, width = images.shape
        data = images.tobytes() + np.array([count, channels, height, width, classes], "<i8").tobytes()
        texts.append(f"{fnv(data + np.array(labels, '<i4').tobytes()):016x}")
    return f"{fnv(''.join(texts).encode()):016x}"


def inspect(data, *options):
    return json.loads(rld("data", data, *options, "--json"))


def check_exactly(found, parts, classes):
    """Every pixel and label is what Python has, and a single other pixel would have been noticed."""
    name = found["data"]
    check((found["train_images"], found["test_images"]) == tuple(len(p[1]) for p in parts), f"{name}: counts")
    check(found["content_hash"] == content_hash(parts, classes), f"{name}: pixels or labels differ")
    changed = [(p[0].copy(), p[1]) for p in parts]
    changed[1][0].flat[-1] ^= 1
    check(found["content_hash"] != content_hash(changed, classes), f"{name}: the hash does not see a pixel")
    pixels = parts[0][0].transpose(1, 0, 2, 3).reshape(parts[0][0].shape[1], -1) / 255
    check(np.abs(np.array(found["mean"]) - pixels.mean(1)).max() < 1e-6, f"{name}: mean {found['mean']}")
    check(np.abs(np.array(found["deviation"]) - pixels.std(1)).max() < 1e-6, f"{name}: deviation {found['deviation']}")


def train(data, out, *options):
    result = rld("train", "--model", "resnet8", "--data", data, "--epochs", 1, "--batch-size", 16, "--validation", 0,
                 "--out", out, "--json", *options)
    return json.loads(result)


def bytes_of(*shape):
    return random.integers(0, 256, shape, dtype=np.uint8)


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.tobytes()


with folder() as place:
    place = pathlib.Path(place)

    # MNIST's files, plain and compressed.
    images, labels = bytes_of(50, 28, 28), random.integers(0, 10, 50).astype(np.uint8)
    parts = [(images[:40, None], labels[:40]), (images[40:, None], labels[40:])]
    for kind, pack in (("plain", lambda b: b), ("gz", gzip.compress)):
        (place / kind).mkdir()
        for part, rows in (("train", slice(0, 40)), ("t10k", slice(40, 50))):
            for name, array in (("images-idx3", images[rows]), ("labels-idx1", labels[rows])):
                file = place / kind / f"{part}-{name}-ubyte{'.gz' if kind == 'gz' else ''}"
                file.write_bytes(pack(idx(array)))
        check_exactly(inspect(f"mnist:{place}/{kind}"), parts, 10)

    # CIFAR-10's and CIFAR-100's binary and Python versions, as folders and as archives.
    for classes in (10, 100):
        # CIFAR-10 comes in five files of training images.
        batches = 5 if classes == 10 else 1
        images, labels = bytes_of(60, 3, 32, 32), [int(v) for v in random.integers(0, classes, 60)]
        parts = [(images[:40], labels[:40]), (images[40:], labels[40:])]
        rows = [range(40 * i // batches, 40 * (i + 1) // batches) for i in range(batches)] + [range(40, 60)]
        names = [f"data_batch_{i + 1}" for i in range(5)] + ["test_batch"] if classes == 10 else ["train", "test"]
        files = {"binary": {}, "python": {}}
        for name, part in zip(names, rows):
            coarse = [] if classes == 10 else [0]
            files["binary"][f"{name}.bin"] = b"".join(bytes(coarse + [labels[i]]) + images[i].tobytes() for i in part)
            chosen = {b"data": images[list(part)].reshape(-1, 3072), b"filenames": [b"x.png"] * len(part)}
            chosen[b"labels" if classes == 10 else b"fine_labels"] = [labels[i] for i in part]
            files["python"][name] = pickle.dumps(chosen, protocol=2 if classes == 10 else 4)
        words = [f"kind {i}" for i in range(classes)]
        if classes == 10:
            files["binary"]["batches.meta.txt"] = "\n".join(words).encode()
            files["python"]["batches.meta"] = pickle.dumps({b"label_names": [w.encode() for w in words]}, protocol=2)
        else:
            files["binary"]["fine_label_names.txt"] = "\n".join(words).encode()
            files["python"]["meta"] = pickle.dumps({"fine_label_names": words}, protocol=4)
        for version, contents in files.items():
            inside = place / f"cifar{classes}-{version}"
            inside.mkdir()
            archive = place / f"cifar{classes}-{version}.tar.gz"
            with tarfile.open(archive, "w:gz") as tar:
                for name, data in contents.items():
                    (inside / name).write_bytes(data)
                    entry = tarfile.TarInfo(f"cifar/{name}")
                    entry.size = len(data)
                    tar.addfile(entry, io.BytesIO(data))
            for path in (inside, archive):
                found = inspect(f"cifar{classes}:{path}")
                check_exactly(found, parts, classes)
                check([c["name"] for c in found["classes"]] == words, f"{path}: class names")
    trained = train(f"cifar100:{place}/cifar100-python.tar.gz", place / "run-cifar")
    check(trained["best"]["images"] == 20 and trained["epochs"] == 1, f"trained on CIFAR: {trained}")

    # Arrays: bytes in either order of axes, whole numbers, fractions; stored and compressed.
    images, labels = bytes_of(40, 3, 12, 12), np.arange(40) % 7
    parts = [(images[:30], labels[:30]), (images[30:], labels[30:])]
    last = images.transpose(0, 2, 3, 1)
    for name, array, write in (
        ("first", images, np.savez), ("last", last, np.savez_compressed), ("fortran", np.asfortranarray(last), np.savez),
        ("numbers", images.astype(">i4"), np.savez), ("fractions", (images / 255).astype(np.float32), np.savez_compressed),
    ):
        write(place / f"{name}.npz", x_train=array[:30], y_train=labels[:30], x_test=array[30:], y_test=labels[30:])
        check_exactly(inspect(f"arrays:{place}/{name}.npz"), parts, 7)
    trained = train(f"arrays:{place}/last.npz", place / "run-arrays")
    check(trained["best"]["images"] == 10, f"trained on arrays: {trained}")

    # Pictures: the contact sheet shows them as they are stored, a row per class.
    def stored(sheet, size, row, count):
        pixels = np.array(Image.open(sheet).convert("RGB"))
        top = 2 + row * (size + 2)
        return [pixels[top:top + size, 2 + i * (size + 2):][:, :size] for i in range(count)]

    kinds = ["blue", "green", "red"]
    for ending, options, bound in (("png", {}, 0), ("jpg", {"quality": 95}, 2), ("jpeg", {"progressive": True}, 2)):
        root = place / f"pictures-{ending}"
        wanted = {}
        for part in ("train", "test"):
            for channel, kind in zip((2, 1, 0), kinds):
                (root / part / kind).mkdir(parents=True)
                for index in range(8):
                    pixels = random.integers(0, 120, (10, 10, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
                    pixels[..., channel] += 130
                    picture = Image.fromarray(pixels)
                    if index == 7 and ending == "png":
                        picture = picture.convert("P")
                    file = root / part / kind / f"{index}.{ending}"
                    picture.save(file, **options)
                    wanted.setdefault((part, kind), []).append(np.array(Image.open(file).convert("RGB")))
        found = inspect(f"folder:{root}", "--sheet", place / "sheet.png")
        check([(c["name"], c["train"], c["test"]) for c in found["classes"]] == [(k, 8, 8) for k in kinds], f"{root}: counts")
        check(found["input"] == [3, 40, 40] and found["sizes"] == [{"width": 40, "height": 40, "images": 48}], f"{root}: sizes")
        for row, kind in enumerate(kinds):
            left = [w.astype(int) for w in wanted["train", kind]]
            for image in stored(place / "sheet.png", 40, row, 8):
                errors = [np.abs(image - other).max() for other in left]
                nearest = int(np.argmin(errors))
                check(errors[nearest] <= bound, f"{root}: {kind}: off by {errors[nearest]}")
                left.pop(nearest)
    (root / "train/red/broken.jpg").write_bytes((root / "train/red/0.jpeg").read_bytes()[:200])
    found = inspect(f"folder:{root}")
    check([pathlib.Path(b["file"]).name for b in found["broken"]] == ["broken.jpg"], f"broken: {found['broken']}")

    # One command, no code: a folder of pictures becomes a network that knows its classes.
    command = ["train", "--model", "resnet8", "--data", f"folder:{root}", "--image-size", 16, "--epochs", 6, "--batch-size", 8,
               "--validation", 0]
    message = rld(*command, "--out", place / "refused", expect=2)
    check("broken.jpg" in message and "--skip-broken" in message, message)
    result = json.loads(rld(*command, "--skip-broken", "--out", place / "run", "--json"))
    check(result["best"]["accuracy"] > 0.8, f"accuracy {result['best']['accuracy']} on pictures of three colours")
    check([c["name"] for c in result["best"]["classes"]] == kinds, "class names in the result")

    # Left in their files and read ahead of the device, the pictures give the same numbers to the last bit.
    rld(*command, "--skip-broken", "--set", "streaming=on", "--out", place / "streamed")

    def losses(run):
        lines = [json.loads(line) for line in (place / run / "metrics.jsonl").read_text().splitlines()]
        hashed = json.loads((place / run / "environment.json").read_text())["data_hash"]
        return [line.get("train_loss", line.get("loss")) for line in lines], hashed

    check("streaming  0 MiB of images stay in their files" in (place / "streamed/log.txt").read_text(), "streamed")
    check(losses("streamed") == losses("run") and len(losses("run")[0]) > 8, "streamed pictures train otherwise")

    # The same files by a table that Python's csv wrote.
    with open(root / "labels.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "split", "class"])
        for part in ("train", "test"):
            writer.writerows([f"{part}/{kind}/{i}.jpeg", part, f"the {kind}, \"one\""] for kind in kinds for i in range(8))
    found = inspect(f"labels:{root}")
    check([(c["name"], c["train"]) for c in found["classes"]] == [(f"the {k}, \"one\"", 8) for k in kinds], "labels.csv")
print("datasets: IDX, CIFAR (binary, pickled, archives), npz, PNG, JPEG, labels.csv; trained on arrays, CIFAR and pictures")
