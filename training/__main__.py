"""`python -m training STAGE [--options]`, or `wm-train STAGE`: train a world model and its controllers."""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import signal
import sys
from typing import Any, NoReturn

from training.infra.arguments import add_arguments, from_arguments
from wm_envs.errors import WorldModelError

PIPELINES = ("run", "transfer", "ablate", "compare")
STAGES = {  # stage -> its options class; the module is training/stages/STAGE.py, or in pipelines
    "collect": "CollectOptions",
    "vision": "VisionOptions",
    "memory": "MemoryOptions",
    "evolve": "EvolveOptions",
    "ppo": "PpoOptions",
    "evaluate": "EvaluateOptions",
    "fidelity": "FidelityOptions",
    "transfer": "TransferOptions",
    "ablate": "AblateOptions",
    "compare": "CompareOptions",
    "publish": "PublishOptions",
    "run": "RunOptions",
    "check": "CheckOptions",
    "report": "ReportOptions",
    "doctor": "DoctorOptions",
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
            stages.add_parser(name, add_help=False)
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
        options = getattr(module, STAGES[chosen])
        stage = stages.add_parser(
            chosen, description=f"{inspect.cleandoc(module.__doc__)}\n\n{inspect.cleandoc(options.__doc__)}",
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
    sys.exit(main())


if __name__ == "__main__":
    cli()
