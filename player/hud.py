"""The head-up display: what the player shows at a tick, as a `Scene`."""

from __future__ import annotations

from player.guides import HELP
from player.player import Player
from player.scene import Picture, Plot, Scene

TITLES = {"game": "real game"}  # of views, where the title is not the name


def scene_of(player: Player) -> Scene:
    """What is shown at this tick."""
    views = player.views
    primary = views.primary
    return Scene(
        pictures=_pictures(player),
        message=_message(player),
        message_at_top=not player.settings & {"help", "pause"},  # leave the middle of the picture free
        smooth="smooth" in player.settings,
        editor=player.editor,
        scores=_scores(player),
        best_scores=_best_scores(player),
        driver=player.driver.words,
        temperature="" if views.shown == "game" else _temperature(player),
        temperature_fraction=player.temperature_fraction,
        plots=[
            Plot(view.judgement, list(view.history), view.history.maxlen or 2, view.history_range)
            for view in views.visible
        ],
        gauges=[] if primary.action is None else primary.guide.gauges(primary.action, primary.instruments),
        goal=primary.guide.goal,
    )


def _pictures(player: Player) -> list[Picture]:
    frames = player.frames()
    if not player.replayed and len(frames) == 1:
        return [Picture(frames[0][1])]
    replayed = ["the last second, slowly"] if player.replayed else []
    return [Picture(frame, [TITLES.get(name, name), *replayed]) for name, frame in frames]


def _scores(player: Player) -> list[str]:
    """The score, of each view if there are two, and the time."""
    phase, visible = player.clock.phase, player.views.visible
    names = [view.name for view in visible] if len(visible) > 1 else ["score"]
    scores = [f"{name} {view.score(phase):.0f}" for name, view in zip(names, visible, strict=True)]
    return ["   ".join(scores), f"{player.seconds:.1f} s"]


def _best_scores(player: Player) -> list[str]:
    """Your best score and the controller's, each on its own."""
    controller = player.driver.controller
    return player.scoreboard.bests.texts([controller] if controller else [], player.views.primary.name)


def _temperature(player: Player) -> str:
    """The temperature, and whether it rises."""
    rises = player.rising and player.temperature_rises and player.temperature < player.rising.full - 0.001
    return f"temperature {player.temperature:.2f}{' (rising)' if rises else ''}"


def _message(player: Player) -> list[str]:
    """Lines of text for the middle of the picture."""
    clock, primary = player.clock, player.views.primary
    if "help" in player.settings:
        return list(HELP)
    if player.notice_ticks > 0:
        return [player.notice]
    if player.editor:
        return []
    if "pause" in player.settings:
        return ["paused", "P: go on"]
    if clock.countdown:
        return [str(clock.count), primary.guide.goal, primary.guide.keys]
    if player.over:
        return _end(player)
    if primary.off_track and primary.guide.off_track_text:
        return [primary.guide.off_track_text]
    return []


def _end(player: Player) -> list[str]:
    """How the episode ended, its score, and the best ones."""
    primary = player.views.primary
    place = "In the dream: " if player.views.shown == "dream" else ""
    best = ", a new best" if player.scoreboard.new_best else ""
    score = f"score {primary.total:.0f} {primary.guide.unit}{best}"
    again = ["R: play again"] if player.clock.timing.wait else []
    return [place + primary.ending, score, *_best_scores(player), *again]
