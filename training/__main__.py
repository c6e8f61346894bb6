"""`python -m training STAGE [--options]`, or `wm-train STAGE`: train a world model and its controllers."""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from training.infra.allocator import keep_freed_memory
from training.infra.arguments import add_arguments, from_arguments
from training.infra.packages import check_train
from training.infra.records import to_json
from wm_envs.errors import UnknownName, WorldModelError, did_you_mean

PIPELINES = ("run",)
STAGES = {  # every stage, in the order of --help, and what it does; the module is stages/STAGE.py or pipelines/STAGE.py
    "run": "all stages in order, from nothing to an evaluated controller",
    "collect": "record random play, or the play of trained controllers",
    "vision": "train V on the recorded frames",
    "memory": "train M on V's latents and write the world",
    "ppo": "train C with PPO, in the dream or in the real game",
    "evolve": "train C with CMA-ES, in the dream or in the real game",
    "fidelity": "compare the dream with the real game, policy by policy",
    "calibrate": "make players live as long in the dream as in the game",
    "evaluate": "play a controller in the real game, on test seeds",
    "plan": "play the real game by searching in the dream",
    "report": "write the report of a run",
    "doctor": "check the installation and the worlds",
    "check": "check the files of a run",
    "publish": "make a bundle to ship",
    "export": "write a world as ONNX models, or as a page for a browser",
}


# Stages that do not need the extra `train`.
WITHOUT_EXTRA = ("fidelity", "calibrate", "evaluate", "doctor", "publish", "export")
USAGE = """Train a world model of a game, and controllers in its dream.

usage: {program} STAGE [--options]

{stages}

`{program} STAGE --help` lists the options of a stage. `run` does all stages in order.
The same command resumes a stage that was stopped."""


class Terminated(BaseException):
    """Raised on SIGTERM, so that workers and games are closed."""


def terminate(*_: object) -> None:
    """The handler of SIGTERM."""
    raise Terminated


def main(arguments: list[str] | None = None) -> int:
    """Run one stage; returns 0 on success, 2 for an error that the user can fix, 130 for Ctrl-C, 143 for SIGTERM."""
    return run_cli(lambda: _main(sys.argv[1:] if arguments is None else arguments))


def run_cli(work: Callable[[], int]) -> int:
    """What `work` returns, or the exit status for the error with which it ends."""
    try:
        return work()
    except WorldModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # no space, no permission, a folder that vanished
        what = ": ".join(str(part) for part in (error.strerror or error, error.filename) if part)
        print(f"error: {what}; fix that and run the same command again to continue", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; run the same command again to continue", file=sys.stderr)
        return 130
    except Terminated:
        print("terminated; run the same command again to continue", file=sys.stderr)
        return 143


def _main(words: list[str]) -> int:
    program = "wm-train" if Path(sys.argv[0]).stem == "wm-train" else "python -m training"
    name, rest = (words[0], words[1:]) if words else ("", [])
    if name in ("", "-h", "--help"):
        listed = "\n".join(f"  {stage:12}{what}" for stage, what in STAGES.items())
        print(USAGE.format(program=program, stages=listed), file=sys.stdout if name else sys.stderr)
        return 0 if name else 2
    if name not in STAGES:
        fix = f"see `{program} --help`{did_you_mean(name, STAGES)}"
        raise UnknownName("stage", name, f"one of {', '.join(STAGES)}", fix)
    return run_module(stage_module(name), program, name, rest, name not in WITHOUT_EXTRA)


def run_module(module: Any, program: str, name: str, words: list[str], needs_extra: bool = True) -> int:
    """Run the command called `name`, whose options and work are in `module`."""
    options, json_asked = parse_options(module, program, name, words)
    if needs_extra:
        check_train()
    result = to_json(module.main(options))
    print(json.dumps(result, default=str) if json_asked else getattr(module, "describe", _readable)(result))
    return 0


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}. Fix: see `{self.prog} --help`\n")


def stage_module(name: str) -> Any:
    """The module of a stage; only the chosen one is imported, so that --help answers at once."""
    return importlib.import_module(f"training.{'pipelines' if name in PIPELINES else 'stages'}.{name}")


def parse_options(module: Any, program: str, name: str, words: list[str]) -> tuple[Any, bool]:
    """The options of a command, and whether the result is printed as JSON."""
    program = f"{program} {name}"
    options = getattr(module, f"{name.capitalize()}Options")
    game = _Parser(program, add_help=False, allow_abbrev=False)  # the defaults in --help are those of the game
    game.add_argument("--task", default=argparse.SUPPRESS)
    parser = _Parser(
        program, description=f"{inspect.cleandoc(module.__doc__)}\n\n{inspect.cleandoc(options.__doc__)}",
        formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
    )  # fmt: skip
    known = add_arguments(parser, options, options.defaults(vars(game.parse_known_args(words)[0])))
    parser.add_argument("--json", action="store_true", help="print the result as JSON on the last line")
    parsed, unknown = parser.parse_known_args(words)
    if unknown:
        word = next((word for word in unknown if word.startswith("-")), unknown[0]).partition("=")[0]
        fix = f"see `{program} --help`{did_you_mean(word, known)}"
        raise UnknownName("option", word, f"an option of {name}", fix)
    json_asked = vars(parsed).pop("json")
    return from_arguments(options, parsed), json_asked


def _readable(result: dict[str, Any]) -> str:
    lines = []
    for name, value in result.items():
        shown = f"{value:.4g}" if isinstance(value, float) else json.dumps(value, default=str)
        if isinstance(value, list) and value and isinstance(value[0], dict):  # the stage has shown these rows
            shown = f"{len(value)}, in full with --json"
        lines.append(f"{name:>24}: {shown if len(shown) < 160 else shown[:157] + '...'}")
    return "\n".join(lines)


def cli() -> NoReturn:
    """The command line: SIGTERM ends a stage as Ctrl-C does."""
    signal.signal(signal.SIGTERM, terminate)
    keep_freed_memory()
    sys.exit(main())


if __name__ == "__main__":
    cli()
