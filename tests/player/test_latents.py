"""The latent editor, and what the latent dimensions do."""

from pathlib import Path

import numpy as np
import pygame
import pytest
import torch

from player.hud import scene_of
from player.latents import NAMES, Editor, describe, known_names
from player.screen import Screen
from tests.player.helpers import make_player, press, send, tick
from wm_envs.worlds.bundle import read_config, resolve, shipped_worlds


def test_editor_changes_latents_and_sets_them_in_the_dream(window: Screen, tiny_world: Path) -> None:
    player = make_player(tiny_world)
    dream = player.views.dream
    tick(player, 8)
    state, total = dream.state, dream.total
    press(player, "editor")
    editor = player.editor
    assert editor and torch.equal(editor.latents, state.latents) and editor.latents is not state.latents
    tick(player, 5)
    assert player.clock.played == 8, "no ticks while the editor is open"
    press(player, "down", "right", "right")
    assert editor.value(1) == pytest.approx(float(state.latents[0, editor.order[1]]) + 0.5)
    assert window.draw(scene_of(player), (800, 400)).get_size() == (800, 400)
    assert sorted(name for name in window.sliders if isinstance(name, int)) == [0, 1, 2, 3]
    area = window.sliders[2]
    send(window, player, pygame.MOUSEBUTTONDOWN, pos=(area.right - 1, area.centery), button=1)
    assert editor.selected == 2 and editor.value(2) == pytest.approx(4.0, abs=0.1)
    expected = editor.latents.clone()
    press(player, "enter")
    assert player.editor is None and torch.equal(dream.state.latents, expected)
    assert torch.equal(dream.state.recurrent[0], state.recurrent[0]) and dream.state.ticks == state.ticks
    assert dream.total == total
    assert player.scoreboard.eligible is None, "a game with edited latents does not count"
    assert np.array_equal(player.frames()[0][1], dream.world.decode(expected)[0].numpy())
    press(player, "editor", "editor")
    assert player.editor is None


def test_editor_orders_dimensions_by_variance(tiny_world: Path) -> None:
    dream = make_player(tiny_world).views.dream
    editor = Editor(dream.world, dream.state.latents)
    noise = dream.world.initial_logvars.mean(dim=0)[editor.order]
    assert (noise.diff() >= 0).all() and sorted(editor.order) == list(range(4))
    editor.move(-5)
    assert editor.selected == 0
    editor.turn(100)
    assert editor.value(0) == 4.0 and editor.fraction(0) == 1.0


def test_shipped_worlds_have_names_for_latents() -> None:
    for world in shipped_worlds():
        names = known_names(read_config(resolve(world)))
        assert names in NAMES.values() or names == {}, "a world trained again has no names yet"
    assert known_names({"files": {}}) == {}


def test_other_latents_are_described_by_their_decodings(world: str) -> None:
    dark = np.zeros((64, 64, 3), np.uint8)
    left = dark.copy()
    left[20:40, :15] = 200
    assert describe(dark, left) == "changes the left: dark / bright"
    assert describe(dark, dark) == "changes hardly anything"
    assert describe(dark, dark + 200) == "changes the whole picture"
    dream = make_player(world).views.dream
    editor = Editor(dream.world, dream.state.latents, {0: "known"})
    assert editor.name(editor.order.index(0)) == "known" and editor.name(editor.order.index(1)).startswith("changes")
    strip = editor.strip()
    assert len(strip) == 5 and strip is editor.strip()
    editor.turn(4)
    assert strip is editor.strip(), "the strip shows all values of the selected dimension"
