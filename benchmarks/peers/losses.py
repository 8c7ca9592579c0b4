#!/usr/bin/env python3
"""RLD in PyTorch, loss and gradient, eager and compiled: what `rld bench losses` is compared with.

Written from the formulas in README.md: SCD and MCD with the mask t >= t_y, log-sum-exp throughout. Times a whole call on the
host, from the first operation to the end on the device. Prints rows in the columns of results/losses.csv, and how many times
faster the last row of ours in that file is.

    python losses.py [--device cpu|cuda] [--shapes 64x100,512x1000] [--modes eager,compiled] [--threads 2] [--csv FILE]
"""
import argparse
import csv
import datetime
import os
import platform
import time

import torch
import torch.nn.functional as F

COLUMNS = "case,provider,mode,metric,unit,shape,p50,p20,p80,runs,device,driver,clblast,parameters,swift,commit,time"
SHAPES = "64x100,512x1000,8192x1000,256x32000"


def rld(student, teacher, label, alpha=1.0, beta=8.0, temperature=4.0, confidence=1.0):
    """Cross-entropy + alpha SCD + beta MCD, means over the rows."""
    ce = F.cross_entropy(student, label)

    log_q = F.log_softmax(teacher / confidence, 1)
    log_p = F.log_softmax(student / confidence, 1)
    own = F.one_hot(label, student.shape[1]).bool()
    q, top = log_q.max(1)
    first = F.one_hot(top, student.shape[1]).bool()
    minus = float("-inf")
    q_rest = torch.logsumexp(log_q.masked_fill(first, minus), 1)
    p = log_p.gather(1, label[:, None])[:, 0]
    p_rest = torch.logsumexp(log_p.masked_fill(own, minus), 1)
    scd = confidence**2 * (q.exp() * (q - p) + q_rest.exp() * (q_rest - p_rest)).mean()

    masked = teacher >= teacher.gather(1, label[:, None])
    fill = -1e9
    log_t = F.log_softmax((teacher / temperature).masked_fill(masked, fill), 1)
    log_s = F.log_softmax((student / temperature).masked_fill(masked, fill), 1)
    mcd = temperature**2 * F.kl_div(log_s, log_t, reduction="batchmean", log_target=True)
    return ce + alpha * scd + beta * mcd


def measure(step, sync, least_seconds, least_runs):
    for _ in range(3):
        step()
    sync()
    times = []
    began = time.perf_counter()
    while len(times) < least_runs or time.perf_counter() - began < least_seconds:
        start = time.perf_counter()
        step()
        sync()
        times.append(time.perf_counter() - start)
        if time.perf_counter() - began > 8 and len(times) >= 3:
            break
    return times


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, round(share * (len(values) - 1)))]


def device_name(device):
    if device == "cuda":
        return torch.cuda.get_device_name(), f"CUDA {torch.version.cuda}"
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as lines:
            name = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{name} ({torch.get_num_threads()} threads)", f"Python {platform.python_version()}"


def ours(path, shape):
    """Wall time of the last rld row of this shape in a results file, or None."""
    if not path or not os.path.exists(path):
        return None
    with open(path, newline="") as file:
        found = [
            row for row in csv.DictReader(file)
            if row["case"] == "rld" and row["shape"] == shape and row["metric"] == "wall time" and row["provider"].startswith("rld ")
            and not row["provider"].startswith("rld unfused")
        ]
    return float(found[-1]["p50"]) if found else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--shapes", default=SHAPES)
    parser.add_argument("--modes", default="eager,compiled")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--csv")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    sync = torch.cuda.synchronize if options.device == "cuda" else (lambda: None)
    name, driver = device_name(options.device)
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    rows = []
    for shape in options.shapes.split(","):
        batch, classes = map(int, shape.split("x"))
        generator = torch.Generator().manual_seed(1)
        student = (4 * torch.randn(batch, classes, generator=generator)).to(options.device).requires_grad_()
        teacher = (4 * torch.randn(batch, classes, generator=generator)).to(options.device)
        label = torch.randint(classes, (batch,), generator=generator).to(options.device)
        mine = ours(options.csv, shape)
        for mode in options.modes.split(","):
            loss = torch.compile(rld, dynamic=False) if mode == "compiled" else rld

            def step():
                student.grad = None
                loss(student, teacher, label).backward()

            times = measure(step, sync, options.seconds, 20)
            spread = [percentile(times, share) for share in (0.5, 0.2, 0.8)]
            for metric, unit, values in (
                ("wall time", "us", [1e6 * t for t in spread]),
                ("bandwidth", "GB/s", [12e-9 * batch * classes / t for t in spread]),
            ):
                p50, p20, p80 = values if unit == "us" else (values[0], values[2], values[1])
                rows.append(
                    f"rld,PyTorch {torch.__version__} {mode},loss and gradient,{metric},{unit},{shape},{p50:.4g},{p20:.4g},"
                    f'{p80:.4g},{len(times)},"{name}",{driver},,,,,{now}'
                )
                print(rows[-1], flush=True)
            if mine:
                print(f"peer-ratio rld {shape} {mode} {1e6 * spread[0] / mine:.2f}", flush=True)
    if options.csv:
        new = not os.path.exists(options.csv)
        with open(options.csv, "a") as file:
            file.write((COLUMNS + "\n" if new else "") + "".join(row + "\n" for row in rows))


if __name__ == "__main__":
    main()
