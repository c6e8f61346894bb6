"""Jobs for workers, in a file of their own that a worker imports fast."""

import os
import signal
import time
from pathlib import Path


def square(number: int) -> int:
    return number**2


def fail_on_three(number: int) -> int:
    if number == 3:
        raise ValueError("three")
    return number


def first_time(folder: str, what: str) -> bool:
    """Whether nobody has asked this before; leaves a mark."""
    mark = Path(folder) / what
    first = not mark.exists()
    mark.touch()
    return first


def die_once(job: tuple[str, int]) -> int:
    """Job 2 kills its worker the first time."""
    if job[1] == 2 and first_time(job[0], "died"):
        os.kill(os.getpid(), signal.SIGKILL)
    return job[1]


def hang_once(job: tuple[str, int]) -> int:
    """Job 1 hangs the first time."""
    if job[1] == 1 and first_time(job[0], "hung"):
        time.sleep(600)
    return job[1]


def die(number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def wait_long(folder: str) -> None:
    (Path(folder) / f"pid-{os.getpid()}").touch()
    time.sleep(600)
