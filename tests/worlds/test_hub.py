"""Worlds on a hub: a small local stand-in of its HTTP API, so that no network is used."""

import base64
import functools
import hashlib
import json
import shutil
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import gymnasium as gym
import pytest

from tests.helpers import fresh_process
from training.__main__ import main
from training.stages.publish import Command as PublishCommand
from training.stages.publish import main as publish
from wm_envs.errors import BrokenWorld, HubError, InvalidOption, MissingPackage, UnknownName
from wm_envs.files import write_json
from wm_envs.worlds.bundle import load_world, read_config, read_controller, resolve

constants = pytest.importorskip("huggingface_hub.constants")

FILES = ("config.json", "world.safetensors", "controllers.safetensors", "README.md")
REPO, WORLD = "ada/world", "hf://ada/world"


class StandIn:
    """Repositories as {name: {revision: {file: bytes}}}; every commit is the whole repository."""

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, dict[str, bytes]]] = {}
        self.asked: list[str] = []  # method and path of every request

    def commit(self, repo: str, files: dict[str, bytes]) -> str:
        """Add a commit to main; returns its hash."""
        digest = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
        self.repos.setdefault(repo, {})[digest] = files
        self.repos[repo]["main"] = self.repos[repo][digest]
        return digest

    def commit_of(self, repo: str, revision: str) -> str:
        files = self.repos[repo][revision]
        return next(name for name, found in self.repos[repo].items() if found is files and len(name) == 40)


class Handler(BaseHTTPRequestHandler):
    """What huggingface_hub asks to download files, to make a repository, and to commit."""

    def __init__(self, hub: StandIn, *arguments: object) -> None:
        self.hub = hub
        super().__init__(*arguments)  # type: ignore[arg-type]

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, status: int, body: bytes = b"{}", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self) -> None:
        self.hub.asked.append(f"{self.command} {self.path}")
        repo, found, place = self.path.lstrip("/").partition("/resolve/")
        revision, _, name = place.partition("/")
        if not found or repo not in self.hub.repos:
            return self.answer(404, X_Error_Code="RepoNotFound")
        if revision not in self.hub.repos[repo]:
            return self.answer(404, X_Error_Code="RevisionNotFound")
        if name not in self.hub.repos[repo][revision]:
            return self.answer(404, X_Error_Code="EntryNotFound")
        data = self.hub.repos[repo][revision][name]
        etag = f'"{hashlib.sha1(data).hexdigest()}"'
        self.answer(200, data, ETag=etag, X_Repo_Commit=self.hub.commit_of(repo, revision))

    do_HEAD = do_GET

    def do_POST(self) -> None:
        self.hub.asked.append(f"POST {self.path}")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Authorization") != "Bearer secret":
            return self.answer(401)
        if self.path == "/api/repos/create":
            given = json.loads(body)
            repo = f"{given['organization']}/{given['name']}"
            self.hub.repos.setdefault(repo, {"main": {}})
            return self.answer(200, json.dumps({"url": f"{constants.ENDPOINT}/{repo}"}).encode())
        if "/preupload/" in self.path:
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            return self.answer(200, json.dumps({"files": files}).encode())
        if "/commit/" in self.path:
            repo = "/".join(self.path.split("/")[3:5])
            lines = [json.loads(line) for line in body.splitlines()]
            added = {
                line["value"]["path"]: base64.b64decode(line["value"]["content"])
                for line in lines
                if line["key"] == "file"
            }
            commit = self.hub.commit(repo, self.hub.repos[repo]["main"] | added)
            url = f"{constants.ENDPOINT}/{repo}/commit/{commit}"
            return self.answer(200, json.dumps({"commitUrl": url, "commitOid": commit}).encode())
        return self.answer(200)  # validation of the model card


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """An empty hub, where huggingface_hub looks, with a token and an empty cache."""
    standing = StandIn()
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, standing))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    use(monkeypatch, f"http://127.0.0.1:{server.server_port}", tmp_path / "cache")
    yield standing
    server.shutdown()
    server.server_close()


def use(monkeypatch: pytest.MonkeyPatch, endpoint: str, cache: Path) -> None:
    """Let huggingface_hub look there; it reads HF_ENDPOINT and HF_HUB_CACHE when it is imported."""
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("HF_ENDPOINT", endpoint)  # for other processes
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))


def files_of(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES if (folder / name).exists()}


def test_a_world_of_the_hub_opens(hub: StandIn, tiny_world: Path) -> None:
    commit = hub.commit(REPO, files_of(tiny_world) | {"evil.py": b"raise SystemExit", "notes.txt": b"large"})
    for world in (WORLD, f"{WORLD}@main", f"{WORLD}@{commit}"):
        env = gym.make("WMDream-v0", world=world)
        ours = gym.make("WMDream-v0", world=str(tiny_world))
        assert (env.reset(seed=3)[0] == ours.reset(seed=3)[0]).all()
        env.close()
    assert read_controller(WORLD)[0] == read_controller(tiny_world)[0]
    assert resolve(WORLD).name == commit
    downloaded = {path.name for path in resolve(WORLD).iterdir()}
    assert downloaded == {"config.json", "world.safetensors", "controllers.safetensors"}, "nothing else is fetched"


