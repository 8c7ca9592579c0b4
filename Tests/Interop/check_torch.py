"""Checkpoints in PyTorch's layout are read whatever their tensors and pickles look like, and ours can be read."""

import argparse
import collections
import pickle
import zipfile

import numpy as np
from safetensors.numpy import load_file

import fake_torch
from fake_torch import Parameter, Size, Storage, Tensor, tensor
from support import GOLDENS, check, folder, rld


class Evil:
    """Would run a program where a pickle is executed."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        import os
        return (os.system, (f"touch {self.path}",))


with folder() as path:
    # The golden checkpoints hold the same numbers as their safetensors.
    exact = load_file(GOLDENS / "checkpoints/resnet8_c10.safetensors")
    for name in ["resnet8_c10.pth", "resnet8_c10_legacy.pth"]:
        rld("convert", GOLDENS / f"checkpoints/{name}", f"{path}/golden.npz", "--model", "resnet8")
        found = np.load(f"{path}/golden.npz")
        check(set(found.files) == set(exact) and all(np.array_equal(found[key], exact[key]) for key in exact), name)

    # Every type; views that are strided, shared, offset, expanded; parameters; whatever scripts keep beside them.
    random = np.random.default_rng(5)
    storage = Storage("FloatStorage", random.normal(size=60).astype(np.float32))
    state = collections.OrderedDict()
    for kind in ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u1", "?"]:
        state[f"module.type.{kind}"] = tensor((random.integers(0, 2 if kind == "?" else 100, (3, 2))).astype(kind))
    state["module.transposed"] = Tensor(storage, 3, (4, 5), (1, 4))
    state["module.shared"] = Tensor(storage, 3, (20,), (1,))
    state["module.strided"] = Tensor(storage, 1, (2, 3, 2), (24, 8, 3))
    state["module.expanded"] = Tensor(storage, 59, (2, 3), (0, 0))
    state["module.scalar"] = Tensor(storage, 17, (), ())
    state["module.empty"] = Tensor(storage, 0, (0, 4), (4, 1))
    state["module.parameter"] = Parameter(tensor(np.float32([[1, 2]])))
    brain = Storage("BFloat16Storage", np.array([0x3F80, 0xC049], dtype=np.uint16))
    state["module.bfloat16"] = Tensor(brain, 0, (2,), (1,))
    state._metadata = collections.OrderedDict(version=1)
    checkpoint = {
        "epoch": 240, "model": state, "best_acc": np.float64(76.5), "opt": argparse.Namespace(lr=0.05, milestones=[150, 180]),
        "size": Size((3, 4)), "optimizer": {"state": {0: {"momentum_buffer": tensor(np.zeros(3, np.float32))}}, "param_groups": [{"lr": 0.1}]},
        "none": None, "long": 2**70, "negative": -(2**40), "text": "é", "truth": (True, False), "bytes": b"\x00\xff",
    }
    wanted = {key[len("module."):]: value for key, value in state.items()}
    for protocol in [2, 3, 4, 5]:
        for options in [{}, {"compression": zipfile.ZIP_DEFLATED}, {"zip64": True}, {"big_endian": True}]:
            fake_torch.save(checkpoint, f"{path}/x.pth", protocol, **options)
            rld("convert", f"{path}/x.pth", f"{path}/x.npz")
            found = np.load(f"{path}/x.npz")
            check(set(found.files) == set(wanted), f"names {set(found.files) ^ set(wanted)}")
            for name, value in wanted.items():
                array = value.tensor.array if isinstance(value, Parameter) else value.array
                if name == "bfloat16":
                    array = (array.astype(np.uint32) << 16).view(np.float32)
                check(found[name].dtype == array.dtype and np.array_equal(found[name], array), f"{name}, protocol {protocol}, {options}")
    check("epoch: 240" in rld("convert", f"{path}/x.pth", "--list"), "list")

    # Nothing in a pickle is run, and what it would have run is named.
    for protocol in range(2, 6):
        fake_torch.save({"model": state, "hook": Evil(f"{path}/ran")}, f"{path}/evil.pth", protocol)
        message = rld("convert", f"{path}/evil.pth", f"{path}/evil.npz", expect=2)
        check("'posix.system'" in message, message)
    (file := open(f"{path}/plain.pth", "wb")).write(pickle.dumps(Evil(f"{path}/ran"), 2))
    file.close()
    rld("convert", f"{path}/plain.pth", f"{path}/evil.npz", expect=2)
    import pathlib
    check(not pathlib.Path(f"{path}/ran").exists() and not pathlib.Path(f"{path}/evil.npz").exists(), "a pickle was run")

    # Ours, read as PyTorch reads them.
    rld("convert", f"{path}/x.npz", f"{path}/ours.pth")
    ours = fake_torch.load(f"{path}/ours.pth")["model"]
    theirs = np.load(f"{path}/x.npz")
    check(list(ours) == theirs.files, "names of our checkpoint")
    for name in theirs.files:
        check(np.array_equal(ours[name].array.reshape(theirs[name].shape), theirs[name]), f"{name} of our checkpoint")
    check(zipfile.ZipFile(f"{path}/ours.pth").testzip() is None, "checksums of our checkpoint")
print("torch: golden checkpoints, 17 kinds of tensors in 4 pickle protocols and 4 layouts, refusals, ours read back")
