#!/usr/bin/env python3
"""Products of two square matrices, in turns by `rld bench gemm` and by torch.matmul (on a GPU cuBLAS).

Rows of both, in the columns of results/gemm.csv, are appended to a file; `peer-ratio gemm SHAPE PRECISION R` says how many times
faster ours is, by the medians of all rounds' wall times.

    gemm.py [--rld PATH] [--device cpu|cuda] [--shapes 4096x4096x4096] [--precision float32|tf32] [--rounds N] [--csv FILE]
"""

import argparse
import statistics

import torch

import bench


def compare(shape, options, name, driver):
    m, n, k = map(int, shape.split("x"))
    a, b = (torch.randn(*size, device=options.device) for size in ((m, k), (k, n)))
    product = torch.empty(m, n, device=options.device)
    finish = bench.finisher(options.device)
    # In tf32 ours is the input gradient of a linear layer, which is the same product.
    case = "nn" if options.precision == "float32" else "nn linear"
    ours, times, rows = [], [], []
    for _ in range(options.rounds):
        found, _, _ = bench.run_rld(
            options.rld, ["gemm", "--only", "nn", "--shapes", shape, "--precision", options.precision])
        row = bench.pick(found, case, "wall time")
        bench.same_device(row, options.device, name)
        ours.append(float(row["p50"]))
        rows += found
        times += bench.measure(lambda: torch.matmul(a, b, out=product), finish, bench.BRIEF)
    rate = lambda seconds: 2e-9 * m * n * k / seconds
    for metric, unit, function in (("wall time", "us", lambda t: 1e6 * t), ("rate", "GFLOP/s", rate)):
        rows.append({
            "case": "nn", "provider": f"PyTorch {torch.__version__} {options.precision}", "mode": "product", "metric": metric,
            "unit": unit, "shape": shape, **bench.spread(times, function), "runs": len(times), "device": name,
            "driver": driver, "time": bench.now()})
    bench.append(options.csv, bench.COLUMNS, rows)
    mine, theirs = statistics.median(ours) / 1e6, statistics.median(times)
    share = next((f", {row['p50']} % of the peak" for row in found if row["metric"] == "share of peak"), "")
    print(f"gemm {shape} {row['provider']}: {rate(mine):.0f} GFLOP/s{share} on {row['device']}, torch.matmul {rate(theirs):.0f}")
    print(f"peer-ratio gemm {shape} {options.precision} {theirs / mine:.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rld", default=bench.RLD)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--shapes", default="4096x4096x4096")
    parser.add_argument("--precision", default="float32", choices=["float32", "tf32"], help="of both; tf32 on a GPU only")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--csv")
    options = parser.parse_args()
    torch.set_float32_matmul_precision("high" if options.precision == "tf32" else "highest")
    bench.prepare(options.csv, bench.COLUMNS)
    name, driver = bench.device_name(options.device)
    try:
        for shape in options.shapes.split(","):
            compare(shape, options, name, driver)
    except bench.Failed as error:
        raise SystemExit(f"gemm.py: {error}")


if __name__ == "__main__":
    main()
