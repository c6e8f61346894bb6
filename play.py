"""The human's seat: play a dream by keyboard, or record one to a GIF.

    python play.py                                   # a window, at the game's own speed
    python play.py --world runs/mine/world --temperature 1.3 --driver controller
    python play.py --headless --record recordings --steps 600

Keys: arrows or W/A/S/D move, [ and ] change the temperature, R new episode, P or space pauses, C lets the
controller drive (and you again), H help, Q or escape quits.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # standard output is ours

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray

import wm_envs  # noqa: F401 (registers the ids)
from wm_envs.controller import ControllerConfig, act
from wm_envs.errors import InvalidOption, MissingPackage, UnknownName, WorldModelError
from wm_envs.files import write_bytes
from wm_envs.world_model import WorldModel
from wm_envs.worlds import load_controller

try:
    import pygame
    from PIL import Image
except ImportError as _error:
    _missing: ImportError | None = _error
else:
    _missing = None

TEMPERATURES = (0.05, 3.0)
TEMPERATURE_STEP = 0.05
DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, 1), "down": (0, -1)}  # right, up
DRIVERS = ("you", "controller", "random")
GIF_SCALE, GIF_FRAMES, GIF_COLOURS = 5, 150, 40  # chosen to stay below about 3 MB
WINDOW = (640, 640)
HELP = (
    "arrows, W/A/S/D   move",
    "[   ]   temperature",
    "R   new episode",
    "P, space   pause",
    "C   controller / you",
    "H   this help",
    "Q, escape   quit",
)

Controller = tuple[ControllerConfig, torch.Tensor]


class Player:
    """Plays a dream one tick of the game at a time; knows nothing of windows and keyboards.

    M steps `frame_skip` ticks at once. The ticks between are V's decodings of interpolated latents, so
    what is seen runs one step behind what M knows. `rest` ticks are spent looking at an episode's end.
    """

    def __init__(
        self, env: gym.Env[Any, Any], driver: str, controller: Controller | None, seed: int | None = None,
        rest: int = 0,
    ) -> None:  # fmt: skip
        self.dream: Any = env.unwrapped
        self.env, self.driver, self.controller, self.rest = env, driver, controller, rest
        self.world: WorldModel = env.get_wrapper_attr("world")
        self.task = self.world.task
        self.skip: int = self.world.config.frame_skip
        self.random = np.random.default_rng(seed)
        self.held: list[str] = []  # directions now held down; of left and right, and of up and down, the last counts
        self.tapped: list[str] = []  # a key may go down and up again between two steps: it still counts
        self.hold, self.action = 0, 0  # of random play: steps left, and what it does meanwhile
        self.paused = self.help = self.quitting = False
        self.played = 0
        self.scores: list[float] = []
        self.begin(seed)

    def begin(self, seed: int | None = None) -> None:
        """Begin an episode."""
        self.env.reset(seed=seed)
        self.before = self.after = self.dream.state.latents
        self.phase = self.skip  # ticks of the current step that have been shown
        self.total = self.reward = self.end_probability = 0.0
        self.ending = ""
        self.waited = 0
        self.hold = 0

    def tick(self) -> None:
        """Let one tick of the game pass."""
        if self.paused or self.help:
            return
        if self.ending and self.phase == self.skip:
            self.waited += 1
            if self.waited > self.rest:
                self.begin()
            return
        if self.phase == self.skip:
            self._step()
        self.phase += 1
        self.played += 1
        if self.ending and self.phase == self.skip:
            self.scores.append(self.total)

    def _step(self) -> None:
        self.before = self.after
        _, reward, terminated, truncated, info = self.env.step(self._choose())
        self.after, self.phase = self.dream.state.latents, 0
        self.reward, self.end_probability = float(reward), info["end_probability"]
        self.total += self.reward
        self.ending = "the dream has ended" if terminated else "you reached the limit" if truncated else ""

    def _choose(self) -> NDArray[np.float32]:
        """The driver's action for the next step, (A,)."""
        pressed, self.tapped = [*self.tapped, *self.held], []
        if self.driver == "controller" and self.controller:
            config, parameters = self.controller
            features = self.world.observe(self.dream.state, config.observation).cpu()
            return act(config, parameters, features)[0].numpy()
        if self.driver == "random":
            return self._choose_at_random()
        steps = np.array([(0, 0), *(DIRECTIONS[key] for key in pressed)])
        right, up = (int(axis[np.flatnonzero(axis)[-1]]) if axis.any() else 0 for axis in steps.T)
        return np.array(self.task.by_keys(right, up), np.float32)

    def _choose_at_random(self) -> NDArray[np.float32]:
        # An action redrawn at every step would cancel itself out: hold it as long as the task's random play does.
        if self.hold == 0:
            low, high = self.random.choice(self.task.hold_scales)
            self.hold = math.ceil(self.random.integers(low, high + 1) / self.skip)
            self.action = int(self.random.integers(len(self.task.discrete_actions)))
        self.hold -= 1
        return np.array(self.task.discrete_actions[self.action], np.float32)

    def press(self, command: str) -> None:
        """A key with a meaning went down."""
        if command in DIRECTIONS:
            self.tapped.append(command)
            self.held.append(command)
        elif command in ("cooler", "warmer"):
            change = TEMPERATURE_STEP if command == "warmer" else -TEMPERATURE_STEP
            # Rounded, so that twenty steps of 0.05 are 1 and not 1.0000000000000002.
            self.dream.temperature = float(np.clip(round(self.dream.temperature + change, 4), *TEMPERATURES))
        elif command == "reset":
            self.begin()
        elif command == "driver":
            self.driver = "controller" if self.controller and self.driver != "controller" else "you"
        else:
            setattr(self, command, not getattr(self, command))  # paused, help, quitting

    def release(self, command: str) -> None:
        """A key with a meaning went up."""
        if command in self.held:
            self.held.remove(command)

    def frame(self) -> NDArray[np.uint8]:
        """V's picture of this tick, (64, 64, 3)."""
        latents = torch.lerp(self.before, self.after, self.phase / self.skip)
        return self.world.decode(latents)[0].cpu().numpy()

    def hud(self) -> tuple[list[str], list[str]]:
        """Words for the upper and the lower line."""
        score = self.total - self.reward * (1 - self.phase / self.skip)  # as far as it has been shown
        ticks = int(self.dream.state.ticks[0]) - (self.skip - self.phase)
        seconds = max(ticks, 0) / self.task.ticks_per_second
        best = f"{max(self.scores):.0f}" if self.scores else "-"
        return (
            [f"score {score:.0f}", f"time {seconds:.1f} s", f"best {best}"],
            [f"temp {self.dream.temperature:.2f}", f"end {self.end_probability:.1%}", self.driver],
        )

    def message(self) -> list[str]:
        """Lines for the middle of the picture."""
        if self.help:
            return list(HELP)
        if self.paused:
            return ["paused"]
        if self.ending and self.phase == self.skip:
            return [self.ending, f"score {self.total:.0f}"]
        return []