def test_a_pinned_revision_stays(hub: StandIn, tiny_world: Path, immortal_world: Path) -> None:
    first = hub.commit(REPO, files_of(tiny_world))
    hub.repos[REPO]["v1"] = hub.repos[REPO]["main"]
    second = hub.commit(REPO, files_of(immortal_world))
    assert read_config(resolve(f"{WORLD}@{first}")) == read_config(resolve(f"{WORLD}@v1")) == read_config(tiny_world)
    assert read_config(resolve(WORLD)) == read_config(resolve(f"{WORLD}@{second}")) == read_config(immortal_world)


@pytest.mark.slow  # the hub's client tries again for 20 seconds
def test_cached_opens_offline(hub: StandIn, tiny_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = hub.commit(REPO, files_of(tiny_world))
    load_world(WORLD)
    before = len(hub.asked)
    load_world(f"{WORLD}@{commit}")
    assert len(hub.asked) == before, "a commit that is in the cache asks nothing"
    use(monkeypatch, "http://127.0.0.1:9", tmp_path / "cache")
    load_world(WORLD)
    use(monkeypatch, "http://127.0.0.1:9", tmp_path / "empty")
    with pytest.raises(HubError, match=r"hub: got hf://ada/world: config.json failed .*Fix: check the network"):
        load_world(WORLD)


def test_the_environment_variable_of_the_hub_is_used(hub: StandIn, tiny_world: Path) -> None:
    hub.commit(REPO, files_of(tiny_world))
    code = f"import wm_envs, gymnasium as gym; print(gym.make('WMDream-v0', world='{WORLD}').reset(seed=0)[0].shape)"
    assert fresh_process(code).strip() == "(12,)"
    assert any(line.startswith("GET /ada/world/resolve/") for line in hub.asked)


@pytest.mark.parametrize(
    "name", ["hf://", "hf://ada", "hf://ada/world@", "hf://ada/world/more", "hf://ada/../x y", "hf://@v1"]
)
def test_wrong_names_are_refused_without_a_question(hub: StandIn, name: str) -> None:
    with pytest.raises(InvalidOption, match="expected hf://USER/NAME"):
        load_world(name)
    assert not hub.asked


def test_what_the_hub_does_not_have(hub: StandIn, tiny_world: Path) -> None:
    hub.commit(REPO, files_of(tiny_world))
    for world in ("hf://ada/nothing", f"{WORLD}@v9"):
        with pytest.raises(UnknownName, match="a world on the hub"):
            load_world(world)
    hub.commit("ada/model", {"model.safetensors": b"another kind of model"})
    with pytest.raises(BrokenWorld, match=r"without config\.json"):
        load_world("hf://ada/model")


def test_a_bundle_of_another_version_is_refused_before_its_weights(hub: StandIn, own_world: Path) -> None:
    write_json(own_world / "config.json", read_config(own_world) | {"version": 99})
    hub.commit(REPO, files_of(own_world))
    with pytest.raises(BrokenWorld, match=r"version is 99.*expected a complete wm-envs-world bundle of version"):
        load_world(WORLD)
    assert not any("safetensors" in line for line in hub.asked)


@pytest.mark.parametrize("name", ["world.safetensors", "controllers.safetensors"])
def test_damaged_files_are_refused(hub: StandIn, tiny_world: Path, name: str) -> None:
    files = files_of(tiny_world)
    damaged = bytearray(files[name])
    damaged[-1] ^= 1
    hub.commit(REPO, files | {name: bytes(damaged)})
    with pytest.raises(BrokenWorld, match=f"the hash of {name}"):
        load_world(WORLD), read_controller(WORLD)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingPackage, match=r"pip install 'wm-envs\[hub\]'"):
        load_world(WORLD)


def test_what_is_published_opens(hub: StandIn, tiny_world: Path) -> None:
    found = publish(PublishCommand.flat(world=str(tiny_world), to=WORLD, temperature=1.2, made="by a test"))
    commit = hub.commit_of(REPO, "main")
    assert found.bundle == f"{WORLD}@{commit}" and found.controllers == ("controller",)
    assert set(hub.repos[REPO]["main"]) == set(FILES)
    world = load_world(found.bundle)
    assert world.config.temperature == 1.2
    card = hub.repos[REPO]["main"]["README.md"].decode()
    assert card.startswith("---\nlicense: mit\n") and "by a test" in card
    assert f'gym.make("WMDream-v0", world="{WORLD}")' in card
    publish(PublishCommand.flat(world=str(tiny_world), to=WORLD, temperature=1.3))
    assert load_world(found.bundle).config.temperature == 1.2 and load_world(WORLD).config.temperature == 1.3


def test_publishing_refuses_before_it_asks(
    hub: StandIn, tiny_world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for to, said in (("hf://ada", "hf://USER/NAME"), (f"{WORLD}@v1", "no revision")):
        assert main(["publish", "--world", str(tiny_world), "--to", to]) == 2
        assert said in capsys.readouterr().err
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(HubError, match="HF_TOKEN"):
        publish(PublishCommand.flat(world=str(tiny_world), to=WORLD))
    assert not hub.asked


def test_publishing_without_permission(hub: StandIn, tiny_world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "wrong")
    with pytest.raises((HubError, UnknownName), match="hf://ada/world"):
        publish(PublishCommand.flat(world=str(tiny_world), to=WORLD))
    assert not hub.repos


def test_an_interrupted_download_is_not_used(hub: StandIn, tiny_world: Path) -> None:
    load_files = files_of(tiny_world)
    hub.commit(REPO, load_files)
    folder = resolve(WORLD)
    weights = (folder / "world.safetensors").resolve()
    shutil.move(weights, weights.with_suffix(".away"))
    load_world(WORLD)  # fetched again
