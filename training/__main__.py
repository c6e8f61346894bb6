"""`python -m training STAGE [--options]`, or `wm-train STAGE`: train a world model and its controllers."""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import signal
import sys
from typing import Any, NoReturn

from training.infra.allocator import keep_freed_memory
from training.infra.arguments import add_arguments, from_arguments
from wm_envs.errors import WorldModelError

PIPELINES = ("run", "transfer", "ablate", "compare")
STAGES = {  # every stage, in the order of --help, and what it does; the module is stages/STAGE.py or pipelines/STAGE.py
    "run": "all stages in order, from nothing to an evaluated controller",
    "collect": "record random play, or the play of trained controllers",
    "vision": "train V on the recorded frames",
    "memory": "train M on V's latents and write the world",
    "ppo": "train C with PPO, in the dream or in the real game",
    "evolve": "train C with CMA-ES, in the dream or in the real game",
    "fidelity": "compare the dream with the real game, policy by policy",
    "evaluate": "play a controller in the real game, on test seeds",
    "transfer": "the paper's table: a controller for each temperature, in the dream and in the game",
    "ablate": "what C needs of the world: z, h, a trained M",
    "compare": "PPO and CMA-ES with the same steps of the same dreams",
    "report": "write the report of a run",
    "doctor": "check the installation and the worlds",
    "check": "check the files of a run",
    "publish": "make a bundle to ship",
}


class Terminated(BaseException):
    """Raised on SIGTERM, so that workers and games are closed."""


def _terminate(*_: object) -> None:
    raise Terminated


def main(arguments: list[str] | None = None) -> int:
    """Run one stage; returns 0 on success, 2 for an error that the user can fix, 130 for Ctrl-C, 143 for SIGTERM."""
    words = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(
        prog="python -m training",
        description="Train a world model of a game, and controllers in its dream.",
        epilog="Each stage has its own --help. `run` does all stages in order; the same command resumes a stage.",
    )
    stages = parser.add_subparsers(dest="stage", required=True, metavar="STAGE")
    chosen = next((word for word in words if word in STAGES), None)
    for name in STAGES:
        if name != chosen:  # only the chosen stage is imported: --help answers at once
            stages.add_parser(name, add_help=False, help=STAGES[name])
    module: Any = None
    options: Any = None
    if chosen is not None:
        try:
            module = importlib.import_module(f"training.{'pipelines' if chosen in PIPELINES else 'stages'}.{chosen}")
        except WorldModelError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        except ImportError as error:
            print(f"error: {error}; fix: pip install 'wm-envs[train]'", file=sys.stderr)
            return 2
        options = getattr(module, f"{chosen.capitalize()}Options")
        stage = stages.add_parser(
            chosen, help=STAGES[chosen],
            description=f"{inspect.cleandoc(module.__doc__)}\n\n{inspect.cleandoc(options.__doc__)}",
            formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
        )  # fmt: skip
        add_arguments(stage, options)
        stage.add_argument("--json", action="store_true", help="print the result as JSON on the last line")
    parsed = parser.parse_args(words)
    try:
        result = module.main(from_arguments(options, parsed))
    except WorldModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # no space, no permission, a folder that vanished
        print(f"error: {error}; fix that and run the same command again to continue", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; run the same command again to continue", file=sys.stderr)
        return 130
    except Terminated:
        print("terminated; run the same command again to continue", file=sys.stderr)
        return 143
    print(json.dumps(result, default=str) if parsed.json else _readable(result))
    return 0


def _readable(result: dict[str, Any]) -> str:
    lines = []
    for name, value in result.items():
        shown = f"{value:.4g}" if isinstance(value, float) else json.dumps(value, default=str)
        lines.append(f"{name:>24}: {shown if len(shown) < 160 else shown[:157] + '...'}")
    return "\n".join(lines)


def cli() -> NoReturn:
    """The command line: SIGTERM ends a stage as Ctrl-C does."""
    signal.signal(signal.SIGTERM, _terminate)
    keep_freed_memory()
    sys.exit(main())


if __name__ == "__main__":
    cli()
