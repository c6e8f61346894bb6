"""Errors that users can fix: each names the field, the given value, the expected value and the fix."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable
from pathlib import PurePath


def did_you_mean(given: object, known: Iterable[str]) -> str:
    """The words "(did you mean NAME?)" for the known name that is nearest to `given`; none if none is near."""
    near = difflib.get_close_matches(str(given), list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


class WorldModelError(Exception):
    """Base class of this package's errors: the `field`, the value `given`, what was `expected`, and the `fix`."""

    def __init__(self, field: str, given: object, expected: str, fix: str) -> None:
        self.field, self.given, self.expected, self.fix = field, given, expected, fix
        shown = str(given) if isinstance(given, str | PurePath) and str(given) else reprlib.repr(given)
        super().__init__(f"{field}: got {shown}, expected {expected}. Fix: {fix}.")

    def __reduce__(self) -> tuple[type[WorldModelError], tuple[object, ...]]:
        """For worker processes, which send their errors to the main process by pickle."""
        return type(self), (self.field, self.given, self.expected, self.fix)


class UnknownName(WorldModelError, KeyError):
    """A name that does not exist: of a world, a controller or a task."""

    __str__ = Exception.__str__  # KeyError shows the repr, in quotes


class InvalidOption(WorldModelError, ValueError):
    """An option or keyword with a value of the wrong type or out of range."""


class InvalidAction(WorldModelError, ValueError):
    """An action of the wrong shape or type, not finite, or outside the action space."""


class BrokenGame(WorldModelError, RuntimeError):
    """A game that raises an error, or shows or pays what is not a picture or a finite number."""


class ResetNeeded(WorldModelError, RuntimeError):
    """A step before the first reset, or after the end of an episode."""


class BrokenWorld(WorldModelError, ValueError):
    """A world bundle that is incomplete, damaged, of another version, or has tensors of the wrong shape."""


class BrokenStore(WorldModelError, ValueError):
    """An episode store or run folder that is incomplete, damaged, or was made by another program."""


class OptionsDiffer(WorldModelError, ValueError):
    """A run folder that was made with options other than the current ones."""


class HubError(WorldModelError, OSError):
    """The hub could not be reached, or refused; the world is not in its cache either."""


class FolderBusy(WorldModelError, RuntimeError):
    """Another process uses the same folder. Nothing was changed."""


class ControllerMismatch(WorldModelError, ValueError):
    """A controller whose number of parameters does not match the world or the observation."""


class MissingPackage(WorldModelError, ImportError):
    """An optional package that is not installed."""


class NoSpace(WorldModelError, OSError):
    """The disk is full. Existing files were not changed."""


class WorkersLost(WorldModelError, RuntimeError):
    """Worker processes died or hung repeatedly. Finished results are kept."""


class Diverged(WorldModelError, ArithmeticError):
    """A loss, gradient or weight is not finite. Training stops before it saves any such value."""


class Unsound(WorldModelError, RuntimeError):
    """`doctor` found a problem."""
