"""Look at an environment once and describe it."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import json
import os
import time
import warnings
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from pydantic import ValidationError

from wm_envs.errors import InvalidOption, MissingPackage
from wm_envs.games.base import PLAY_KEYS, Keywords
from wm_envs.games.gym_env.actions import MAX_SIZE, ActionCodec
from wm_envs.games.gym_env.description import MAX_TICKS, EnvDescription, Picture
from wm_envs.games.gym_env.frames import is_picture
from wm_envs.games.gym_env.game import MODULES, GymGame, find_spec, make_env
from wm_envs.validation import first_problem

TICK_LIMIT = 1000  # of an environment whose spec has no limit of steps
TRIED = 30  # steps
LIMIT_EPISODES, LIMIT_SECONDS = 3, 1.0  # played to find a limit; the first of them for at most so long
HELD = 8  # steps for which they hold an action, because only the last one is drawn
MOVES = {  # names of actions -> the player's keys right and up
    "RIGHT": (1, 0), "LEFT": (-1, 0), "UP": (0, 1), "FORWARD": (0, 1), "DOWN": (0, -1), "TOGGLE": (0, -1),
}  # fmt: skip
KEYS = {key: direction for direction, keys in PLAY_KEYS.items() for key in keys}


def describe(
    env: str, kwargs: Mapping[str, Any] | None = None, crop: tuple[int, ...] = (0, 0, 0, 0), tick_limit: int = 0,
    life_loss_ends: bool = False,
) -> EnvDescription:  # fmt: skip
    """The description of an environment by its id, or `module:id` as `gym.make` takes it.

    `crop`: pixels cut off at top, bottom, left and right of its picture. `tick_limit`: steps of an episode (0: those of
    its spec, else those after which it always truncates an episode by itself, else 1,000). The environment is opened,
    reset twice and played for 30 steps, or for some episodes to find its limit. An environment that ignores its seed is
    warned about. Raises `UnknownName`, `MissingPackage`, `InvalidOption` or `BrokenGame`.
    """
    module, _, env_id = env.rpartition(":")
    if module:
        import_module(module)
    kwargs = _plain(kwargs or {})
    spec = find_spec(env_id)
    picture = _picture(env_id, kwargs)
    opened = make_env(env_id, kwargs, picture)
    try:
        actions = ActionCodec.of(opened.action_space)
        if actions.size > MAX_SIZE:
            expected = f"at most {MAX_SIZE} numbers"
            raise InvalidOption("env", f"an action of {actions.size} numbers", expected, "wrap it with fewer actions")
        own = getattr(opened.unwrapped, "max_steps", None)  # MiniGrid's name for it
        limit = tick_limit or spec.max_episode_steps or (own if isinstance(own, int) and own > 0 else 0)
        sides: Any = tuple(crop)
        found = EnvDescription(
            env_id, actions, kwargs, picture, sides, min(limit or TICK_LIMIT, MAX_TICKS), _speed(opened), _idle(opened),
            _keys(opened, actions), life_loss_ends, _versions(spec),
        )  # fmt: skip
    except ValidationError as error:
        expected = "an environment that worlds can be trained on"
        raise InvalidOption("env", f"{env_id}: {first_problem(error)}", expected, "wrap the environment") from error
    finally:
        opened.close()
    _try(found)
    return found if limit else dataclasses.replace(found, tick_limit=_own_limit(found) or TICK_LIMIT)


def import_module(module: str) -> None:
    """Import a module that the user named, here and in all worker processes to come."""
    try:
        importlib.import_module(module)
    except ImportError as error:
        fix = f"install it, or run where Python finds {module}"
        raise MissingPackage("env", f"{module}, which cannot be imported ({error})", "a module", fix) from error
    known = [each for each in os.environ.get(MODULES, "").split(",") if each]
    os.environ[MODULES] = ",".join(dict.fromkeys([*known, module]))


def _plain(kwargs: Mapping[str, Any]) -> Keywords:
    """Keywords as JSON has them; raises `InvalidOption`."""
    try:
        found = json.loads(json.dumps(dict(kwargs)))
    except (TypeError, ValueError) as error:
        raise InvalidOption("env_kwargs", kwargs, "JSON values", "give numbers, words, lists and dicts") from error
    for name in ("render_mode", "max_episode_steps"):
        if name in found:
            raise InvalidOption("env_kwargs", {name: found[name]}, "keywords of the game", f"omit {name}")
    return dict(found)


def _picture(env_id: str, kwargs: Keywords) -> Picture:
    """Whether V sees the observation or what the environment draws; raises `InvalidOption` if neither is a picture."""
    plain = make_env(env_id, kwargs, "observation")
    try:
        if is_picture(plain.observation_space):
            return "observation"
        if "rgb_array" in plain.metadata.get("render_modes", []):
            return "render"
        given = f"{env_id}, with the observation {plain.observation_space} and no render mode rgb_array"
    finally:
        plain.close()
    raise InvalidOption("env", given, "pictures", "give the environment a render mode rgb_array, or wrap it")


def _speed(env: gym.Env[Any, Any]) -> int:
    """Steps per second, for the player."""
    fps = env.metadata.get("render_fps") or 30
    return int(min(max(round(float(fps)), 1), 240))


def _meanings(env: gym.Env[Any, Any]) -> list[str]:
    """Names of the discrete actions, as Atari's and MiniGrid's environments have them.

    A game of MiniGrid may have only the first few of those that it names.
    """
    named = getattr(env.unwrapped, "get_action_meanings", None)
    members = getattr(getattr(env.unwrapped, "actions", None), "__members__", ())
    names = [str(name).upper() for name in (named() if named else members)]
    return names[: int(getattr(env.action_space, "n", len(names)))]


def _idle(env: gym.Env[Any, Any]) -> tuple[int, ...]:
    return tuple(i for i, name in enumerate(_meanings(env)) if name == "NOOP") or ((0,) if _is_box(env) else ())


def _is_box(env: gym.Env[Any, Any]) -> bool:
    return isinstance(env.action_space, gym.spaces.Box)


def _keys(env: gym.Env[Any, Any], actions: ActionCodec) -> tuple[tuple[int, int, int], ...]:
    """(right, up, choice) for the keys of the player: the environment's own, else the names of its actions, else in
    order right, left, up, down."""
    if own := _own_keys(env, actions):
        return own
    meanings = _meanings(env)
    named = {MOVES[name]: i for i, name in enumerate(meanings) if name in MOVES}
    if "FIRE" in meanings:  # without it, many games do not begin
        named.setdefault((0, 1), meanings.index("FIRE"))
    if named:
        return tuple((*keys, choice) for keys, choice in named.items())
    count, first = len(actions.choices), 1 if len(actions.choices) > 2 else 0
    order = ((1, 0), (-1, 0), (0, 1), (0, -1)) if first else ((-1, 0), (1, 0))
    return tuple((*keys, first + i) for i, keys in enumerate(order) if first + i < count)


def _own_keys(env: gym.Env[Any, Any], actions: ActionCodec) -> tuple[tuple[int, int, int], ...]:
    named = getattr(env.unwrapped, "get_keys_to_action", None)
    if named is None or actions.kind != "discrete":
        return ()
    found = {}
    for keys, action in named().items():
        pressed = [KEYS.get(key, KEYS.get(str(key))) for key in (keys if isinstance(keys, tuple) else (keys,))]
        if pressed and all(pressed):
            right, up = (int(np.sign(sum(side))) for side in zip(*pressed, strict=True))
            found[right, up] = int(action) - actions.starts[0]
    return tuple((*keys, choice) for keys, choice in sorted(found.items()) if 0 <= choice < actions.sizes[0])


def _versions(spec: Any) -> dict[str, str]:
    """Versions of Gymnasium and of the package that the environment's code comes from."""
    module = spec.entry_point.split(":")[0] if isinstance(spec.entry_point, str) else spec.entry_point.__module__
    packages = importlib.metadata.packages_distributions().get(module.split(".")[0], [])
    return {name: importlib.metadata.version(name) for name in sorted({"gymnasium", *packages})}


