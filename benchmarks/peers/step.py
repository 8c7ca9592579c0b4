#!/usr/bin/env python3
"""One RLD training step in PyTorch beside ours: same networks, batch, optimiser and loss, alternating on one machine.

    step.py [--pairs A->B,...] [--batch N] [--rounds N] [--seconds S] [--precision P] [--rld PATH] [--csv FILE]
    step.py --epochs [--steps N] [--workers N] ...

Per pair it prints the images per second of every PyTorch variant and of rld, peak memory of both processes, and one line
`peer-ratio TEACHER->STUDENT R`: rld's images per second over the best variant's, medians of all rounds; `peer-memory` is rld's
largest resident memory over that of the variant with the least. With --epochs whole epochs are timed instead, data included
(`rld bench epoch`, and PyTorch with each of the two feeds of feeds.py), and the lines are `peer-ratio-epoch`, `peer-memory-epoch`.
Networks are written here from their descriptions; weights are random, their values do not change the work.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PAIRS = ["resnet32x4->resnet8x4", "resnet56->resnet20", "wrn_40_2->wrn_16_2", "vgg13->vgg8", "ResNet50->MobileNetV2"]
CLASSES = 100
# Compiled and captured in CUDA graphs: reported, but no part of the best variant.
GRAPHS = "compiled-graphs"
FEEDS = ["loader", "tensors"]  # of feeds.py, which this process does not import: what it held would count as rld's memory


def build(name):
    """The network with a published id, for 32x32 images and 100 classes."""
    from torch import nn
    from torch.nn import functional as F

    def convolution(inputs, outputs, kernel=3, stride=1, groups=1, bias=False):
        return nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, groups=groups, bias=bias)

    class Basic(nn.Module):
        def __init__(self, inputs, outputs, stride):
            super().__init__()
            self.first, self.norm1 = convolution(inputs, outputs, stride=stride), nn.BatchNorm2d(outputs)
            self.second, self.norm2 = convolution(outputs, outputs), nn.BatchNorm2d(outputs)
            self.shortcut = None
            if stride != 1 or inputs != outputs:
                self.shortcut = nn.Sequential(convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

        def forward(self, x):
            y = self.norm2(self.second(F.relu(self.norm1(self.first(x)))))
            return F.relu(y + (x if self.shortcut is None else self.shortcut(x)))

    class Bottleneck(nn.Module):
        def __init__(self, inputs, width, stride):
            super().__init__()
            outputs = 4 * width
            self.body = nn.Sequential(
                convolution(inputs, width, 1), nn.BatchNorm2d(width), nn.ReLU(),
                convolution(width, width, 3, stride), nn.BatchNorm2d(width), nn.ReLU(),
                convolution(width, outputs, 1), nn.BatchNorm2d(outputs))
            self.shortcut = None
            if stride != 1 or inputs != outputs:
                self.shortcut = nn.Sequential(convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

        def forward(self, x):
            return F.relu(self.body(x) + (x if self.shortcut is None else self.shortcut(x)))

    class Preactivated(nn.Module):
        def __init__(self, inputs, outputs, stride):
            super().__init__()
            self.norm1, self.first = nn.BatchNorm2d(inputs), convolution(inputs, outputs, stride=stride)
            self.norm2, self.second = nn.BatchNorm2d(outputs), convolution(outputs, outputs)
            self.shortcut = convolution(inputs, outputs, 1, stride) if inputs != outputs else None

        def forward(self, x):
            active = F.relu(self.norm1(x))
            y = self.second(F.relu(self.norm2(self.first(active))))
            return y + (x if self.shortcut is None else self.shortcut(active))

    class Inverted(nn.Module):
        def __init__(self, inputs, outputs, stride, expansion):
            super().__init__()
            width = inputs * expansion
            self.body = nn.Sequential(
                convolution(inputs, width, 1), nn.BatchNorm2d(width), nn.ReLU(),
                convolution(width, width, 3, stride, groups=width), nn.BatchNorm2d(width), nn.ReLU(),
                convolution(width, outputs, 1), nn.BatchNorm2d(outputs))
            self.adds = stride == 1 and inputs == outputs

        def forward(self, x):
            return x + self.body(x) if self.adds else self.body(x)

    def stem(width, stride=1):
        return [convolution(3, width, stride=stride), nn.BatchNorm2d(width), nn.ReLU()]

    def head(width):
        return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, CLASSES)]

    if name == "ResNet50":
        layers, width = stem(64), 64
        for stage, blocks in enumerate([3, 4, 6, 3]):
            for block in range(blocks):
                layers.append(Bottleneck(width, 64 << stage, 2 if stage and not block else 1))
                width = 256 << stage
        return nn.Sequential(*layers, *head(width))
    if name == "MobileNetV2":
        layers, width = stem(16, 2), 16
        for expansion, outputs, blocks, stride in [
            (1, 8, 1, 1), (6, 12, 2, 1), (6, 16, 3, 2), (6, 32, 4, 2), (6, 48, 3, 1), (6, 80, 3, 2), (6, 160, 1, 1)]:
            for block in range(blocks):
                layers.append(Inverted(width, outputs, 1 if block else stride, expansion))
                width = outputs
        return nn.Sequential(*layers, convolution(width, 1280, 1), nn.BatchNorm2d(1280), nn.ReLU(), *head(1280))
    if name.startswith("wrn_"):
        depth, factor = (int(part) for part in name.split("_")[1:])
        layers, width = [convolution(3, 16)], 16
        for stage in range(3):
            for block in range((depth - 4) // 6):
                layers.append(Preactivated(width, 16 * factor << stage, 2 if stage and not block else 1))
                width = 16 * factor << stage
        return nn.Sequential(*layers, nn.BatchNorm2d(width), nn.ReLU(), *head(width))
    if name.startswith("vgg"):
        counts = {"vgg8": [1] * 5, "vgg11": [1, 1, 2, 2, 2], "vgg13": [2] * 5}[name]
        layers, width = [], 3
        for stage, count in enumerate(counts):
            if 1 <= stage <= 3:
                layers.append(nn.MaxPool2d(2))
            for _ in range(count):
                outputs = min(64 << stage, 512)
                layers += [convolution(width, outputs, bias=True), nn.BatchNorm2d(outputs), nn.ReLU()]
                width = outputs
        return nn.Sequential(*layers, *head(width))
    if name.startswith("resnet"):
        wide = name.endswith("x4")
        depth = int(name[6:-2] if wide else name[6:])
        widths = [32, 64, 128, 256] if wide else [16, 16, 32, 64]
        layers, width = stem(widths[0]), widths[0]
        for stage in range(3):
            for block in range((depth - 2) // 6):
                layers.append(Basic(width, widths[stage + 1], 2 if stage and not block else 1))
                width = widths[stage + 1]
        return nn.Sequential(*layers, *head(width))
    sys.exit(f"step.py: unknown network {name}")


def rld_loss(student, teacher, labels, beta=8.0, temperature=4.0):
    """Cross-entropy + SCD + beta MCD, means over the batch, as the method defines them."""
    import torch
    from torch.nn import functional as F

    ce = F.cross_entropy(student, labels)
    column = labels[:, None]
    q = teacher.softmax(1).amax(1)
    p = student.softmax(1).gather(1, column)[:, 0]
    scd = F.kl_div(torch.stack([p, 1 - p], 1).clamp_min(1e-12).log(), torch.stack([q, 1 - q], 1), reduction="batchmean")
    masked = teacher >= teacher.gather(1, column)
    log_s = (student / temperature).masked_fill(masked, -1e9).log_softmax(1)
    t = (teacher / temperature).masked_fill(masked, -1e9).softmax(1)
    return ce + scd + beta * temperature**2 * F.kl_div(log_s, t, reduction="batchmean")


class PyTorchStep:
    """A training step of one variant: eager, channels-last, compiled, compiled-graphs."""

    def __init__(self, pair, batch, variant, device):
        import torch

        self.torch, self.device = torch, device
        torch.manual_seed(1)
        self.format = torch.channels_last if "channels-last" in variant else torch.contiguous_format
        teacher, student = (build(name).to(device, memory_format=self.format) for name in pair.split("->"))
        teacher.eval().requires_grad_(False)
        student.train()
        self.optimizer = torch.optim.SGD(student.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
        self.images = torch.randn(batch, 3, 32, 32, device=device).to(memory_format=self.format)
        self.labels = torch.arange(batch, device=device) % CLASSES

        def step(images, labels):
            with torch.no_grad():
                guide = teacher(images)
            return rld_loss(student(images), guide, labels)

        # Without graphs a compiled step is launched kernel by kernel, as ours is.
        mode = "default" if device != "cuda" else "max-autotune" if variant == GRAPHS else "max-autotune-no-cudagraphs"
        self.loss = torch.compile(step, mode=mode) if variant in ("compiled", GRAPHS) else step

    def train(self, images, labels):
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(images, labels)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def run(self):
        self.train(self.images, self.labels)

    def finish(self):
        if self.device == "cuda":
            self.torch.cuda.synchronize()


class PyTorchEpoch(PyTorchStep):
    """An epoch of such steps, with the batches of a feed and the mean loss read at its end."""

    def __init__(self, pair, options, variant, kind):
        from feeds import feed

        super().__init__(pair, options.batch, variant, options.device)
        self.batches = feed(kind, options.steps * options.batch, options.batch, CLASSES, options.device, options.workers)

    def run(self):
        total = self.torch.zeros((), device=self.device)
        for images, labels in self.batches:
            images = images.to(self.device, memory_format=self.format, non_blocking=True)
            total += self.train(images, labels.to(self.device, non_blocking=True))
        total.item()


def times(step, seconds, least):
    """Seconds per step or epoch, each until it is done."""
    found, began = [], time.perf_counter()
    while len(found) < least or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        step.run()
        step.finish()
        found.append(time.perf_counter() - start)
    return found


def worker(options):
    """Serves one variant: a line on standard input asks for seconds of steps, the answer is a JSON list of times."""
    import torch

    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = options.precision == "tf32"
    torch.set_float32_matmul_precision("high" if options.precision == "tf32" else "highest")
    variant, _, kind = options.worker.partition("/")
    if options.epochs:
        step = PyTorchEpoch(options.pairs, options, variant, kind)
    else:
        step = PyTorchStep(options.pairs, options.batch, variant, options.device)
    for _ in range(1 if options.epochs else 3):
        step.run()
    step.finish()
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(times(step, float(line), 1 if options.epochs else 3)), flush=True)


class Worker:
    """A PyTorch variant in a process of its own, so that its memory is its own."""

    def __init__(self, variant, pair, options):
        command = [sys.executable, __file__, "--worker", variant, "--pairs", pair, "--batch", str(options.batch),
                   "--device", options.device, "--precision", options.precision, "--steps", str(options.steps),
                   "--workers", str(options.workers), *(["--epochs"] if options.epochs else [])]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.times = []
        if self.process.stdout.readline().strip() != "ready":
            self.process.wait()
            sys.exit(f"step.py: PyTorch {variant} of {pair} did not start")

    def run(self, seconds):
        print(seconds, file=self.process.stdin, flush=True)
        self.times += json.loads(self.process.stdout.readline())

    def close(self):
        """Ends the process and returns its largest resident memory in MiB."""
        self.process.stdin.close()
        _, _, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = 0
        return usage.ru_maxrss / 1024


def run_rld(pair, options, checked=False):
    """One round of ours: median seconds per step or epoch, largest resident memory in MiB, and the device's name. A check against
    the reference takes memory that training does not."""
    teacher, student = pair.split("->")
    case = "epoch" if options.epochs else "step"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rld.csv"
        command = [options.rld, "bench", case, "--teacher", teacher, "--student", student, "--batch", str(options.batch),
                   "--precision", options.precision, "--csv", str(path)]
        command += ["--steps", str(options.steps)] if options.epochs else ["--only", "step", "--quick"]
        command += [] if checked else ["--unchecked"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            sys.exit(f"step.py: {' '.join(command)} ended with {process.returncode}")
        for row in csv.DictReader(path.open()):
            if row["case"] == case and row["metric"] == "wall time":
                return float(row["p50"]) / 1e6, usage.ru_maxrss / 1024, row["device"]
    sys.exit(f"step.py: rld reported no {case}")


def compare(pair, options):
    variants = ["eager", "channels-last", "compiled"] + ([GRAPHS] if options.device == "cuda" else [])
    variants = [variant for variant in variants if variant not in options.skip]
    if options.epochs:
        variants = [f"{variant}/{kind}" for variant in variants for kind in FEEDS if kind not in options.skip]
    workers = {variant: Worker(variant, pair, options) for variant in variants}
    ours, memory, device = [], 0, ""
    images = options.batch * (options.steps if options.epochs else 1)
    run_rld(pair, options, checked=True)
    for _ in range(options.rounds):
        for variant_worker in workers.values():
            variant_worker.run(options.seconds)
        seconds, resident, device = run_rld(pair, options)
        ours.append(seconds)
        memory = max(memory, resident)
    rows, best, least_memory = [], 0.0, float("inf")
    for variant, variant_worker in workers.items():
        rate = images / statistics.median(variant_worker.times)
        resident = variant_worker.close()
        rows.append((f"PyTorch {variant}", rate, resident))
        if not variant.startswith(GRAPHS):
            best, least_memory = max(best, rate), min(least_memory, resident)
    rate = images / statistics.median(ours)
    suffix = "-epoch" if options.epochs else ""
    rows.append(("rld", rate, memory))
    for name, value, resident in rows:
        print(f"{pair:24} {name:24} {value:9.1f} images/s {resident:7.0f} MiB")
    print(f"peer-ratio{suffix} {pair} {rate / best:.2f}")
    print(f"peer-memory{suffix} {pair} {memory / least_memory:.2f}", flush=True)
    return [(pair, name, value, resident, device) for name, value, resident in rows]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", default=",".join(PAIRS))
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2, help="of each PyTorch variant in each round")
    parser.add_argument("--rld", default=".build/release/rld")
    parser.add_argument("--device", default=None, help="cpu or cuda; cuda where there is one")
    parser.add_argument("--precision", default="float32", choices=["float32", "tf32"], help="of both; tf32 on CUDA only")
    parser.add_argument("--epochs", action="store_true", help="time epochs, data included, instead of steps")
    parser.add_argument("--steps", type=int, default=12, help="of an epoch")
    parser.add_argument("--workers", type=int, default=None, help="processes of a DataLoader; on a CPU 0, else 8 at most")
    parser.add_argument("--skip", default="", help="variants and feeds to leave out, separated by commas")
    parser.add_argument("--csv", help="append the figures to this file")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.skip = options.skip.split(",")
    if options.worker:
        return worker(options)
    # Asked in another process: what this one holds would count as the peak of those that it starts.
    answer = subprocess.run([sys.executable, "-c", "import torch; print(torch.__version__, torch.cuda.is_available())"],
                            check=True, capture_output=True, text=True).stdout.split()
    version = answer[0]
    options.device = options.device or ("cuda" if answer[1] == "True" else "cpu")
    if options.workers is None:
        options.workers = 0 if options.device == "cpu" else min(8, os.cpu_count())

    print(f"PyTorch {version} on {options.device}, {options.precision}, batch {options.batch}, {options.rounds} rounds", flush=True)
    rows = []
    for pair in options.pairs.split(","):
        rows += compare(pair, options)
    if options.csv:
        new = not Path(options.csv).exists()
        with open(options.csv, "a", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(["pair", "provider", "images/s", "peak MiB", "batch", "torch", "time", "device"])
            for pair, name, value, resident, device in rows:
                writer.writerow([pair, name, f"{value:.1f}", f"{resident:.0f}", options.batch, version,
                                 time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), device])


if __name__ == "__main__":
    main()
