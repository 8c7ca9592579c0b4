"""What the comparisons with PyTorch share: runs of `rld bench`, timing by its rules, rows of results files.

Nothing here imports torch when it is imported: what step.py holds would count as the peak of the processes that it starts.
"""

import csv
import os
import platform
import subprocess
import tempfile
import time
from pathlib import Path

RLD = ".build/release/rld"
# Columns of rld's own results files.
COLUMNS = ["case", "provider", "mode", "metric", "unit", "shape", "p50", "p20", "p80", "runs", "device", "driver", "clblast",
           "parameters", "swift", "commit", "time"]
# Runs and seconds at least, seconds at most: those of `rld bench losses` and `step`, of gemm, and of all with --quick.
FULL, BRIEF, QUICK = (20, 1.0, 8.0), (10, 0.3, 4.0), (5, 0.1, 1.0)


class Failed(Exception):
    """One of those that are compared could not be timed."""


def run_rld(rld, arguments):
    """`rld bench` once: its rows, its largest resident memory in MiB, what it printed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rld.csv"
        command = [rld, "bench", *arguments, "--csv", str(path)]
        with open(Path(folder) / "output", "w+") as output:
            try:
                process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
            except OSError as error:
                raise Failed(f"{rld} does not start: {error.strerror}") from None
            try:
                _, status, usage = os.wait4(process.pid, 0)
            except BaseException:
                process.kill()
                raise
            process.returncode = os.waitstatus_to_exitcode(status)
            output.seek(0)
            text = output.read()
        if process.returncode != 0:
            raise Failed(f"{' '.join(command)} ended with {process.returncode}: {text.strip()[-500:]}")
        with open(path, newline="") as file:
            return list(csv.DictReader(file)), usage.ru_maxrss / 1024, text


def pick(rows, case, metric):
    """The row of a case that rld has just timed."""
    for row in rows:
        if row["case"] == case and row["metric"] == metric and row["provider"].startswith("rld "):
            return row
    raise Failed(f"rld reported no {metric} of {case}")


def same_device(row, device, name):
    """Fails if rld was on a GPU and PyTorch is not, or the other way round, or on another one."""
    ours, nvidia = row["device"], row["driver"].startswith("NVIDIA")
    if nvidia != (device == "cuda") or (nvidia and ours != name):
        raise Failed(f"rld ran on {ours}, PyTorch on {name}: nothing to compare (RLD_DEVICE chooses ours, --device PyTorch's)")


def measure_once(run, finish):
    start = time.perf_counter()
    run()
    finish()
    return time.perf_counter() - start


def measure(run, finish, effort):
    """Seconds of each run until it is done, after two that do not count: as rld takes wall times."""
    for _ in range(2):
        run()
    finish()
    runs, least, longest = effort
    times, began = [], time.perf_counter()
    while True:
        times.append(measure_once(run, finish))
        total = time.perf_counter() - began
        if (len(times) >= runs and total >= least) or total >= longest:
            return times


def percentile(values, share):
    values = sorted(values)
    return values[round(share * (len(values) - 1))]


def finisher(device):
    import torch

    return torch.cuda.synchronize if device == "cuda" else lambda: None


def device_name(device):
    """Of PyTorch's device, and what drives it."""
    import torch

    if device == "cuda":
        return torch.cuda.get_device_name(), f"CUDA {torch.version.cuda}"
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as lines:
            name = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{name} ({torch.get_num_threads()} threads)", f"Python {platform.python_version()}"


def now():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def spread(times, function):
    """p50, p20 and p80 of a function of times, as cells."""
    values = [function(value) for value in times]
    return {f"p{share}": f"{percentile(values, share / 100):.4g}" for share in (50, 20, 80)}


def prepare(path, columns):
    """Checks that rows can be appended to a results file. One that has fewer columns gets the missing ones, empty."""
    if not path or not Path(path).exists():
        return
    with open(path, newline="") as file:
        reader = csv.DictReader(file)
        rows, found = list(reader), reader.fieldnames or []
    if found == columns:
        return
    if not set(found) < set(columns):
        raise SystemExit(f"{path} has other columns; expected: {','.join(columns)}")
    new = Path(f"{path}.new")
    new.write_text("")
    append(new, columns, rows)
    os.replace(new, path)


def append(path, columns, rows):
    """Appends rows, with the titles if there are none yet."""
    if not path:
        return
    with open(path, "a", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        if file.tell() == 0:
            writer.writeheader()
        writer.writerows(rows)
