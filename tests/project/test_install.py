"""`make` chooses a build of torch; the README's lines run as pasted in an empty folder."""

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import pytest

from tests.helpers import ROOT

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="needs make")

CPU = "https://download.pytorch.org/whl/cpu"
UNREACHABLE = "http://127.0.0.1:9/cpu"
# Stands for .venv/bin/python: it writes down what pip installs, and only runs code.
PYTHON = f"""#!/bin/sh
case "$3" in
  install) echo "$@" >>installed; [ -z "$PIP_FAILS" ] || [ "${{*%--index-url*}}" = "$*" ] ;;
  list) echo "$PIP_LIST" ;;
  *) exec "{sys.executable}" "$@" ;;
esac
"""


def plain_environment() -> dict[str, str]:
    """The environment without a display, and without what an outer `make`, venv or pytest put there."""
    outer = re.compile("DISPLAY|WAYLAND_DISPLAY|SDL_.*|VIRTUAL_ENV|PYTHONPATH|MAKE.*|TORCH_INDEX")
    return {name: value for name, value in os.environ.items() if not outer.fullmatch(name)}


def write_command(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the Makefile, a .venv whose pip only takes notes, and a PATH that says Linux."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    write_command(tmp_path / ".venv/bin/python", PYTHON)
    write_command(tmp_path / "bin/uname", "#!/bin/sh\necho Linux\n")
    return tmp_path


@pytest.fixture
def index(tmp_path: Path) -> Iterator[str]:
    """The URL of an index that has a page for torch."""
    (tmp_path / "index/torch").mkdir(parents=True)
    server = HTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "index")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def run_make(project: Path, *arguments: str, **environment: str) -> str:
    path = f"{project / 'bin'}{os.pathsep}{os.environ['PATH']}"
    result = subprocess.run(
        ["make", *arguments], cwd=project, env=plain_environment() | {"PATH": path} | environment,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout


def make(project: Path, *options: str, **environment: str) -> tuple[list[str], str]:
    """What pip was asked to install up to now, and what `make` prints."""
    (project / ".venv/.installed-play").unlink(missing_ok=True)
    output = run_make(project, ".venv/.installed-play", *options, **environment)
    return (project / "installed").read_text().splitlines(), output


def test_make_takes_torch_from_the_index(project: Path, index: str) -> None:
    installed, output = make(project, f"TORCH_INDEX={index}")
    assert len(installed) == 2
    assert "-c constraints.txt --no-deps" in installed[0] and "-e .[play]" in installed[1]
    assert re.search(rf"--index-url {index} torch==[\d.]+$", installed[0])
    assert f"torch comes from {index}" in output


def test_make_falls_back_to_the_default_torch(project: Path, index: str) -> None:
    installed, output = make(project, f"TORCH_INDEX={UNREACHABLE}")
    assert len(installed) == 1 and "index" not in installed[0]
    assert f"from {UNREACHABLE}: pip's default build follows" in output
    installed, output = make(project, f"TORCH_INDEX={index}", PIP_FAILS="1")  # the index lacks this version
    assert len(installed) == 3 and "index" not in installed[2]
    assert f"from {index}: pip's default build follows" in output


def test_make_leaves_an_installed_torch_alone(project: Path, index: str) -> None:
    pinned = re.search(r"^torch==.*$", (project / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned
    installed, output = make(project, f"TORCH_INDEX={index}", PIP_LIST=f"{pinned[0]}+cu130")
    assert len(installed) == 1 and "torch" not in installed[0] + output
    installed, _ = make(project, f"TORCH_INDEX={index}", PIP_LIST=f"{pinned[0]}0")  # another version
    assert len(installed) == 3


def test_make_without_an_index_asks_none(project: Path, index: str) -> None:
    installed, output = make(project, "TORCH_INDEX=", TORCH_INDEX=index)
    assert len(installed) == 1 and "torch" not in installed[0] + output


HAS_GPU = shutil.which("nvidia-smi") or Path("/dev/nvidiactl").exists()


@pytest.mark.parametrize(
    ("commands", "expected"),
    [
        pytest.param({}, CPU, marks=pytest.mark.skipif(bool(HAS_GPU), reason="has an NVIDIA GPU")),
        ({"nvidia-smi": ""}, ""),
        ({"uname": "echo Darwin"}, ""),
    ],
    ids=["linux", "gpu", "macos"],
)
def test_index_of_torch(project: Path, commands: dict[str, str], expected: str) -> None:
    for name, text in commands.items():
        write_command(project / "bin" / name, f"#!/bin/sh\n{text}\n")
    (project / "show.mk").write_text("show: ; @echo '$(TORCH_INDEX)'\n")
    assert run_make(project, "-f", "Makefile", "-f", "show.mk", "show").strip() == expected


SHORT_RUN = "python -m training run --help"  # in place of a run of hours


def script_of_readme(readme: str) -> str:
    """The lines of the README as a script; those of Python go to the interactive Python, as a paste does."""
    lines = ["set -ex"]
    for language, block in re.findall(r"```(\w*)\n(.*?)```", readme, re.DOTALL):
        if language == "python":
            lines.append(f"python -i 2>&1 <<'END' | tee python.txt\n{block}END\n(! grep Error python.txt)")
        else:
            lines.append(re.sub(r"python -m training run .*", SHORT_RUN, block))
    return "\n".join(lines)


def git(*arguments: str, cwd: Path) -> str:
    return subprocess.run(["git", *arguments], cwd=cwd, check=True, capture_output=True, text=True).stdout


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="without a display only Linux opens no window")
def test_lines_of_the_readme_run_as_pasted(tmp_path: Path) -> None:
    """In an empty folder, with this working tree in place of the URL."""
    if not shutil.which("git") or not (ROOT / ".git").exists():
        pytest.skip("needs git and a checkout")
    probe = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(tmp_path), "tqdm"]
    if subprocess.run(probe, capture_output=True, timeout=300).returncode:
        pytest.skip("pip reaches no index")
    source, empty = tmp_path / "source", tmp_path / "empty"
    empty.mkdir()
    for name in git("ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT).split("\0"):
        if name and (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    git("init", "--quiet", cwd=source)
    git("add", ".", cwd=source)
    git("-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "--quiet", "-m", "tree", cwd=source)
    readme = (ROOT / "README.md").read_text()
    url = re.search(r"git clone (\S+)", readme)
    assert url
    instead = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.{source}.insteadOf", "GIT_CONFIG_VALUE_0": url[1]}
    result = subprocess.run(
        ["timeout", "3600", "bash", "-c", script_of_readme(readme)], cwd=empty, env=plain_environment() | instead,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout[-4000:]
    assert "ticks survived: " in result.stdout and "--STAGE.OPTION" in result.stdout
    assert list((empty / "wm-envs/recordings").glob("*.gif"))
    shutil.rmtree(empty)  # two gigabytes of packages
