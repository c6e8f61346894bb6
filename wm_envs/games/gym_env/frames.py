"""The picture that V sees, from whatever an environment shows: (64, 64, 3) uint8 RGB."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from wm_envs.errors import BrokenGame, MissingPackage
from wm_envs.games.base import FRAME_SHAPE, Frame, Task
from wm_envs.games.gym_env.description import parse

MIN_SIDE = 16  # pixels; a smaller observation is no picture (MiniGrid's has 7 x 7 cells)


def is_picture(space: spaces.Space[Any]) -> bool:
    """Whether an observation space holds pictures: 2 to 4 axes, bytes or numbers from 0 to 1."""
    if not isinstance(space, spaces.Box) or not 2 <= len(space.shape) <= 4:
        return False
    unit = bool((space.low >= 0).all() and (space.high <= 1).all())
    return sorted(space.shape)[-2] >= MIN_SIDE and (space.dtype == np.uint8 or unit)


def as_rgb(picture: Any) -> NDArray[np.uint8]:
    """A picture as (height, width, 3) uint8: grey or RGB, channels first or last, or stacked (the last one counts).

    Raises `BrokenGame` for something else.
    """
    image: NDArray[Any] = np.asarray(picture)
    if image.ndim == 4:
        image = image[-1]
    if image.ndim == 3 and image.shape[-1] not in (1, 3, 4) and image.shape[0] < MIN_SIDE:
        image = image.transpose(1, 2, 0) if image.shape[0] == 3 else image[-1]
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[-1] not in (1, 3, 4) or min(image.shape[:2]) < 1:
        raise BrokenGame("picture", f"an array of shape {np.shape(picture)}", "a grey or RGB picture", "wrap it as one")
    if image.dtype != np.uint8:
        if not np.isfinite(image).all():
            raise BrokenGame(
                "picture", "values that are not finite", "bytes, or numbers from 0 to 1", "fix the environment"
            )
        image = (image.clip(0, 1) * 255).round().astype(np.uint8)
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image[..., :3]


def small(picture: Any, crop: tuple[int, ...] = (0, 0, 0, 0)) -> Frame:
    """The (64, 64, 3) frame of a picture, resized by area. `crop`: pixels cut off at top, bottom, left and right."""
    try:
        import cv2
    except ImportError as error:
        raise MissingPackage("frames", "no package 'cv2'", "the extra 'env'", "pip install 'wm-envs[env]'") from error
    whole = as_rgb(picture)
    top, bottom, left, right = crop
    image = whole[top : whole.shape[0] - bottom, left : whole.shape[1] - right]
    if not image.size:
        raise BrokenGame("crop", crop, f"less than the picture, {whole.shape[:2]}", "crop less")
    shrinks = image.shape[0] >= FRAME_SHAPE[0] and image.shape[1] >= FRAME_SHAPE[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(np.ascontiguousarray(image), FRAME_SHAPE[1::-1], interpolation=method), np.uint8)


def env_frame(task: Task, env: Any, observation: Any) -> Frame:
    """The frame of an environment's observation, or of what it draws; see `Task.env_frame`."""
    found = parse(task.name)
    return small(env.render() if found.picture == "render" else observation, found.crop)
