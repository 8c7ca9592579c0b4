"""Arrays that NumPy writes are read, and ours are read by NumPy; images in and logits out."""

import io
import zipfile

import numpy as np
from safetensors.numpy import load_file, save_file

from support import GOLDENS, check, close, folder, rld

KINDS = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?"]

with folder() as path:
    # Every type, byte order, memory order and container.
    arrays = {}
    for kind in KINDS:
        for order in "<>":
            for memory in "CF":
                base = np.arange(24).reshape(2, 3, 4) % (2 if kind == "?" else 100)
                arrays[f"{kind.replace('?', 'b')}{'le' if order == '<' else 'be'}{memory}"] = np.asarray(
                    base, dtype=np.dtype(kind).newbyteorder(order), order=memory)
    arrays["scalar"] = np.array(2.5)
    arrays["empty"] = np.zeros((3, 0), dtype=np.float32)
    np.savez(f"{path}/stored.npz", **arrays)
    np.savez_compressed(f"{path}/deflated.npz", **arrays)
    for name in ["stored", "deflated"]:
        rld("convert", f"{path}/{name}.npz", f"{path}/{name}.safetensors")
        rld("convert", f"{path}/{name}.npz", f"{path}/{name}_again.npz")
        found, again = load_file(f"{path}/{name}.safetensors"), np.load(f"{path}/{name}_again.npz")
        check(set(found) == set(arrays) == set(again.files), "names")
        for key, array in arrays.items():
            for copy in [found[key], again[key]]:
                check(copy.dtype == array.dtype.newbyteorder("="), f"{key}: {copy.dtype}")
                check(copy.shape == array.shape and np.array_equal(copy, array), key)
        check(zipfile.ZipFile(f"{path}/{name}_again.npz").testzip() is None, "checksums")

    for version in [(1, 0), (2, 0), (3, 0)]:
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, arrays["f4beF"], version=version)
        (target := open(f"{path}/v.npy", "wb")).write(buffer.getvalue())
        target.close()
        rld("convert", f"{path}/v.npy", f"{path}/w.npy")
        check(np.array_equal(np.load(f"{path}/w.npy"), arrays["f4beF"]), f"version {version}")

    # What is no array of numbers is named.
    np.save(f"{path}/objects.npy", np.array([{}, []], dtype=object), allow_pickle=True)
    check("'|O'" in rld("convert", f"{path}/objects.npy", f"{path}/x.npy", expect=2), "objects")
    np.save(f"{path}/complex.npy", np.array([1j]))
    check("'<c16'" in rld("convert", f"{path}/complex.npy", f"{path}/x.npy", expect=2), "complex numbers")

    # Images in, logits out, in each format.
    images = np.random.default_rng(2).normal(size=(3, 3, 32, 32)).astype(np.float32)
    np.save(f"{path}/images.npy", images)
    np.savez_compressed(f"{path}/images.npz", images=np.asfortranarray(images))
    save_file({"images": images}, f"{path}/images.safetensors")
    found = []
    for kind in ["npy", "npz", "safetensors"]:
        rld("predict", "--model", "resnet8", "--weights", GOLDENS / "checkpoints/resnet8_c10.pth", "--images", f"{path}/images.{kind}",
            "--output", f"{path}/logits.{kind}", "--device", "reference")
    found = [np.load(f"{path}/logits.npy"), np.load(f"{path}/logits.npz")["logits"], load_file(f"{path}/logits.safetensors")["logits"]]
    check(found[0].shape == (3, 10) and all(np.array_equal(found[0], other) for other in found), "logits")
print(f"numpy: {len(arrays)} arrays, stored and deflated, three header versions, images and logits")
