"""Files changed on purpose, their seals put right, and read: `python -m tests.torture.fuzz [MINUTES] [SEED]`.

Mutants of everything in a small run folder: values of JSON replaced by others, dropped, doubled or nested; tensors of
another shape, type or value; headers of safetensors and of zarr that say something else; chunks of any bytes. Hashes
and checksums fit again, so that readers come to see what is inside. Each mutant is read, and what can be read is
used, in a process with little memory and time. It must do, or be refused with a typed error: any other exception, a
crash, or reading without an end fails. Mutant N is a function of (SEED, N). Prints one line of JSON.
"""

import copy
import json
import os
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import torch
import zarr
from safetensors.torch import load, save

from tests.helpers import record, replace_file
from tests.torture import flips
from training.data.latent_cache import cached_latents
from training.infra.checkpoint import check_finite, load_checkpoint, read_extra_state, read_tensors, save_tensors
from training.learning.optim import clip_gradients, total_loss
from training.stages.evolve import Search, _replay
from training.stages.ppo import Command as PpoCommand
from wm_envs.envs.dream import DreamVectorEnv
from wm_envs.errors import WorldModelError
from wm_envs.files import seal, unseal, write_json
from wm_envs.models.controller import act
from wm_envs.worlds.bundle import CONTROLLERS, WEIGHTS, load_world, read_config, read_controller

MEMORY = 1 << 30  # bytes of address space that a batch may take beyond what the process has
SECONDS = 20  # for one mutant
BATCH = 200  # mutants a process
LATENTS = 50, 4  # ticks, dimensions

ODD: list[Any] = [
    None, True, False, 0, 1, -1, 2, 3, 7, 64, 1 << 31, 1 << 40, 1 << 63, -(1 << 63), 10**30, 0.0, -0.0, 0.5, 1e-300,
    1e300, float("nan"), float("inf"), "", "a", "takecover", "carracing", "NaN", "../../x", "/etc/passwd", "os:system",
    "\x00", "\ud800", "x" * 10_000, [], [[]], {}, {"a": {}}, [0] * 1000, ["a"], [1.5, float("inf")], {"": None},
]  # fmt: skip


