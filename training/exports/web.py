"""An export as a page: a folder that any static host serves, and that a browser opens from the disk.

ONNX Runtime Web comes from npm's package, at a version whose files are known by their SHA-256.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from wm_envs.errors import MissingPackage
from wm_envs.files import write_text

PACKAGE = "onnxruntime-web@1.30.0"
RUNTIME = {  # our name -> the file in the package and its SHA-256
    "runtime.mjs": (
        "package/dist/ort.wasm.bundle.min.mjs",
        "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    ),
    "runtime.wasm": (
        "package/dist/ort-wasm-simd-threaded.wasm",
        "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
    ),
}
PAGE = Path(__file__).parent / "page"


def fetch_runtime() -> dict[str, bytes]:
    """The files of ONNX Runtime Web, from npm. Raises `MissingPackage` if npm does not bring them, or other ones."""
    npm = shutil.which("npm")
    if npm is None:
        raise MissingPackage("web", "no npm", f"npm, which brings {PACKAGE}", "install Node.js, or use --onnx")
    with tempfile.TemporaryDirectory() as folder:
        options = ["--ignore-scripts", "--prefer-offline", "--fetch-retries=1"]
        command = [npm, "pack", PACKAGE, "--pack-destination", folder, *options]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        packed = next(Path(folder).glob("*.tgz"), None)
        if done.returncode or packed is None:
            errors = [line for line in done.stderr.splitlines() if "error" in line.lower()]
            raise _refused(f"`npm pack` failed ({(errors or ['no file'])[0]})")  # the later lines name npm's log
        with tarfile.open(packed) as archive:
            return {name: _member(archive, *known) for name, known in RUNTIME.items()}


def _member(archive: tarfile.TarFile, name: str, digest: str) -> bytes:
    try:
        file = archive.extractfile(name)
    except KeyError:
        file = None
    data = file.read() if file else b""
    if hashlib.sha256(data).hexdigest() != digest:
        raise _refused(f"{name} is missing or another one")
    return data


def _refused(given: str) -> MissingPackage:
    return MissingPackage("web", given, f"{PACKAGE} from npm", "connect to the network and run it again")


def write_page(folder: Path, files: dict[str, bytes], title: str) -> None:
    """Write the page that plays `files`: world.json, the models, and the runtime."""
    scripts = []
    (folder / "files").mkdir(parents=True)
    for number, (name, data) in enumerate(files.items()):
        packed = base64.b64encode(gzip.compress(data, 9, mtime=0)).decode()
        scripts.append(f"files/{number}.js")
        write_text(folder / scripts[-1], f"dream.files[{json.dumps(name)}] = {json.dumps(packed)};\n")
    page = (PAGE / "index.html").read_text(encoding="utf-8")
    page = page.replace("<!-- files -->", "\n".join(f'<script src="{script}"></script>' for script in scripts))
    page = page.replace("A dream of a world model", f"A dream of {html.escape(title)}")
    write_text(folder / "index.html", page)
    write_text(folder / "page.js", (PAGE / "page.js").read_text(encoding="utf-8"))
