"""Files made to harm who reads them: how each is made, and what reads it (CORPUS, for test_hostile.py)."""

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import torch
from safetensors.torch import load_file, save

from tests.helpers import change_config, record, replace_file
from training.data import episode_store as rollouts
from training.infra.checkpoint import load_checkpoint, read_tensors, read_vision, save_tensors
from training.infra.records import read_record
from training.stages.ppo import Command as PpoCommand
from wm_envs.files import seal
from wm_envs.worlds.bundle import CONTROLLERS, WEIGHTS, load_controller, load_world

PART = "rollouts/part-00000.zarr"


# --- making -------------------------------------------------------------------------------------------


class Payload:
    """Unpickled, it leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


def pickled(folder: Path) -> bytes:
    return pickle.dumps(Payload(folder / "ran"))


def torch_saved(folder: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save({"w": Payload(folder / "ran")}, buffer)
    return buffer.getvalue()


def objects(folder: Path) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([Payload(folder / "ran")], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def zipped(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(4):
            archive.writestr(f"../../bomb{number}", bytes(64 << 20))
    return buffer.getvalue()


def header(text: str | bytes, length: int | None = None, data: bytes = b"") -> Callable[[Path], bytes]:
    """A safetensors file of any header."""
    raw = text.encode() if isinstance(text, str) else text
    return lambda folder: struct.pack("<Q", len(raw) if length is None else length) + raw + data


def tensors(**entries: Any) -> Callable[[Path], bytes]:
    """A safetensors file whose header says this: name=(dtype, shape, begin, end)."""
    said = {
        name: {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}
        for name, (kind, shape, begin, end) in entries.items()
    }
    return header(json.dumps(said), data=bytes(64))


RAW: dict[str, Callable[[Path], bytes]] = {
    "pickle": pickled,
    "torch.save": torch_saved,
    "npy of objects": objects,
    "zip bomb": zipped,
    "overlapping": tensors(a=("F32", [8], 0, 32), b=("F32", [8], 16, 48)),
    "with a gap": tensors(a=("F32", [4], 0, 16), b=("F32", [4], 32, 48)),
    "beyond the end": tensors(a=("F32", [1 << 40], 0, 4 << 40)),
    "backwards": tensors(a=("F32", [8], 32, 0)),
    "sizes that overflow": tensors(a=("F32", [1 << 62, 4], 0, 0)),
    "huge and empty": tensors(a=("F32", [1 << 60, 0], 0, 0)),
    "no such type": tensors(a=("OBJ", [8], 0, 64)),
    "longest header": header("{}", length=(1 << 64) - 1),
    "long header": header("{}", length=1 << 40),
    "no JSON": header("import os"),
    "nested": header('{"a":' * 1_000_000),
    "twice the same": header('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},' * 2 + '"b":1}', data=bytes(4)),
    "header of spaces": header(b" " * (1 << 20)),
    "nothing": lambda folder: b"",
}

JSONS: dict[str, Callable[[Path], bytes]] = {
    "pickle": pickled,
    "nested lists": lambda folder: b"[" * 1_000_000,
    "nested objects": lambda folder: b'{"a":' * 1_000_000,
    "a number of a million digits": lambda folder: b'{"version":' + b"9" * 1_000_000 + b"}",
    "not UTF-8": lambda folder: b'{"format":"\xff\xfe"}',
    "half a surrogate": lambda folder: b'{"format":"\\ud800"}',
    "a list": lambda folder: b"[1]",
    "NaN": lambda folder: b"NaN",
    "another seal": lambda folder: json.dumps(seal({"a": 1}) | {"a": 2}).encode(),
}


def bundle_file(name: str, make: Callable[[Path], bytes]) -> Callable[[Path], None]:
    """A bundle with that file, its hash put right."""

    def prepare(folder: Path) -> None:
        if name == "config.json":
            (folder / "world" / name).write_bytes(make(folder))
        else:
            replace_file(folder / "world", name, make(folder))

    return prepare


def config(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    return lambda folder: change_config(folder / "world", change)


def other_type(kind: torch.dtype) -> Callable[[Path], None]:
    """A bundle with weights of another type."""

    def make(folder: Path) -> bytes:
        values = load_file(folder / "world" / WEIGHTS)
        return save(values | {"memory/head.bias": values["memory/head.bias"].to(kind)})

    return bundle_file(WEIGHTS, make)


def replaced(path: str, make: Callable[[Path], Any]) -> Callable[[Path], None]:
    """Something else in the place of a file: bytes, or what `make` puts there itself."""

    def prepare(folder: Path) -> None:
        target = folder / path
        target.unlink(missing_ok=True)
        data = make(folder) if make not in SPECIAL.values() else make(target)
        if isinstance(data, bytes):
            target.write_bytes(data)

    return prepare


SPECIAL: dict[str, Callable[[Path], Any]] = {
    "a pipe": os.mkfifo,
    "endless zeros": lambda target: target.symlink_to("/dev/zero"),
    "a loop of links": lambda target: target.symlink_to(target),
    "a link out": lambda target: target.symlink_to("/etc/passwd"),
    "a folder": Path.mkdir,
}


def array_header(name: str, change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """A part one of whose arrays says something else of itself."""

    def prepare(folder: Path) -> None:
        path = part(folder) / name / "zarr.json"
        said = json.loads(path.read_text())
        change(said)
        path.write_text(json.dumps(said))

    return prepare


def part(folder: Path) -> Path:
    return folder / PART


def chunk(name: str, make: Callable[[Path], bytes], checksum: bool = True) -> Callable[[Path], None]:
    """A part with another chunk, its checksum put right."""

    def prepare(folder: Path) -> None:
        path = next(path for path in sorted((part(folder) / name / "c").rglob("*")) if path.is_file())
        data = make(folder)
        path.write_bytes(bytes(numcodecs.CRC32C(location="end").encode(data)) if checksum else data)

    return prepare


def zstd(size: int) -> Callable[[Path], bytes]:
    """So many zeros, compressed."""
    return lambda folder: bytes(numcodecs.Zstd(level=19).encode(bytes(size)))


def zstd_of_unknown_size(folder: Path) -> bytes:
    """2 GiB of zeros in a frame that does not say how many: a window of 128 KiB, and blocks of one repeated byte."""
    block, count = 1 << 17, 1 << 14
    repeated = lambda last: struct.pack("<I", (block << 3) | (1 << 1) | last)[:3] + b"\0"  # noqa: E731
    return b"\x28\xb5\x2f\xfd" + bytes([0, 7 << 3]) + repeated(0) * (count - 1) + repeated(1)


def linked(name: str) -> Callable[[Path], None]:
    """A part with a link in the place of an array, or of its chunks."""

    def prepare(folder: Path) -> None:
        path = part(folder) / name
        path.rename(folder / "elsewhere")
        path.symlink_to(folder / "elsewhere")

    return prepare


def codec(**entry: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda said: said.update(codecs=[entry, *said["codecs"]])


def chunks_of(frames: int) -> Callable[[dict[str, Any]], Any]:
    return lambda said: said["chunk_grid"]["configuration"].update(chunk_shape=[frames, 64, 64, 3])


# --- the corpus: how it is made, and how it is read ---------------------------------------------------


Item = tuple[Callable[[Path], Any], Callable[[Path], Any]]


def read_store(folder: Path) -> None:
    for found in rollouts.RolloutStore(folder / "rollouts", "takecover").parts:
        found.read(0, found.size)


def read_checkpoint(folder: Path) -> None:
    model = torch.nn.Linear(2, 2)
    load_checkpoint(folder / "model.safetensors", model, torch.optim.Adam(model.parameters()))


def checkpoint(**changes: torch.Tensor) -> Callable[[Path], None]:
    """A checkpoint with other tensors, its checksum right."""

    def prepare(folder: Path) -> None:
        values, said = read_tensors(folder / "model.safetensors")
        save_tensors(folder / "model.safetensors", values | changes, said)

    return prepare


def reads(read: Callable[..., Any], path: str, *more: Any) -> Callable[[Path], Any]:
    """Reading of a file or a folder of the run."""
    return lambda folder: read(folder / path, *more)


read_world, read_controller = reads(load_world, "world"), reads(load_controller, "world", "controller")
read_cache, read_start = reads(read_tensors, "model.safetensors"), reads(read_vision, "model.safetensors")
read_json_record, read_options = reads(read_record, "best.json"), reads(record, "best.json", PpoCommand())
READERS = (read_world, read_controller, read_store, read_checkpoint, read_cache, read_json_record)
CORPUS: dict[str, Item] = {
    **{f"weights: {name}": (bundle_file(WEIGHTS, make), read_world) for name, make in RAW.items()},
    **{f"controllers: {name}": (bundle_file(CONTROLLERS, make), read_controller) for name, make in RAW.items()},
    **{f"checkpoint: {name}": (replaced("model.safetensors", make), read_checkpoint) for name, make in RAW.items()},
    **{f"cache: {name}": (replaced("model.safetensors", make), read_cache)
       for name, make in RAW.items() if name not in ("huge and empty", "nothing")},
    "checkpoint: slot of nothing": (checkpoint(**{"optimizer/x": torch.ones(1)}), read_checkpoint),
    "checkpoint: slot of another": (checkpoint(**{"optimizer/exp_avg/other": torch.ones(1)}), read_checkpoint),
    "checkpoint: slot of another shape": (checkpoint(**{"optimizer/exp_avg/bias": torch.ones(7)}), read_checkpoint),
    "checkpoint: weights of another shape": (checkpoint(**{"model/bias": torch.ones(7)}), read_checkpoint),
    "start: pickle": (replaced("model.safetensors", pickled), read_start),
    **{f"config: {name}": (bundle_file("config.json", make), read_world) for name, make in JSONS.items()},
    **{f"record: {name}": (replaced("best.json", make), read_json_record)
       for name, make in JSONS.items() if name != "half a surrogate"},
    **{f"options: {name}": (replaced("best.json", make), read_options) for name, make in JSONS.items()},
    **{f"weights: {name}": (replaced(f"world/{WEIGHTS}", make), read_world) for name, make in SPECIAL.items()},
    **{f"config: {name}": (replaced("world/config.json", make), read_world) for name, make in SPECIAL.items()},
    **{f"checkpoint: {name}": (replaced("model.safetensors", make), read_checkpoint) for name, make in SPECIAL.items()},
    **{f"record: {name}": (replaced("best.json", make), read_json_record) for name, make in SPECIAL.items()},
    "weights of whole numbers": (other_type(torch.int64), read_world),
    "complex weights": (other_type(torch.complex64), read_world),
    "weights above": (config(lambda said: said["files"].update({"../../x": said["files"].pop(WEIGHTS)})), read_world),
    "task to import": (config(lambda said: said["world"].update(task="os:system")), read_world),
    "controller above": (config(lambda said: said["controllers"].update(controller={"config": "../../x"})),
                         read_controller),
    **{f"chunk: {name}": (chunk("actions", make), read_store) for name, make in RAW.items()},
    "chunk: bomb": (chunk("frames", zstd(1 << 31)), read_store),
    "chunk: small bomb": (chunk("actions", zstd(1 << 31)), read_store),
    "chunk: bomb of unknown size": (chunk("frames", zstd_of_unknown_size), read_store),
    "chunk: no checksum": (chunk("frames", zstd(32 * 64 * 64 * 3), checksum=False), read_store),
    "huge frames": (array_header("frames", lambda said: said.update(shape=[1 << 40, 64, 64, 3])), read_store),
    "huge actions": (array_header("actions", lambda said: said.update(shape=[100, 1 << 40])), read_store),
    "huge chunks": (array_header("frames", chunks_of(1 << 30)), read_store),
    "chunks of nothing": (array_header("frames", chunks_of(0)), read_store),
    "negative shape": (array_header("frames", lambda said: said.update(shape=[-1, 64, 64, 3])), read_store),
    "objects": (array_header("actions", lambda said: said.update(data_type="variable_length_utf8")), read_store),
    "pickle codec": (array_header("actions", codec(name="numcodecs.pickle", configuration={})), read_store),
    "codec to import": (array_header("actions", codec(name="os.system", configuration={})), read_store),
    "nested header": (lambda folder: (part(folder) / "zarr.json").write_text('{"a":' * 1_000_000), read_store),
    "array elsewhere": (linked("frames"), read_store),
    "chunks elsewhere": (linked("actions/c"), read_store),
    "pipe in a part": (lambda folder: os.mkfifo(part(folder) / "more"), read_store),
    "pipe for a header": (replaced(f"{PART}/frames/zarr.json", SPECIAL["a pipe"]), read_store),
    "endless header": (replaced(f"{PART}/frames/zarr.json", SPECIAL["endless zeros"]), read_store),
    "long header of an array": (lambda folder: (part(folder) / "frames" / "zarr.json").write_text(" " * (2 << 20)),
                                read_store),
    "packed by gzip": (array_header("actions", lambda said: said.update(codecs=[
        said["codecs"][0], {"name": "gzip", "configuration": {"level": 5}}])), read_store),
    "header of another format": (lambda folder: (part(folder) / "actions" / "zarr.json").rename(
        part(folder) / "actions" / ".zarray"), read_store),
}  # fmt: skip
