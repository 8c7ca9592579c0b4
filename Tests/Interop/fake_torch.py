"""As much of PyTorch's file layout as its checkpoints need, made with Python's own pickle and zipfile: PyTorch itself is large.

`save` writes what torch.save writes for tensors (zip format), `load` reads it as torch.load does with weights_only."""

import collections
import io
import pickle
import sys
import types
import zipfile

import numpy as np

STORAGES = {
    "DoubleStorage": "<f8", "FloatStorage": "<f4", "HalfStorage": "<f2", "LongStorage": "<i8", "IntStorage": "<i4",
    "ShortStorage": "<i2", "CharStorage": "<i1", "ByteStorage": "<u1", "BoolStorage": "?", "BFloat16Storage": "<u2",
}
NAMES = {np.dtype(kind): name for name, kind in STORAGES.items() if name != "BFloat16Storage"}


class Storage:
    def __init__(self, name, array):
        self.name, self.array = name, array


class Tensor:
    """A view of a storage: offset, size and strides in elements."""

    def __init__(self, storage, offset, size, stride):
        self.storage, self.offset, self.size, self.stride = storage, offset, tuple(size), tuple(stride)

    def __reduce__(self):
        arguments = (self.storage, self.offset, self.size, self.stride, False, collections.OrderedDict())
        return (sys.modules["torch._utils"]._rebuild_tensor_v2, arguments)

    @property
    def array(self):
        item = self.storage.array.itemsize
        view = np.lib.stride_tricks.as_strided(
            self.storage.array[self.offset:], shape=self.size, strides=[item * step for step in self.stride])
        return np.array(view)


class Parameter:
    def __init__(self, tensor):
        self.tensor = tensor

    def __reduce__(self):
        return (sys.modules["torch._utils"]._rebuild_parameter, (self.tensor, True, collections.OrderedDict()))


def tensor(array):
    """A contiguous tensor with a storage of its own."""
    array = np.ascontiguousarray(array)
    strides = [step // array.itemsize for step in array.strides]
    return Tensor(Storage(NAMES[array.dtype], array.reshape(-1)), 0, array.shape, strides)


def _module(name, **members):
    module = types.ModuleType(name)
    for key, value in members.items():
        value.__module__, value.__qualname__, value.__name__ = name, key, key
        setattr(module, key, value)
    sys.modules[name] = module


def _rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks, metadata=None):
    return Tensor(storage, offset, size, stride)


def _rebuild_parameter(data, requires_grad, hooks):
    return data


class Size(tuple):
    def __reduce__(self):
        return (Size, (tuple(self),))


_module("torch", Size=Size, **{name: type(name, (), {}) for name in STORAGES})
_module("torch._utils", _rebuild_tensor_v2=_rebuild_tensor_v2, _rebuild_parameter=_rebuild_parameter)
torch = sys.modules["torch"]


def save(value, path, protocol=2, compression=zipfile.ZIP_STORED, zip64=False, big_endian=False):
    storages = {}

    class Pickler(pickle.Pickler):
        def persistent_id(self, item):
            if isinstance(item, Storage):
                key = storages.setdefault(id(item), (str(len(storages)), item))[0]
                return ("storage", getattr(torch, item.name), key, "cpu", len(item.array))

    buffer = io.BytesIO()
    Pickler(buffer, protocol).dump(value)
    with zipfile.ZipFile(path, "w", compression) as archive:
        def write(name, data):
            with archive.open(f"archive/{name}", "w", force_zip64=zip64) as entry:
                entry.write(data)

        write("data.pkl", buffer.getvalue())
        write("byteorder", b"big" if big_endian else b"little")
        for key, storage in storages.values():
            array = storage.array.byteswap() if big_endian else storage.array
            write(f"data/{key}", array.tobytes())
        write("version", b"3\n")


def load(path):
    archive = zipfile.ZipFile(path)
    prefix = next(name for name in archive.namelist() if name.endswith("data.pkl"))[: -len("data.pkl")]
    allowed = {("collections", "OrderedDict"), ("torch._utils", "_rebuild_tensor_v2"), ("torch._utils", "_rebuild_parameter")}

    class Unpickler(pickle.Unpickler):
        def find_class(self, module, name):
            if (module, name) not in allowed and not (module == "torch" and name in STORAGES):
                raise pickle.UnpicklingError(f"{module}.{name}")
            return super().find_class(module, name)

        def persistent_load(self, item):
            kind, storage, key, location, count = item
            array = np.frombuffer(archive.read(f"{prefix}data/{key}"), STORAGES[storage.__name__])
            assert kind == "storage" and location == "cpu" and len(array) == count, item
            return Storage(storage.__name__, array)

    return Unpickler(io.BytesIO(archive.read(prefix + "data.pkl"))).load()
