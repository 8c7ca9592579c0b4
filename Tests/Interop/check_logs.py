"""What a run logs, read by TensorBoard, by Python's csv and by Pillow."""

import csv
import io
import json
import pathlib
import shutil

import numpy as np
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from support import check, folder, rld


def events_of(run):
    events = EventAccumulator(str(run), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    events.Reload()
    return events


def text(events, tag, count=1):
    """The last of the texts under a tag."""
    found = events.Tensors(tag)
    check(len(found) == count, f"{tag}: {len(found)} texts")
    return found[-1].tensor_proto.string_val[0].decode()


def scalars(lines):
    """Every number that TensorBoard must show, by tag: (step, value) in the order of the run."""
    wanted = {}
    for line in lines:
        if line["kind"] == "step":
            step = (line["epoch"] - 1) * line["steps"] + line["step"]
            values = {"step/loss": line["loss"], "step/accuracy": line["accuracy"], "step/learning rate": line["learning_rate"]}
            values |= {f"step/term {name}": value for name, value in line["terms"].items()}
        elif line["kind"] == "epoch":
            step = line["epoch"]
            values = {"epoch/training loss": line["train_loss"], "epoch/training accuracy": line["train_accuracy"],
                      "epoch/learning rate": line["learning_rate"], "epoch/images per second": line["images_per_second"],
                      "epoch/validation loss": line["validation_loss"],
                      "epoch/validation accuracy": line["validation_accuracy"]}
        else:
            step = line["epoch"]
            values = {f"test/accuracy, {line['weights']}": line["accuracy"], f"test/top-5, {line['weights']}": line["top5"],
                      f"test/loss, {line['weights']}": line["loss"]}
        for tag, value in values.items():
            wanted.setdefault(tag, []).append((step, float(np.float32(value))))
    return wanted


def found_scalars(events):
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


with folder() as place:
    run = pathlib.Path(place) / "run"
    command = ["train", "--model", "resnet8", "--data", "fashion-mnist", "--limit", 640, "--validation", 64, "--epochs", 2,
               "--batch-size", 64, "--log-every", 1, "--out", run]
    rld(*command)
    # A resumed run goes on in the same files.
    rld(*command, "--resume", "--epochs", 3, "--allow-change", "epochs")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    check([sum(line["kind"] == kind for line in lines) for kind in ("step", "epoch", "test")] == [30, 3, 2], "lines of the run")

    # The table says what the lines say, to the last bit.
    rows = list(csv.DictReader(io.StringIO((run / "metrics.csv").read_text())))
    check([r["kind"] for r in rows] == [l["kind"] for l in lines], "metrics.csv has the lines of metrics.jsonl")
    for row, line in zip(rows, lines):
        names = {"train_loss": "loss", "train_accuracy": "accuracy"}
        if line["kind"] == "test":
            names = {"loss": "test_loss", "accuracy": "test_accuracy", "top5": "test_top5"}
        for key, value in line.items():
            column = names.get(key, key)
            if column in row and isinstance(value, (int, float)) and not isinstance(value, bool):
                check(float(row[column]) == value, f"{column} of {row}: {value}")
        for name, value in line.get("terms", {}).items():
            if line["kind"] == "step":
                check(float(row[f"term_{name}"]) == value, f"term {name} of {row}: {value}")

    events = events_of(run)
    wanted, found = scalars(lines), found_scalars(events)
    check(found.keys() == wanted.keys(), f"tags {sorted(found)}, expected {sorted(wanted)}")
    for tag in wanted:
        check(found[tag] == wanted[tag], f"{tag}: {found[tag]}, expected {wanted[tag]}")

    # Once as the run began and once as it went on, with another number of epochs.
    configuration = text(events, "configuration", 2)
    check("model: resnet8" in configuration and "epochs: 3" in configuration, "the configuration as text")
    classes = [l for l in lines if l["kind"] == "test" and l["weights"] == "best"][0]["classes"]
    table = text(events, "accuracy by class, table")
    check(len(classes) == 10 and all(f"| {c['name']} | {float(c['accuracy'])} |" in table for c in classes), table)

    # The picture has a bar per class, as high as its accuracy.
    image = events.Images("accuracy by class")[0]
    picture = Image.open(io.BytesIO(image.encoded_image_string))
    check(picture.size == (image.width, image.height), f"picture {picture.size}, summary {image.width}x{image.height}")
    pixels = np.array(picture.convert("RGB")).astype(int)
    for index, one in enumerate(classes):
        bar = int((pixels[:, 1 + 24 * index + 8] == [38, 110, 173]).all(1).sum())
        check(abs(bar - one["accuracy"] * image.height) <= 1, f"bar of {one['name']}: {bar} of {image.height} pixels")

    # The test of the test: a single bit of the event file must be noticed.
    damaged = pathlib.Path(place) / "damaged"
    damaged.mkdir()
    name = next(run.glob("events.out.tfevents*"))
    data = bytearray(name.read_bytes())
    data[len(data) // 2] ^= 1
    (damaged / name.name).write_bytes(bytes(data))
    check(found_scalars(events_of(damaged)) != wanted, "a damaged event file was read as if it were whole")
    shutil.rmtree(damaged)
print(f"logs: {len(lines)} records in metrics.jsonl, metrics.csv and TensorBoard; text and picture by class")
