"""What the player says while it plays: numbers as words, the lines of a recording, and the messages."""

from __future__ import annotations

from player.player import Player
from player.scores import YOU
from player.views import GameView

HELP = (
    "arrows, W/A/S/D, gamepad: move",
    "R: new game    P, . or space: pause",
    "[ and ]: temperature",
    "M: you, controller or random    C: next controller",
    "V: dream, real game or both",
    "Y: set the dream to the game's state",
    "E: one step    L: latent editor",
    "G: save the last seconds    B: smooth picture",
    "H: this help    Escape: start screen    Q: quit",
)
EDITOR_HELP = ("up, down: choose    left, right: change", "Enter: put it into the dream    L: close")
TEMPERATURE_HELP = "The temperature is how random the dream is: a low one is calm and easy, a high one wild and hard."


def danger_word(probability: float) -> str:
    """A word for M's probability that the episode ends with the next step."""
    limits = ((0.01, "low"), (0.1, "some"), (0.4, "high"))
    return next((word for limit, word in limits if probability < limit), "very high")


def surprise_words(surprise: float, typical: float) -> str:
    """Words for M's prediction error (nats per dimension), compared with its mean on held-out episodes."""
    limits = ((0.25, "the dream expected this"), (0.75, "a small surprise"))
    return next((words for limit, words in limits if surprise < typical + limit), "the dream was surprised")


def best_texts(player: Player) -> list[str]:
    """Your best score and the controller's, each on its own."""
    names = [(YOU, "your best")]
    if player.controller:
        names.append((player.controller, f"best of '{player.controller}'"))
    scores = [(text, player.bests.best(name, player.lead.name)) for name, text in names]
    return [f"{text}: {'none' if score is None else f'{score:.0f}'}" for text, score in scores]


def who_text(player: Player) -> str:
    """Who plays."""
    return {YOU: "you play", "random": "random play"}.get(player.name, f"'{player.name}' plays")


def temperature_text(player: Player) -> str:
    """The temperature, and whether it rises."""
    rising = player.rising and player.view == "dream" and player.driver == YOU
    more = " (rising)" if rising and player.rising and player.temperature < player.rising.full - 0.001 else ""
    return f"temperature {player.temperature:.2f}{more}"


def score_texts(player: Player) -> list[str]:
    """The score, of each view if there are two, and the time."""
    if len(player.views) > 1:
        scores = "   ".join(f"{view.name} {player.score(view):.0f}" for view in player.views)
    else:
        scores = f"score {player.score(player.lead):.0f}"
    return [scores, f"{player.seconds:.1f} s"]


def danger_texts(player: Player) -> list[str]:
    """The danger in the dream and the dream's surprise about the game, of what is visible."""
    texts = []
    for view in player.views:
        if isinstance(view, GameView):
            texts.append(surprise_words(view.surprise, view.typical_surprise))
        elif view.ending:
            texts.append("the dream has ended")
        else:
            texts.append(f"danger: {danger_word(player.dream.termination_probability)}")
    return texts


def recording_lines(player: Player) -> tuple[list[str], list[str]]:
    """The upper and the lower line of a recorded picture."""
    lower = [who_text(player), *([] if player.view == "game" else [f"temperature {player.temperature:.2f}"])]
    return score_texts(player), lower


def message(player: Player) -> list[str]:
    """Lines of text for the middle of the picture."""
    if player.help:
        return list(HELP)
    if player.notice_ticks > 0:
        return [player.notice]
    if player.editor:
        return []
    if player.paused:
        return ["paused", "P: go on"]
    if player.countdown:
        left = -(-3 * player.countdown // player.pace.countdown)
        return [str(left), player.guide.goal, player.guide.keys]
    if player.over:
        return _end(player)
    if player.lead.lost and player.guide.lost_text:
        return [player.guide.lost_text]
    return []


def _end(player: Player) -> list[str]:
    """How the episode ended, its score, and the best ones."""
    dreamt = "In the dream: " if player.view == "dream" else ""
    lines = [dreamt + player.lead.ending, f"score {player.lead.total:.0f} {player.guide.unit}"]
    if player.new_best:
        lines[1] += ", a new best"
    lines += best_texts(player)
    return [*lines, "R: play again"] if player.pace.wait else lines
