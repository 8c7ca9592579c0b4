#!/usr/bin/env python3
"""One RLD training step in PyTorch beside ours: same networks, batch, optimiser and loss, alternating on one machine.

    step.py [--pairs A->B,...] [--batch N] [--rounds N] [--quick] [--precision P] [--skip V,...] [--rld PATH] [--csv FILE]
    step.py --epochs [--steps N] [--workers N] ...

Per pair it prints the images per second of every PyTorch variant and of rld, peak memory of both processes, and one line
`peer-ratio TEACHER->STUDENT R`: rld's images per second over the best variant's without CUDA graphs, medians of all rounds;
`peer-ratio-graphs` counts the variant with them too. `peer-memory` is rld's largest resident memory over that of the variant with
the least. With --epochs whole epochs are timed instead, data included (`rld bench epoch`, and PyTorch with each of the two feeds of
feeds.py), and the lines end in `-epoch`. Both sides are timed by the rules of `rld bench`: as many runs and seconds per round.
A variant that fails is reported and left out. Rows are appended pair by pair; a pair that is stopped (SIGTERM, Ctrl-C) gives those
of what was timed. Networks are written here from their descriptions; weights are random, their values do not change the work.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
from pathlib import Path

import bench

PAIRS = ["resnet32x4->resnet8x4", "resnet56->resnet20", "wrn_40_2->wrn_16_2", "vgg13->vgg8", "ResNet50->MobileNetV2"]
CLASSES = 100
# Compiled and captured in CUDA graphs: no part of the best variant of `peer-ratio`.
GRAPHS = "compiled-graphs"
VARIANTS = ["eager", "channels-last", "compiled", "compiled-channels-last", GRAPHS]
FEEDS = ["loader", "tensors"]  # of feeds.py, which this process does not import: what it held would count as rld's memory
COLUMNS = ["pair", "provider", "images/s", "peak MiB", "batch", "torch", "time", "device", "precision", "device MiB", "rounds",
           "runs", "steps", "driver", "tuning", "commit", "environment"]


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


def compile_mode(variant, options):
    """Of torch.compile; nothing for what is not compiled. Without graphs a step is launched kernel by kernel, as ours is."""
    variant = variant.partition("/")[0]
    if not variant.startswith("compiled"):
        return ""
    if options.device != "cuda" or options.untuned:
        return "reduce-overhead" if variant == GRAPHS else "default"
    return "max-autotune" if variant == GRAPHS else "max-autotune-no-cudagraphs"


class PyTorchStep:
    """A training step of one variant."""

    def __init__(self, pair, variant, options):
        import torch
        from rld_loss import rewritten

        batch, device = options.batch, options.device
        self.torch, self.device = torch, device
        torch.manual_seed(1)
        self.format = torch.channels_last if "channels-last" in variant else torch.contiguous_format
        teacher, student = (build(name).to(device, memory_format=self.format) for name in pair.split("->"))
        teacher.eval().requires_grad_(False)
        student.train()
        self.optimizer = torch.optim.SGD(student.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4, fused=device == "cuda")
        self.images = torch.randn(batch, 3, 32, 32, device=device).to(memory_format=self.format)
        self.labels = torch.arange(batch, device=device) % CLASSES

        def step(images, labels):
            with torch.no_grad():
                guide = teacher(images)
            return rewritten(student(images), guide, labels)

        mode = compile_mode(variant, options)
        self.loss = torch.compile(step, mode=mode) if mode else step

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

        super().__init__(pair, variant, options)
        self.batches = feed(kind, options.steps * options.batch, options.batch, CLASSES, options.device, options.workers)

    def run(self):
        total = self.torch.zeros((), device=self.device)
        for images, labels in self.batches:
            images = images.to(self.device, memory_format=self.format, non_blocking=True)
            total += self.train(images, labels.to(self.device, non_blocking=True))
        total.item()


def worker(options):
    """Serves one variant: each line on standard input asks for a round, the answer is a JSON list of seconds; at the end the largest
    device memory in MiB, null on a CPU."""
    # Ctrl-C is for the process that started this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import torch

    import rld_loss

    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = options.precision == "tf32"
    torch.set_float32_matmul_precision("high" if options.precision == "tf32" else "highest")
    rld_loss.check(rld_loss.rewritten, *rld_loss.logits(64, CLASSES, options.device))
    variant, _, kind = options.worker.partition("/")
    step = PyTorchEpoch(options.pairs, options, variant, kind) if options.epochs else PyTorchStep(options.pairs, variant, options)
    for _ in range(1 if options.epochs else 3):
        step.run()
    step.finish()
    # What was only taken to choose kernels does not count.
    if options.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    print("ready", flush=True)
    for _ in sys.stdin:
        if options.epochs:
            # As `rld bench epoch`: so many, the first does not count.
            times = [bench.measure_once(step.run, step.finish) for _ in range(2 if options.quick else 4)][1:]
        else:
            times = bench.measure(step.run, step.finish, bench.QUICK if options.quick else bench.FULL)
        print(json.dumps(times), flush=True)
    print(json.dumps(torch.cuda.max_memory_allocated() / 2**20 if options.device == "cuda" else None), flush=True)


class Worker:
    """A PyTorch variant in a process of its own, so that its memory is its own."""

    def __init__(self, variant, pair, options):
        command = [sys.executable, __file__, "--worker", variant, "--pairs", pair, "--batch", str(options.batch),
                   "--device", options.device, "--precision", options.precision, "--steps", str(options.steps),
                   "--workers", str(options.workers)]
        command += [f"--{flag}" for flag in ("epochs", "quick", "untuned") if getattr(options, flag)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.name, self.tuning = f"PyTorch {variant}", compile_mode(variant, options)
        self.times, self.resident, self.device_memory = [], None, None

    def start(self):
        if self.process.stdout.readline().strip() != "ready":
            raise bench.Failed("it did not start")

    def run(self):
        try:
            print(file=self.process.stdin, flush=True)
            self.times += json.loads(self.process.stdout.readline())
        except (OSError, ValueError):
            raise bench.Failed("it ended") from None

    def close(self):
        """Lets the process end, and knows its largest memory then."""
        try:
            self.process.stdin.close()
            self.device_memory = json.loads(self.process.stdout.readline() or "null")
        except (OSError, ValueError):
            pass
        self.wait()

    def kill(self):
        # Not Popen's, which would wait for it.
        os.kill(self.process.pid, signal.SIGKILL)
        self.wait()

    def wait(self):
        _, _, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = 0
        self.resident = usage.ru_maxrss / 1024


class Ours:
    """rld, a process for each round."""

    def __init__(self, pair, options):
        self.options, self.case = options, "epoch" if options.epochs else "step"
        teacher, student = pair.split("->")
        self.arguments = [self.case, "--teacher", teacher, "--student", student, "--batch", str(options.batch),
                          "--precision", options.precision]
        self.arguments += ["--steps", str(options.steps)] if options.epochs else ["--only", "step"]
        self.name, self.times, self.runs, self.resident = "rld", [], 0, 0.0

    def check(self):
        """Compares with the reference first, which takes memory that training does not."""
        _, _, text = bench.run_rld(self.options.rld, [*self.arguments, "--quick"])
        for line in text.splitlines():
            if line.startswith("first step"):
                print(line, flush=True)

    def run(self):
        rows, resident, _ = bench.run_rld(
            self.options.rld, [*self.arguments, "--unchecked", *(["--quick"] if self.options.quick else [])])
        row = bench.pick(rows, self.case, "wall time")
        bench.same_device(row, self.options.device, self.options.device_name)
        self.row, self.tuning, self.device_memory = row, row["parameters"], float(bench.pick(rows, self.case, "memory")["p50"])
        self.times.append(float(row["p50"]) / 1e6)
        self.runs += int(row["runs"])
        self.resident = max(self.resident, resident)


def chosen_variants(options):
    variants = [variant for variant in VARIANTS if variant not in options.skip and (variant != GRAPHS or options.device == "cuda")]
    if not options.epochs:
        return variants
    return [f"{variant}/{kind}" for variant in variants for kind in FEEDS if kind not in options.skip]


def compare(pair, options):
    """Times one pair, prints its figures and appends its rows. False if something failed."""
    ours, workers, failed = Ours(pair, options), {}, []
    stopped = None
    try:
        ours.check()
        for number in range(options.rounds):
            ours.run()
            for variant in chosen_variants(options):
                if variant in failed:
                    continue
                try:
                    # Timed as soon as it is there: the next one may take a minute to compile.
                    if number == 0:
                        workers[variant] = Worker(variant, pair, options)
                        workers[variant].start()
                    workers[variant].run()
                except bench.Failed as error:
                    print(f"step.py: PyTorch {variant} of {pair} is left out: {error}", flush=True)
                    failed.append(variant)
                    workers.pop(variant).kill()
    except (KeyboardInterrupt, bench.Failed) as error:
        stopped = error
        print(f"step.py: {pair}: {'stopped' if isinstance(error, KeyboardInterrupt) else error}", flush=True)
    # One that is at work does not hear that it is to end.
    for one in workers.values():
        one.kill() if stopped else one.close()
    report(pair, options, ours, [one for one in workers.values() if one.times])
    if isinstance(stopped, KeyboardInterrupt):
        raise stopped
    return not stopped and not failed


def report(pair, options, ours, workers):
    if not ours.times:
        return
    images = options.batch * (options.steps if options.epochs else 1)
    suffix = "-epoch" if options.epochs else ""
    rates, rows = {}, []
    for one in [*workers, ours]:
        rates[one.name] = rate = images / statistics.median(one.times)
        device = "" if one.device_memory is None else f"{one.device_memory:.0f}"
        print(f"{pair:24} {one.name:32} {rate:9.1f} images/s {one.resident:7.0f} MiB" + (f", {device} on the device" if device else ""))
        rows.append({
            "pair": pair, "provider": one.name, "images/s": f"{rate:.1f}", "peak MiB": f"{one.resident:.0f}",
            "batch": options.batch, "torch": options.version, "time": bench.now(), "device": ours.row["device"],
            "precision": options.precision, "device MiB": device, "rounds": len(ours.times),
            "runs": ours.runs if one is ours else len(one.times), "steps": options.steps if options.epochs else "",
            "driver": ours.row["driver"], "tuning": one.tuning, "commit": ours.row["commit"],
            "environment": " ".join(f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith("RLD_"))})
    plain = {name: rate for name, rate in rates.items() if GRAPHS not in name and name != ours.name}
    if plain:
        print(f"peer-ratio{suffix} {pair} {rates[ours.name] / max(plain.values()):.2f}")
    if len(plain) < len(workers):
        print(f"peer-ratio-graphs{suffix} {pair} {rates[ours.name] / max(rates[one.name] for one in workers):.2f}")
    if plain:
        least = min(one.resident for one in workers if one.name in plain)
        print(f"peer-memory{suffix} {pair} {ours.resident / least:.2f}", flush=True)
    bench.append(options.csv, COLUMNS, rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", default=",".join(PAIRS))
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a few short runs of both for a look; the figures scatter")
    parser.add_argument("--rld", default=bench.RLD)
    parser.add_argument("--device", default=None, help="cpu or cuda; cuda where there is one")
    parser.add_argument("--precision", default="float32", choices=["float32", "tf32"], help="of both; tf32 on CUDA only")
    parser.add_argument("--untuned", action="store_true", help="on CUDA compile without trying kernels, which takes minutes")
    parser.add_argument("--epochs", action="store_true", help="time epochs, data included, instead of steps")
    parser.add_argument("--steps", type=int, default=12, help="of an epoch")
    parser.add_argument("--workers", type=int, default=None, help="processes of a DataLoader; on a CPU 0, else 8 at most")
    parser.add_argument("--skip", default="", help=f"what to leave out, separated by commas: {', '.join(VARIANTS + FEEDS)}")
    parser.add_argument("--csv", help="append the figures to this file")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.skip = [name for name in options.skip.split(",") if name]
    for name in options.skip:
        if name not in VARIANTS + FEEDS:
            parser.error(f"--skip: '{name}' is none of {', '.join(VARIANTS + FEEDS)}")
    if options.worker:
        return worker(options)
    bench.prepare(options.csv, COLUMNS)
    # Asked in another process: what this one holds would count as the peak of those that it starts.
    question = f"""
import torch, bench
device = {options.device!r} or ("cuda" if torch.cuda.is_available() else "cpu")
print(torch.__version__, device, bench.device_name(device)[0], sep="\\n")
"""
    answer = subprocess.run(
        [sys.executable, "-c", question], check=True, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent)
    options.version, options.device, options.device_name = answer.stdout.splitlines()
    if options.workers is None:
        options.workers = 0 if options.device == "cpu" else min(8, os.cpu_count())

    def stop(*_):
        # timeout sends it twice, and what was timed is still to be written.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    print(f"PyTorch {options.version} on {options.device_name}, {options.precision}, batch {options.batch}, {options.rounds} rounds",
          flush=True)
    try:
        complete = [compare(pair, options) for pair in options.pairs.split(",")]
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(0 if all(complete) else 1)


if __name__ == "__main__":
    main()
