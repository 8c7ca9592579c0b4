#!/usr/bin/env python3
"""The RLD loss with its gradient, in turns by `rld bench losses` and by PyTorch, eager and compiled.

PyTorch's are rld_loss.py's, as the formulas are written and rewritten for speed, checked against float64 first. Times a whole call
on the host, from the first operation to the end on the device. Rows of both, in the columns of results/losses.csv, are appended to a file shape by shape; `peer-ratio rld SHAPE MODE R`
says how many times faster ours is than a mode of PyTorch, by the medians of all rounds.

    losses.py [--rld PATH] [--device cpu|cuda] [--shapes 64x100,512x1000] [--modes MODE,...] [--rounds N]
              [--csv FILE]

Modes: eager, compiled, eager-rewritten, compiled-rewritten.
"""

import argparse
import os
import statistics

import torch

import bench
from rld_loss import as_written, check, logits, rewritten

LOSSES = {
    "eager": as_written, "compiled": as_written, "eager-rewritten": rewritten, "compiled-rewritten": rewritten}


def compare(shape, options, name, driver):
    batch, classes = map(int, shape.split("x"))
    student, teacher, labels = logits(batch, classes, options.device)
    student.requires_grad_()
    modes = {}
    for mode in options.modes.split(","):
        loss = torch.compile(LOSSES[mode], dynamic=False) if mode.startswith("compiled") else LOSSES[mode]
        try:
            check(loss, student, teacher, labels)
        except Exception as error:  # no compiler, no memory: the others can be timed
            print(f"losses.py: PyTorch {mode} at {shape} failed: {str(error).strip().splitlines()[0]}", flush=True)
            continue
        modes[mode] = loss
    finish = bench.finisher(options.device)
    ours, times, rows = [], {mode: [] for mode in modes}, []
    for _ in range(options.rounds):
        found, _, _ = bench.run_rld(options.rld, ["losses", "--only", "rld", "--shapes", shape])
        row = bench.pick(found, "rld", "wall time")
        bench.same_device(row, options.device, name)
        ours.append(float(row["p50"]))
        rows += found
        for mode, loss in modes.items():

            def step():
                student.grad = None
                loss(student, teacher, labels).backward()

            times[mode] += bench.measure(step, finish, bench.FULL)
    print(f"rld {shape} {row['provider']}: {statistics.median(ours):.4g} us on {row['device']}")
    for mode, seconds in times.items():
        for metric, unit, function in (
            ("wall time", "us", lambda t: 1e6 * t), ("bandwidth", "GB/s", lambda t: 12e-9 * batch * classes / t)):
            cells = bench.spread(seconds, function)
            rows.append({
                "case": "rld", "provider": f"PyTorch {torch.__version__} {mode}", "mode": "loss and gradient", "metric": metric,
                "unit": unit, "shape": shape, **cells, "runs": len(seconds), "device": name, "driver": driver,
                "time": bench.now()})
        median = 1e6 * statistics.median(seconds)
        print(f"rld {shape} PyTorch {mode}: {median:.4g} us, {len(seconds)} runs")
        print(f"peer-ratio rld {shape} {mode} {median / statistics.median(ours):.2f}", flush=True)
    bench.append(options.csv, bench.COLUMNS, rows)
    return len(modes) == len(options.modes.split(","))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rld", default=bench.RLD)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--shapes", default="64x100,512x1000,8192x1000,256x32000")
    parser.add_argument("--modes", default=",".join(LOSSES))
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--csv")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    bench.prepare(options.csv, bench.COLUMNS)
    name, driver = bench.device_name(options.device)
    complete = True
    for shape in options.shapes.split(","):
        try:
            complete &= compare(shape, options, name, driver)
        except bench.Failed as error:
            print(f"losses.py: {shape}: {error}", flush=True)
            complete = False
    raise SystemExit(0 if complete else 1)


if __name__ == "__main__":
    main()
