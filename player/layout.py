"""Sizes: of the window on this desktop, and where the pictures and the panel of texts lie in a window."""

from __future__ import annotations

from dataclasses import dataclass

FRAME = 64  # pixels of a frame's side: a multiple of it keeps its pixels square
PANEL, COLUMN = 256, 205  # width of the panel beside the pictures; smallest width of its columns below them
LOW = 160  # height of the panel below the pictures
SIDES = (192, 768)  # limits of the side of a picture that is chosen for a new window
DECORATION = 60  # height that a title bar and a task bar may take

Size = tuple[int, int]  # width, height
Box = tuple[int, int, int, int]  # left, top, width, height


@dataclass(frozen=True)
class Layout:
    """Where things lie: a square for each picture, from left to right, and the panel."""

    pictures: list[Box]
    panel: Box

    @property
    def area(self) -> Box:
        """The box around all pictures."""
        left, top, side, _ = self.pictures[0]
        return left, top, side * len(self.pictures), side


def arrange(size: Size, panels: int) -> Layout:
    """The largest pictures that fit a window, with the panel beside or below them."""
    width, height = size
    beside, below = min((width - PANEL) // panels, height), min(width // panels, height - LOW)
    if beside >= below:
        side = max(beside, 1)
        left, top = max((width - PANEL - side * panels) // 2, 0), (height - side) // 2
        panel = (left + side * panels, top, PANEL, side)
    else:
        side = max(below, 1)
        left, top = (width - side * panels) // 2, max((height - LOW - side) // 2, 0)
        panel = (0, top + side, width, height - top - side)
    return Layout([(left + number * side, top, side, side) for number in range(panels)], panel)


def default_side(desktop: Size) -> int:
    """The side of a picture with which two of them fit the desktop; on a small one, one of them."""
    low, high = SIDES
    fitting = (side for side in range(high, 0, -FRAME) if _fit(side, 2, desktop) is not None)
    single = (side for side in range(6 * FRAME, 0, -FRAME) if _fit(side, 1, desktop) is not None)
    return max(next(fitting, low), next(single, low))


def window_size(side: int, panels: int, desktop: Size) -> Size:
    """The window for so many pictures of this side: wider for more pictures, as large as the desktop allows."""
    return _fit(side, panels, desktop) or (desktop[0], desktop[1] - DECORATION)


def inside(position: tuple[int, int], size: Size, desktop: Size) -> tuple[int, int]:
    """Where a window of this size stands entirely on the desktop, as near to `position` as possible."""
    left, top = (max(0, min(at, whole - part)) for at, part, whole in zip(position, size, desktop, strict=True))
    return left, top


def _fit(side: int, panels: int, desktop: Size) -> Size | None:
    for width, height in ((side * panels + PANEL, side), (side * panels, side + LOW)):
        if width <= desktop[0] and height <= desktop[1] - DECORATION:
            return width, height
    return None
