"""The page in a real browser: it opens from the disk, plays, has PyTorch's numbers, and a key changes the dream."""

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
from training.stages.export import Command as ExportCommand
from training.stages.export import main
from wm_envs.errors import InvalidOption, MissingPackage
from wm_envs.worlds.bundle import load_world

pytest.importorskip("onnxscript")

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe")  # fmt: skip
STEPS, CLOSE = 40, 1e-3
PATIENCE = 300  # seconds


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
        os.close(theirs_in)
        os.close(theirs_out)
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

    def wait(self, condition: str) -> None:
        """Until a condition holds; the page's own error fails the test."""
        until = time.monotonic() + PATIENCE
        while not self.run(f"return typeof dream === 'object' && Boolean({condition})"):
            error = self.run("return typeof dream === 'object' && dream.error")
            assert not error and time.monotonic() < until, error or condition
            time.sleep(0.2)

    def stop(self) -> None:
        self.run("dream.stopped = true")
        self.wait("dream.idle")

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(30)
        os.close(self.read)
        os.close(self.write)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if BROWSER is None:
        pytest.skip("no Chromium")
    folder = tmp_path_factory.mktemp("web") / "page"
    try:
        found = main(ExportCommand.flat(world="takecover", web=str(folder)))
    except MissingPackage as error:
        pytest.skip(str(error))
    assert found.web.megabytes < 25
    return folder


@pytest.fixture
def browser(page: Path, tmp_path: Path) -> Iterator[Browser]:
    with contextlib.closing(Browser(page / "index.html", tmp_path / "profile")) as found:
        found.wait("dream.ready")
        yield found


@pytest.mark.slow
def test_a_step_has_the_numbers_of_pytorch(browser: Browser) -> None:
    world, generator = load_world("takecover"), torch.Generator().manual_seed(4)
    names, state = list(world.state_shapes(1)), world.initial_state(1, generator)
    steps, ours = [], []
    for _ in range(STEPS):
        noise, temperature = world.draw_noise(1, generator), 0.5 + torch.rand(1, 1, generator=generator)
        action = 2 * torch.rand(1, 1, generator=generator) - 1
        before = {name: part.flatten().tolist() for name, part in zip(names, state.tensors(), strict=True)}
        drawn = {f"noise_{name}": part.flatten().tolist() for name, part in noise._asdict().items()}
        steps.append([before, drawn, action[0].tolist(), float(temperature)])
        given = torch.from_numpy(world.task.actions.to_game(action.numpy()))
        state, outcome = world.step(state, given, noise, temperature)
        ours.append(np.concatenate([np.ravel(part.numpy()) for part in (*state.tensors(), *outcome)]))
    browser.stop()
    theirs = browser.run(f"""
        const tensor = ([name, values]) => [name, name === "ticks"
          ? new dream.ort.Tensor("int64", values.map(BigInt), [1])
          : dream.floats(values, ...(["noise_termination", "progress"].includes(name) ? [1] : [1, values.length]))];
        const tensors = (parts) => Object.fromEntries(Object.entries(parts).map(tensor)), found = [];
        for (const [before, drawn, action, temperature] of {json.dumps(steps)}) {{
          dream.state = tensors(before);
          const outputs = await dream.step(action, temperature, tensors(drawn));
          const names = [...dream.about.state.map((name) => `next_${{name}}`), "reward", "terminated"];
          found.push([...names, "termination_probability"].flatMap((name) => Array.from(outputs[name].data, Number)));
        }}
        return found;
    """)
    assert np.abs(np.array(ours) - np.array(theirs)).max() < CLOSE


