"""`python -m experiments NAME [--options]`: the tables and studies that share the command line of the stages."""

from __future__ import annotations

import importlib
import signal
import sys
from typing import NoReturn

from training.__main__ import run_cli, run_module, terminate
from training.infra.allocator import keep_freed_memory
from wm_envs.errors import UnknownName, did_you_mean

EXPERIMENTS = {
    "transfer": "the paper's table: a controller for each temperature of the dream",
    "ablate": "what C needs of the world: z, h, a trained M",
    "compare": "PPO and CMA-ES with the same steps of the same dreams",
    "components": "which component of M's mixtures is active in which event",
}
USAGE = """Tables and studies of worlds.

usage: python -m experiments NAME [--options]

{names}

`python -m experiments NAME --help` lists the options. The other studies are scripts:
`python -m experiments.budgets --help`, for example."""


def main(words: list[str]) -> int:
    """Run one experiment; returns the exit status."""
    return run_cli(lambda: _main(words))


def _main(words: list[str]) -> int:
    name, rest = (words[0], words[1:]) if words else ("", [])
    if name in ("", "-h", "--help"):
        print(USAGE.format(names="\n".join(f"  {each:12}{what}" for each, what in EXPERIMENTS.items())))
        return 0 if name else 2
    if name not in EXPERIMENTS:
        fix = f"see `python -m experiments --help`{did_you_mean(name, EXPERIMENTS)}"
        raise UnknownName("experiment", name, f"one of {', '.join(EXPERIMENTS)}", fix)
    return run_module(importlib.import_module(f"experiments.{name}"), "python -m experiments", name, rest)


def cli() -> NoReturn:
    """The command line."""
    signal.signal(signal.SIGTERM, terminate)
    keep_freed_memory()
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    cli()
