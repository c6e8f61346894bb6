"""Errors a user can mend: each says the field, the value given, what was expected and what to do."""

from __future__ import annotations

import reprlib


class WorldModelError(Exception):
    """Base of all errors of this package: `field`, the value `given`, what was `expected`, the `fix`."""

    def __init__(self, field: str, given: object, expected: str, fix: str) -> None:
        self.field, self.given, self.expected, self.fix = field, given, expected, fix
        shown = given if isinstance(given, str) else reprlib.repr(given)
        super().__init__(f"{field}: got {shown!s}, expected {expected}. Fix: {fix}.")


class UnknownName(WorldModelError, KeyError):
    """A name that is not in the table it was looked up in."""

    __str__ = Exception.__str__  # KeyError would show the quoted repr


class InvalidOption(WorldModelError, ValueError):
    """An option or keyword whose value is out of its range or of another type."""


class UnknownKeyword(InvalidOption, TypeError):
    """A keyword that the environment does not have; also a TypeError, as Python raises for a function's keywords."""

    def __init__(self, field: str, given: object = None, expected: str = "", fix: str = "") -> None:
        if fix:  # in Python's words, which TorchRL looks for
            super().__init__(f"unexpected keyword argument {field!r}", given, expected, fix)
            self.field = field
        else:  # `gym.make` raises a TypeError of an environment again, with its own text
            Exception.__init__(self, field)


class InvalidAction(WorldModelError, ValueError):
    """An action of wrong shape or type, not finite, or outside of the action space."""


class ResetNeeded(WorldModelError, RuntimeError):
    """A step before the first reset, or after the end of an episode."""


class BrokenWorld(WorldModelError, ValueError):
    """A world bundle that is incomplete, damaged, of another version or of wrong shapes."""


class BrokenStore(WorldModelError, ValueError):
    """A rollout store or run folder that is incomplete, damaged or made by something else."""


class OptionsDiffer(WorldModelError, ValueError):
    """A run folder that was made with other options than those given now."""


class FolderBusy(WorldModelError, RuntimeError):
    """Another process works in the same folder; nothing has been changed."""


class ControllerMismatch(WorldModelError, ValueError):
    """A controller whose parameters do not fit the world or the observation."""


class MissingPackage(WorldModelError, ImportError):
    """An optional package that is not installed."""


class NoSpace(WorldModelError, OSError):
    """The disk is full; nothing that was there before has been changed."""


class WorkersLost(WorldModelError, RuntimeError):
    """Worker processes that died or hung again and again; what they did before is kept."""


class Diverged(WorldModelError, ArithmeticError):
    """A loss, gradient or weight that is not finite: training stops before it writes any of it."""


class Unsound(WorldModelError, RuntimeError):
    """The doctor found something to mend."""