@pytest.mark.slow
def test_a_key_and_a_button_change_the_dream(browser: Browser) -> None:
    browser.stop()
    step = """
        dream.first ??= [dream.state, dream.noise()];
        dream.state = dream.first[0];
        await dream.step(await dream.action(), 1, dream.first[1]);
        dream.hold();
        await dream.draw();
        return [dream.keys(), Array.from(dream.state.latents.data), element("picture").toDataURL()];
    """
    idle = browser.run(step)
    key = {"key": "ArrowRight", "code": "ArrowRight"}
    browser.ask("Input.dispatchKeyEvent", type="keyDown", **key)
    right = browser.run(step)
    browser.ask("Input.dispatchKeyEvent", type="keyUp", **key)
    assert browser.run(step) == idle
    x, y = browser.run("""
        const { x, y, width, height } = document.querySelector("[data-key=ArrowRight]").getBoundingClientRect();
        return [x + width / 2, y + height / 2];
    """)
    touches = [{"x": x, "y": y}]
    browser.ask("Input.dispatchTouchEvent", type="touchStart", touchPoints=touches)
    assert browser.run(step) == right
    browser.ask("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
    assert browser.run(step) == idle
    pad = "navigator.getGamepads = () => [null, { connected: true, axes: [%s], buttons: [%s] }]; "
    nothing = ", ".join(["{ pressed: false }"] * 16)
    for axes, buttons, seen in [("0.9, 0", nothing, right), ("0.2, 0", nothing, idle),
                                ("0, 0", f"{nothing[:-18]}{{ pressed: true }}", right)]:  # fmt: skip
        assert browser.run(pad % (axes, buttons) + step) == seen
    assert idle[0] == [0] and right[0] == [1] and all(a != b for a, b in zip(idle, right, strict=True))


@pytest.mark.slow
def test_the_page_plays(browser: Browser) -> None:
    """The picture changes within a step, too; the slider and the controllers act while it plays."""
    browser.run("""
        element("driver").value = "controller";
        element("temperature").value = 0.1;
        element("temperature").dispatchEvent(new Event("input"));
        const [draw, step] = [dream.draw, dream.step];
        dream.pictures = new Set();
        dream.draw = async () => { await draw(); dream.pictures.add(element("picture").toDataURL()); };
        dream.step = (action, temperature) => { dream.seen = [action, temperature]; return step(action, temperature); };
    """)
    browser.wait("dream.pictures.size > 12")
    browser.wait("dream.seen[0].length === 1 && dream.seen[0][0] !== 0 && dream.seen[1] === 0.1")  # you idle: 0
    assert re.match(r"Score \d+ . \d+\.\d s", browser.run("return element('score').textContent"))
    assert re.match(r"\d+ %", browser.run("return element('percent').value"))
    browser.wait("dream.over || dream.score > 100")


def test_the_page_needs_no_network(tmp_path: Path) -> None:
    web.write_page(tmp_path / "page", {"world.json": b"{}", "step.onnx": b"x" * 9}, "a <game>")
    text = (tmp_path / "page/index.html").read_text()
    order = [text.index(part) for part in ("page.js", "files/0.js", "start()")]
    assert "A dream of a &lt;game&gt;" in text and order == sorted(order)
    for path in (tmp_path / "page").rglob("*"):
        if path.is_file():
            assert not re.search(r"https?://|//cdn", path.read_text()), path


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (None, "no npm"),
        ("printf 'npm warn old\\nnpm error code E1\\nnpm error a log is in x\\n' >&2; exit 1", "npm error code E1"),
        ("exit 0", "no file"),
        ('mkdir package && echo > package/x && tar -czf "$3/x.tgz" package', "min.mjs is missing or another one"),
    ],
)  # fmt: skip
def test_another_runtime_is_refused(
    script: str | None, told: str, monkeypatch: pytest.MonkeyPatch, tiny_world: Path, tmp_path: Path
) -> None:
    npm = tmp_path / "npm"
    npm.write_text(f"#!/bin/sh\nshift\n{script}\n")
    npm.chmod(0o755)
    monkeypatch.setattr("training.exports.web.shutil.which", lambda name: script and str(npm))
    with pytest.raises(MissingPackage, match=told) as found:
        main(ExportCommand.flat(world=str(tiny_world), web=str(tmp_path / "page")))
    assert web.PACKAGE in found.value.expected and not (tmp_path / "page").exists()


def test_two_exports_need_two_folders(tiny_world: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match="web: got"):
        main(ExportCommand.flat(world=str(tiny_world), web=str(tmp_path / "a"), onnx=str(tmp_path / "a")))