class Screen:
    """Draws a `Player` with pygame, and tells it of the keyboard. Needs no display until `open`."""

    def __init__(self) -> None:
        pygame.font.init()
        self.fonts: dict[int, Any] = {}
        self.keys = {
            pygame.K_LEFT: "left", pygame.K_a: "left", pygame.K_RIGHT: "right", pygame.K_d: "right",
            pygame.K_UP: "up", pygame.K_w: "up", pygame.K_DOWN: "down", pygame.K_s: "down",
            pygame.K_LEFTBRACKET: "cooler", pygame.K_RIGHTBRACKET: "warmer", pygame.K_r: "reset", pygame.K_c: "driver",
            pygame.K_SPACE: "paused", pygame.K_p: "paused", pygame.K_h: "help",
            pygame.K_q: "quitting", pygame.K_ESCAPE: "quitting",
        }  # fmt: skip

    def open(self, title: str) -> bool:
        """Open a window; False where there is no display."""
        try:
            pygame.display.init()
            # Without a display SDL falls back to one that nobody can see, unless it was asked for.
            if pygame.display.get_driver() in ("dummy", "offscreen") and not os.environ.get("SDL_VIDEODRIVER"):
                return False
            pygame.display.set_caption(title)
            pygame.display.set_mode(WINDOW, pygame.RESIZABLE)
        except pygame.error:
            return False
        return True

    def handle(self, event: Any, player: Player) -> None:
        """Pass on what an event means."""
        if event.type == pygame.QUIT:
            player.quitting = True
        elif event.type == pygame.WINDOWFOCUSLOST:
            player.held.clear()  # the key's release goes to another window
        elif event.type in (pygame.KEYDOWN, pygame.KEYUP):
            # On many keyboards the brackets are no keys of their own: go by the character then.
            typed = {"[": "cooler", "]": "warmer"}.get(getattr(event, "unicode", ""))
            command = typed or self.keys.get(event.key)
            if command:
                (player.press if event.type == pygame.KEYDOWN else player.release)(command)

    def draw(self, player: Player, size: tuple[int, int]) -> Any:
        """A picture of `size`: V's frame as large as fits, with the HUD over it."""
        picture = pygame.Surface(size)
        side = max(min(size), 1)
        frame = pygame.surfarray.make_surface(player.frame().swapaxes(0, 1))
        corner = ((size[0] - side) // 2, (size[1] - side) // 2)
        picture.blit(pygame.transform.scale(frame, (side, side)), corner)  # nearest: pixels stay crisp
        font = self._font(max(side // 14, 16))
        area = pygame.Rect(corner, (side, side))
        height = font.get_linesize() + 4
        upper, lower = player.hud()
        self._line(picture, font, upper, pygame.Rect(area.left, area.top, side, height))
        self._line(picture, font, lower, pygame.Rect(area.left, area.bottom - height, side, height))
        message = player.message()
        top = area.centery - len(message) * height // 2
        for number, text in enumerate(message):
            self._line(picture, font, [text], pygame.Rect(area.left, top + number * height, side, height))
        return picture

    def _font(self, size: int) -> Any:
        if size not in self.fonts:
            self.fonts[size] = pygame.font.Font(None, size)
        return self.fonts[size]

    def _line(self, picture: Any, font: Any, words: list[str], area: Any) -> None:
        """Words spread over a dark strip: the first to the left, the last to the right."""
        strip = pygame.Surface(area.size, pygame.SRCALPHA)
        strip.fill((0, 0, 0, 150))
        picture.blit(strip, area)
        for number, word in enumerate(words):
            text = font.render(word, True, (255, 255, 255))
            share = number / (len(words) - 1) if len(words) > 1 else 0.5
            left = area.left + 6 + share * (area.width - 12 - text.get_width())
            picture.blit(text, (left, area.top + 2))


class Recorder:
    """Keeps one picture in `stride` ticks, about `GIF_FRAMES` in all, and writes them as a GIF."""

    def __init__(self, folder: Path, ticks: int | None) -> None:
        self.path = folder / "dream.gif"
        self.stride = max(2, math.ceil((ticks or 0) / GIF_FRAMES))
        self.pictures: list[Any] = []
        self.seen = 0
        try:  # now, rather than after the playing
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            given = f"{folder} ({error.strerror})"
            raise InvalidOption("record", given, "a folder that can be written", "give another") from error

    def add(self, screen: Screen, player: Player) -> None:
        """Take a picture if it is time for one."""
        if self.seen % self.stride == 0:
            side = 64 * GIF_SCALE
            pixels = pygame.image.tobytes(screen.draw(player, (side, side)), "RGB")
            picture = Image.frombytes("RGB", (side, side), pixels)
            self.pictures.append(picture.quantize(GIF_COLOURS, dither=Image.Dither.NONE))  # dither compresses badly
        self.seen += 1
        if len(self.pictures) > 1.5 * GIF_FRAMES:  # a long session: half as many frames a second, from the beginning
            self.pictures, self.stride = self.pictures[::2], self.stride * 2

    def save(self, ticks_per_second: int) -> Path:
        """Write the GIF, whole or not at all."""
        # A GIF counts in hundredths of a second: round the times, not the durations, to keep the game's speed.
        times = [round(100 * i * self.stride / ticks_per_second) * 10 for i in range(len(self.pictures) + 1)]
        first, *others = self.pictures
        data = io.BytesIO()
        durations = np.diff(times).tolist()
        first.save(data, "GIF", save_all=True, append_images=others, duration=durations, loop=0)
        write_bytes(self.path, data.getvalue())
        return self.path


def run(player: Player, screen: Screen, recorder: Recorder | None, steps: int | None, window: bool) -> None:
    """Play until the player quits or `steps` ticks have passed; without a window as fast as it goes."""
    clock = pygame.time.Clock()
    while not player.quitting and (steps is None or player.played < steps):
        for event in pygame.event.get() if window else ():
            screen.handle(event, player)
        player.tick()
        if recorder and not player.paused:
            recorder.add(screen, player)
        if window:
            surface: Any = pygame.display.get_surface()  # another one after each change of its size
            surface.blit(screen.draw(player, surface.get_size()), (0, 0))
            pygame.display.flip()
            clock.tick(player.task.ticks_per_second)


# --- the command line ------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InvalidOption("command line", message, "the options of `python play.py --help`", "correct that option")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options, checked; raises `InvalidOption`."""
    parser = _Parser(prog="play.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", default="takecover", help="a shipped world's name, or the folder of one (takecover)")
    parser.add_argument("--temperature", type=float, help="0.05 to 3; higher is harder (the world's own)")
    parser.add_argument("--driver", choices=DRIVERS, help="who plays (you; headless: the controller if there is one)")
    parser.add_argument("--seed", type=int, help="the same seed and moves give the same dream")
    parser.add_argument("--headless", action="store_true", help="no window: record a GIF")
    parser.add_argument("--record", metavar="DIR", help="write DIR/dream.gif (recordings, when headless)")
    parser.add_argument("--steps", type=int, help="stop after so many ticks of the game (600, when headless)")
    parser.add_argument("--json", action="store_true", help="print a last line of JSON")
    options = parser.parse_args(argv)
    low, high = TEMPERATURES
    if options.temperature is not None and not low <= options.temperature <= high:
        raise InvalidOption("temperature", options.temperature, f"a number from {low} to {high}", "try 1.0")
    if options.steps is not None and options.steps < 1:
        raise InvalidOption("steps", options.steps, "a whole number of at least 1", "try 600")
    if options.seed is not None and options.seed < 0:
        raise InvalidOption("seed", options.seed, "a whole number of at least 0", "try 0")
    if options.headless and options.driver == "you":
        raise InvalidOption("driver", "you", "controller or random when headless", "leave out --driver or --headless")
    return options


def find_controller(world: str, driver: str | None) -> Controller | None:
    """The world's first controller; None if it has none, unless it was asked for."""
    try:
        return load_controller(world)
    except UnknownName:
        if driver == "controller":
            raise
        return None


def play(options: argparse.Namespace) -> dict[str, Any]:
    """Play as the options say; returns what --json prints."""
    if _missing is not None:
        name = _missing.name or "pygame"
        raise MissingPackage(name, "not installed", "the extra 'play'", "pip install 'wm-envs[play]'")
    env = gym.make("WMDream-v0", world=options.world, temperature=options.temperature, render_mode="rgb_array")
    try:
        controller = find_controller(options.world, options.driver)
        screen = Screen()
        window = not options.headless and screen.open(f"{env.get_wrapper_attr('world').task.title}, dreamt")
        if not window and not options.headless:
            print("No display here: recording instead, as `python play.py --headless --record recordings` does.")
        steps = options.steps if window else options.steps or 600
        folder = options.record if window else options.record or "recordings"
        recorder = Recorder(Path(folder), steps) if folder is not None else None
        driver = options.driver or "you"
        if not window and driver == "you":  # nobody is at the keyboard
            driver = "controller" if controller else "random"
        player = Player(env, driver, controller, options.seed, rest=35 if window else 10)
        run(player, screen, recorder, steps, window)
        return report(player, recorder)
    finally:
        env.close()
        pygame.quit()


def report(player: Player, recorder: Recorder | None) -> dict[str, Any]:
    """Write the GIF, if there is one, and say what was played."""
    scores = [round(score, 1) for score in player.scores]
    print(f"{player.played} tics played; scores of finished episodes: {', '.join(map(str, scores)) or 'none'}")
    gif = recorder.save(player.task.ticks_per_second) if recorder and recorder.pictures else None
    if gif:
        print(f"wrote {gif} ({gif.stat().st_size / 1e6:.1f} MB)")
    return {"steps": player.played, "episodes": len(scores), "scores": scores, "gif": str(gif) if gif else None}


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0, or 2 for a mistake of the user's, said in one line."""
    try:
        options = parse(argv)
        result = play(options)
    except WorldModelError as error:
        print(f"play.py: {error}".replace("\n", " "), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    if options.json:
        print(json.dumps(result))
    return 0


if __name__ == "__main__":
    torch.set_num_threads(1)  # one dream is too small to share: on a busy computer, threads wait for each other
    sys.exit(main())