def _try(found: EnvDescription) -> None:
    """Play a few steps, twice from the same seed; warns if the seed changes nothing."""
    game = GymGame(found.name)
    codec, rng = found.actions, np.random.default_rng(0)
    try:
        first = game.reset(0)
        for _ in range(TRIED):
            action = codec.choices[rng.integers(len(codec.choices))]
            if game.advance(np.array(action, np.float32), 1).over:
                break
        if not np.array_equal(first, game.reset(0)):
            warnings.warn(
                f"{found.id} ignores its seed: the first pictures of two resets with the same seed differ. "
                "Its episodes cannot be repeated, so a resumed run has other ones.",
                stacklevel=3,
            )
    finally:
        game.close()


def _own_limit(found: EnvDescription) -> int:
    """The step at which the environment truncates every episode by itself; 0 if there is none up to the tick limit."""
    game, rng, lengths = GymGame(found.name), np.random.default_rng(0), set()
    until = time.monotonic() + LIMIT_SECONDS
    try:
        for episode in range(LIMIT_EPISODES):
            game.reset(episode)
            played, truncated = 0, False
            while not truncated:
                action = np.array(found.actions.choices[rng.integers(len(found.actions.choices))], np.float32)
                tick = game.advance(action, min(HELD, found.tick_limit - played))
                played, truncated = played + tick.ticks, tick.truncated
                late = played >= found.tick_limit or (episode == 0 and time.monotonic() > until)
                if tick.terminated or (late and not truncated):
                    return 0
            lengths.add(played)
    finally:
        game.close()
    return lengths.pop() if len(lengths) == 1 else 0
