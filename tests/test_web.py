"""The page in a real browser: it opens from the disk, has PyTorch's numbers, and a key changes the dream."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from training.exports import web
from training.stages.export import ExportOptions, main
from wm_envs.errors import InvalidOption, MissingPackage
from wm_envs.models.bundle import load_world

pytest.importorskip("onnxscript")

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe")  # fmt: skip
STEPS, PATIENCE = 200, 300  # seconds


class Browser:
    """A headless Chromium with one page, spoken to in DevTools' protocol through its pipes 3 and 4."""

    def __init__(self, page: Path, profile: Path) -> None:
        theirs_in, self.write = os.pipe()
        self.read, theirs_out = os.pipe()

        def connect() -> None:
            moved = os.dup(theirs_in), os.dup(theirs_out)
            os.dup2(moved[0], 3)
            os.dup2(moved[1], 4)

        self.process = subprocess.Popen(
            [BROWSER or "", *FLAGS, f"--user-data-dir={profile}"], close_fds=False, preexec_fn=connect,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(theirs_in), os.close(theirs_out)
        self.asked, self.rest, self.session = 0, b"", ""
        target = self.ask("Target.createTarget", url=page.as_uri())["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def ask(self, method: str, **parameters: Any) -> Any:
        self.asked += 1
        message = {"id": self.asked, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + PATIENCE
        while True:
            while b"\0" not in self.rest:
                ready, _, _ = select.select([self.read], [], [], until - time.monotonic())
                assert ready, f"no answer to {method}"
                self.rest += os.read(self.read, 1 << 20)
            line, _, self.rest = self.rest.partition(b"\0")
            answer = json.loads(line)
            if answer.get("id") == self.asked:
                assert "error" not in answer, answer
                return answer["result"]

    def run(self, script: str) -> Any:
        """The value of an asynchronous function with this body."""
        found = self.ask(
            "Runtime.evaluate", expression=f"(async () => {{{script}}})()", awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(30)
        os.close(self.read), os.close(self.write)


@pytest.fixture(scope="module")
def page(immortal_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("web") / "page"
    try:
        found = main(ExportOptions(world=str(immortal_world), web=str(folder)))
    except MissingPackage as error:
        pytest.skip(str(error))
    assert found["web"]["megabytes"] < 25
    return folder


@pytest.fixture
def browser(page: Path, tmp_path: Path) -> Iterator[Browser]:
    if BROWSER is None:
        pytest.skip("no Chromium")
    found = Browser(page / "index.html", tmp_path / "profile")
    with contextlib.closing(found):
        until = time.monotonic() + PATIENCE
        while not found.run("return Boolean(globalThis.dream?.ready)"):
            assert time.monotonic() < until and not found.run("return globalThis.dream?.error"), found.run(
                "return dream.error"
            )
            time.sleep(0.5)
        yield found


@pytest.mark.slow
def test_the_page_has_the_numbers_of_pytorch(browser: Browser, immortal_world: Path) -> None:
    world, generator = load_world(immortal_world), torch.Generator().manual_seed(4)
    state = world.initial_state(1, generator)
    begun = {"latents": state.latents[0].tolist(), "ticks": 0}
    steps, ours = [], []
    for _ in range(STEPS):
        noise, temperature = world.draw_noise(1, generator), 0.5 + torch.rand(1, 1, generator=generator)
        action = 2 * torch.rand(1, 1, generator=generator) - 1
        given = torch.from_numpy(world.task.game_action(action.numpy()))
        state, outcome = world.step(state, given, noise, temperature)
        steps.append([*(part.flatten().tolist() for part in noise), action[0].tolist(), float(temperature)])
        ours.append([*state.latents[0].tolist(), *state.recurrent[0][0].tolist(), float(outcome.reward)])
    theirs = browser.run(f"""
        dream.stopped = true;
        await new Promise((resolve) => setTimeout(resolve, 1000));
        const begun = {json.dumps(begun)}, found = [];
        await dream.begin();
        dream.state = {{ ...dream.state, latents: dream.floats(begun.latents, 1, begun.latents.length) }};
        for (const [uniform, normal, termination, action, temperature] of {json.dumps(steps)}) {{
          const noise = {{ noise_uniform: dream.floats(uniform, 1, uniform.length),
            noise_normal: dream.floats(normal, 1, normal.length), noise_termination: dream.floats(termination, 1) }};
          const {{ reward }} = await dream.step(action, temperature, noise);
          found.push([...dream.state.latents.data, ...dream.state.hidden.data, reward.data[0]]);
        }}
        return found;
    """)
    assert np.abs(np.array(ours) - np.array(theirs)).max() < 1e-3


@pytest.mark.slow
def test_a_key_changes_the_dream(browser: Browser) -> None:
    browser.run("dream.stopped = true; await new Promise((resolve) => setTimeout(resolve, 1000));")
    step = """
        dream.from ??= dream.state;
        dream.given ??= dream.noise();
        dream.state = dream.from;
        await dream.step(await dream.action(), 1, dream.given);
        await dream.draw();
        return [dream.keys(), Array.from(dream.state.latents.data)];
    """
    idle = browser.run(step)
    browser.ask("Input.dispatchKeyEvent", type="keyDown", key="ArrowRight", code="ArrowRight")
    right = browser.run(step)
    browser.ask("Input.dispatchKeyEvent", type="keyUp", key="ArrowRight", code="ArrowRight")
    assert browser.run(step) == idle
    assert idle[0] == [0] and right[0] == [1] and idle[1] != right[1]
    browser.run("element('driver').value = 'controller'")
    assert browser.run("return (await dream.action()).length") == 1


# --- without a browser ---


def test_the_page_needs_no_network(tmp_path: Path) -> None:
    web.write_page(tmp_path / "page", {"world.json": b"{}", "step.onnx": b"x" * 9}, "a <game>")
    text = (tmp_path / "page/index.html").read_text()
    assert "A dream of a &lt;game&gt;" in text and text.index("page.js") < text.index("files/0.js") < text.index(
        "start()"
    )
    for path in (tmp_path / "page").rglob("*"):
        if path.is_file():
            assert not re.search(r"https?://|//cdn", path.read_text()), path


def test_another_runtime_is_refused(monkeypatch: pytest.MonkeyPatch, tiny_world: Path, tmp_path: Path) -> None:
    monkeypatch.setattr(web.shutil, "which", lambda name: None)
    with pytest.raises(MissingPackage, match="no npm"):
        main(ExportOptions(world=str(tiny_world), web=str(tmp_path / "page")))
    monkeypatch.setattr(web.shutil, "which", lambda name: "false")
    with pytest.raises(MissingPackage, match="`npm pack` failed"):
        main(ExportOptions(world=str(tiny_world), web=str(tmp_path / "page")))
    assert not (tmp_path / "page").exists()


def test_two_exports_need_two_folders(tiny_world: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match="web: got"):
        main(ExportOptions(world=str(tiny_world), web=str(tmp_path / "a"), onnx=str(tmp_path / "a")))