# --- changing -----------------------------------------------------------------------------------------


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of everything within a JSON value."""
    found = []
    items = value.items() if isinstance(value, dict) else enumerate(value[:20]) if isinstance(value, list) else ()
    for key, inner in items:
        found += [(*at, key), *places(inner, (*at, key))]
    return found


def changed(value: Any, rng: np.random.Generator) -> Any:
    """A JSON value with one thing in it changed."""
    value = copy.deepcopy(value)
    where = places(value)
    if not where or rng.random() < 0.02:
        return ODD[rng.integers(len(ODD))]
    *path, last = where[rng.integers(len(where))]
    holder = value
    for key in path:
        holder = holder[key]
    match rng.integers(6):
        case 0 if isinstance(holder, dict):
            holder[ODD[rng.integers(len(ODD) - 12, len(ODD) - 10)] or "new"] = holder.pop(last)
        case 1:
            del holder[last]
        case 2:
            holder[last] = [holder[last]]
        case 3 if isinstance(holder[last], int | float):
            holder[last] = holder[last] * float(rng.choice([-1, 0.5, 2, 1000])) + int(rng.integers(-1, 2))
        case 4 if isinstance(holder, dict):
            other = where[rng.integers(len(where))]
            found = value
            for key in other:
                found = found[key] if isinstance(found, dict | list) and key in _keys(found) else None
            holder[last] = copy.deepcopy(found)
        case _:
            holder[last] = ODD[rng.integers(len(ODD))]
    return value


def _keys(value: Any) -> Any:
    return value if isinstance(value, dict) else range(len(value))


def scrambled(data: bytes, rng: np.random.Generator) -> bytes:
    """Bytes with a few of them other, gone, doubled, or added."""
    data_ = bytearray(data)
    for _ in range(int(rng.integers(1, 9))):
        at = int(rng.integers(max(1, len(data_))))
        size = int(rng.integers(1, 9))
        match rng.integers(4):
            case 0:
                data_[at : at + size] = rng.bytes(size)
            case 1:
                del data_[at : at + size]
            case 2:
                data_[at:at] = data_[at : at + size]
            case _:
                data_[at:at] = rng.choice([b"\0" * 8, b"\xff" * 8, rng.bytes(size)])
    return bytes(data_)


def other_tensors(tensors: dict[str, torch.Tensor], rng: np.random.Generator) -> dict[str, torch.Tensor]:
    """Tensors one of which is of another shape, type, value or name, or gone."""
    tensors, name = dict(tensors), sorted(tensors)[rng.integers(len(tensors))]
    value = tensors[name]
    match rng.integers(7):
        case 0:
            del tensors[name]
        case 1:
            tensors["another/name"] = value.clone()
        case 2:
            tensors[name] = value.reshape(-1)[: int(rng.integers(value.numel() + 1))].clone()
        case 3:
            tensors[name] = value.unsqueeze(0).clone()
        case 4:
            kinds = [torch.int64, torch.bool, torch.float64, torch.bfloat16, torch.complex64, torch.uint8]
            tensors[name] = value.to(kinds[rng.integers(len(kinds))])
        case 5:
            tensors[name] = value.clone()
            if value.numel():
                odd = [float("nan"), float("inf"), 1e30, -1e30, 6e4]
                flat = tensors[name].view(-1)
                flat[int(rng.integers(flat.numel()))] = odd[rng.integers(len(odd))] if value.is_floating_point() else 1
        case _:
            tensors[name] = torch.zeros_like(value)
    return tensors


def other_safetensors(data: bytes, rng: np.random.Generator) -> bytes:
    """A safetensors file with other tensors, another header, or other bytes."""
    match rng.integers(3):
        case 0:
            return save(other_tensors(load(data), rng))
        case 1:
            size = struct.unpack("<Q", data[:8])[0]
            header = changed(json.loads(data[8 : 8 + size]), rng)
            raw = json.dumps(header).encode()
            return struct.pack("<Q", len(raw)) + raw + data[8 + size :]
        case _:
            return scrambled(data, rng)


# --- mutants: of each kind of file ----------------------------------------------------------------------


def json_file(path: Path, rng: np.random.Generator) -> None:
    """A JSON object with something changed, sealed again."""
    values = changed(unseal(json.loads(path.read_text())), rng)
    path.write_text(json.dumps(seal(values) if isinstance(values, dict) else values))


def bundle_file(name: str) -> Callable[[Path, np.random.Generator], None]:
    """Tensors of a bundle, their hash put right."""

    def mutate(folder: Path, rng: np.random.Generator) -> None:
        replace_file(folder, name, other_safetensors((folder / name).read_bytes(), rng))

    return mutate


def tensor_file(path: Path, rng: np.random.Generator) -> None:
    """A checkpoint or a cache with its checksum right, or without one."""
    tensors, header = read_tensors(path)
    match rng.integers(3):
        case 0:
            save_tensors(path, other_tensors(tensors, rng), header)
        case 1:
            said = changed(header, rng)
            said = said if isinstance(said, dict) else {}
            save_tensors(path, tensors, {str(k).encode(errors="replace").decode(): str(v)[:99].encode(
                errors="replace").decode() for k, v in said.items()})  # fmt: skip
        case _:
            path.write_bytes(other_safetensors(save(tensors, header), rng))


def part(path: Path, rng: np.random.Generator) -> None:
    """A part with another header, other attributes (sealed again), or a chunk of other bytes (its checksum right)."""
    if rng.random() < 0.6:
        headers = sorted(path.rglob("zarr.json"))
        header = headers[rng.integers(len(headers))]
        said = json.loads(header.read_text())
        if header.parent == path:
            said["attributes"] = unseal(said["attributes"])
        said = changed(said, rng)
        if header.parent == path and isinstance(said, dict) and isinstance(said.get("attributes"), dict):
            said["attributes"] = seal(said["attributes"])
        header.write_text(json.dumps(said))
        return
    chunks = [file for file in sorted(path.rglob("*")) if file.is_file() and file.name != "zarr.json"]
    chunk = chunks[rng.integers(len(chunks))]
    data = scrambled(chunk.read_bytes()[:-4], rng)
    chunk.write_bytes(bytes(numcodecs.CRC32C(location="end").encode(data)))


# --- using what was read --------------------------------------------------------------------------------


def dream(folder: Path) -> None:
    """A world that can be read dreams finite dreams, driven by what controllers it has."""
    world = load_world(folder)
    env = DreamVectorEnv(3, 8, str(folder))
    seen, _ = env.reset(seed=0)
    for _ in range(4):
        seen, rewards, *_ = env.step(env.action_space.sample())
        assert np.isfinite(seen).all() and np.isfinite(rewards).all(), "a dream that is not finite"
    for name in read_config(folder)["controllers"]:
        config, parameters = read_controller(folder, name)
        if (config.latent, config.hidden) == (world.config.memory.latent, world.config.memory.hidden):
            state = world.state_from_latents(torch.zeros(3, config.latent))
            assert torch.isfinite(act(config, parameters, world.observe(state, config.observation))).all()


def checkpoint(path: Path) -> None:
    """Training goes on from it for a step, unless it diverges."""
    model = torch.nn.Linear(5, 3)
    optimizer = torch.optim.Adam(model.parameters())
    _, extra_state = load_checkpoint(path, model, optimizer)
    read_extra_state(path, extra_state, {"returns": (3,)})
    total_loss(model(torch.ones(5)).sum()).backward()
    clip_gradients(model, 1.0)
    optimizer.step()
    check_finite(model)


def cache(path: Path) -> None:
    """Latents that are not sound are made again."""
    found = cached_latents(path, "V", LATENTS)
    assert found is None or all(value.isfinite().all() and value.shape == LATENTS for value in found)


def history(path: Path) -> None:
    """Scores are told to CMA-ES again."""
    flips.read_history(path)
    _replay(Search(np.zeros(5), 0.1, 2, 0), path)


def options(path: Path) -> None:
    """Start a stage with its default options, or go on."""
    record(path, PpoCommand())


KINDS: dict[str, tuple[Callable[[Path, np.random.Generator], None], Callable[[Path], Any], str]] = {
    "config": (lambda folder, rng: json_file(folder / "config.json", rng), dream, "world"),
    "weights": (bundle_file(WEIGHTS), dream, "world"),
    "controllers": (bundle_file(CONTROLLERS), dream, "world"),
    "checkpoint": (tensor_file, checkpoint, "model.safetensors"),
    "cache": (tensor_file, cache, "latents.safetensors"),
    "part": (part, flips.read_part, "part-00000.zarr"),
    "part in shards": (part, flips.read_part, "part-00001.zarr"),
    "part with rewards": (part, flips.read_part, "part-00002.zarr"),
    "history": (json_file, history, "history.json"),
    "options": (json_file, options, "options.json"),
}


def make_run(run: Path) -> None:
    """Something of each kind."""
    flips.make_run(run)
    options(run / "options.json")
    latents = {name: torch.randn(LATENTS).half() for name in ("means", "logvars")}
    save_tensors(run / "latents.safetensors", latents, {"vision": "V"})
    generations = [{"scores": [1.25, 7.5], "fitness": [1.0, -3.5]}, {"scores": [2.0, 3.0], "fitness": [2.0, 3.0]}]
    write_json(run / "history.json", {"name": "x", "generations": generations})


# --- one mutant after the other -------------------------------------------------------------------------


def outcome(run: Path, seed: int, number: int) -> str:
    """What came of mutant `number`: "KIND harmless", "KIND refused", or what went wrong."""
    rng = np.random.default_rng((seed, number))
    kind = list(KINDS)[rng.integers(len(KINDS))]
    mutate, use, name = KINDS[kind]
    target = run / name
    before = target_bytes(target)
    for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
        try:
            mutate(target, rng)
        except Exception:  # a second change may not find what the first one took
            if target_bytes(target) == before:
                return f"{kind} not changed"
            break
    try:
        use(target)
    except WorldModelError as error:
        return f"{kind} refused" if "Fix" in str(error) else f"{kind}: says no way out: {error}"
    except BaseException:
        return f"{kind}: {traceback.format_exc()}"
    return f"{kind} harmless"


def target_bytes(target: Path) -> list[bytes]:
    """All that a file or folder holds."""
    return [path.read_bytes() for path in sorted([target, *target.rglob("*")]) if path.is_file()]


def batch(run: Path, seed: int, first: int) -> list[str]:
    """Outcomes of `BATCH` mutants in a process of their own; a process that ends early says which one it was at."""
    whole = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    source, sink = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
        for number in range(first, first + BATCH):
            signal.alarm(SECONDS)
            said = outcome(run, seed, number)
            os.write(sink, json.dumps(said[-3000:]).encode() + b"\n")
            for path in run.rglob("*"):
                if path.is_file() and path not in whole:
                    path.unlink()
            for path, data in whole.items():
                path.write_bytes(data)
        os._exit(0)
    os.close(sink)
    with os.fdopen(source) as pipe:
        said = [json.loads(line) for line in pipe]
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    for path, data in whole.items():
        path.write_bytes(data)
    return said if status == 0 else [*said, f"mutant {first + len(said)}: its process ended with {status}"]


def torture(minutes: float, seed: int) -> dict[str, Any]:
    """Mutants for so long, at least one batch; raises at the first that is neither harmless nor refused."""
    start, number, counts = time.monotonic(), 0, dict[str, int]()
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)
        torch.manual_seed(0)
        make_run(run)
        while number == 0 or time.monotonic() - start < 60 * minutes:
            for said in batch(run, seed, number):
                if not said.endswith((" harmless", " refused", " not changed")):
                    raise AssertionError(f"seed {seed}, mutant {number}: {said}")
                counts[said] = counts.get(said, 0) + 1
                number += 1
    ends = ("harmless", "refused", "not changed")
    kinds = {kind: {end: counts.get(f"{kind} {end}", 0) for end in ends} for kind in KINDS}
    total = {end: sum(kind[end] for kind in kinds.values()) for end in ends}
    assert total["not changed"] < number / 10, f"too few are mutants: {kinds}"
    return {"mutants": number, "minutes": minutes, **total, "other": 0, "kinds": kinds}


if __name__ == "__main__":
    torch.set_num_threads(1)
    zarr.config.set({"threading.max_workers": 1})
    numbers = [float(word) for word in sys.argv[1:]]
    minutes, seed = numbers + [60.0, 0.0][len(numbers) :]
    print(json.dumps(torture(minutes, int(seed))))
