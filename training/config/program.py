"""A program of several stages: one command line, and one way to run a stage and show its result."""

from __future__ import annotations

import importlib
import inspect
import json
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from training.config.commands import Command
from training.infra.allocator import keep_freed_memory
from training.infra.packages import check_train
from training.infra.records import to_json
from wm_envs.cli import parse, run_cli, terminate
from wm_envs.errors import UnknownName, did_you_mean
from wm_envs.files import JsonObject


@dataclass(frozen=True)
class Stage:
    """A stage: its module has a `Command`, `main(command) -> result` and, optionally, `describe(result) -> str`."""

    module: str
    about: str
    extra: bool = True  # whether it needs the extra `train`

    def load(self) -> Any:
        """The module; only the chosen one is imported, so that --help answers at once."""
        return importlib.import_module(self.module)


@dataclass(frozen=True)
class Program:
    """Stages under one name."""

    module: str
    about: str
    more: str = ""
    script: str = ""  # its name as an installed command
    stages: Mapping[str, Stage] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What the user typed."""
        return self.script if self.script and Path(sys.argv[0]).stem == self.script else f"python -m {self.module}"

    def main(self, words: list[str]) -> int:
        """Run the stage that the words name; returns the exit status."""
        return run_cli(lambda: self._main(words))

    def _main(self, words: list[str]) -> int:
        name, rest = (words[0], words[1:]) if words else ("", [])
        if name in ("", "-h", "--help"):
            print(self._usage(), file=sys.stdout if name else sys.stderr)
            return 0 if name else 2
        command = self.parse(name, rest)
        stage = self.stages[name]
        if stage.extra:
            check_train()
        module = stage.load()
        result = to_json(module.main(command))
        print(json.dumps(result, default=str) if command.print_json else getattr(module, "describe", readable)(result))
        return 0

    def parse(self, name: str, words: list[str]) -> Command:
        """The command of a stage; raises `UnknownName` and `InvalidOption`."""
        if name not in self.stages:
            fix = f"see `{self.name} --help`{did_you_mean(name, self.stages)}"
            raise UnknownName("stage", name, f"one of {', '.join(self.stages)}", fix)
        module = self.stages[name].load()
        about = f"{inspect.cleandoc(module.__doc__)}\n\n{inspect.cleandoc(module.Command.__doc__)}"
        command: Command = parse(f"{self.name} {name}", about, module.Command.defaults(words), words)
        return command

    def _usage(self) -> str:
        listed = "\n".join(f"  {name:12}{stage.about}" for name, stage in self.stages.items())
        more = f"`{self.name} STAGE --help` lists the options of a stage. {self.more}"
        return f"{self.about}\n\nusage: {self.name} STAGE [--options]\n\n{listed}\n\n{more}"


def readable(result: JsonObject) -> str:
    """The figures of a result, a line each."""
    lines = []
    for name, value in result.items():
        shown = f"{value:.4g}" if isinstance(value, float) else json.dumps(value, default=str)
        if isinstance(value, list) and value and isinstance(value[0], dict):  # the stage has shown these rows
            shown = f"{len(value)}, in full with --json"
        lines.append(f"{name:>24}: {shown if len(shown) < 160 else shown[:157] + '...'}")
    return "\n".join(lines)


def run_as_script(program: Program) -> NoReturn:
    """Run a program in this process: SIGTERM ends a stage as Ctrl-C does."""
    signal.signal(signal.SIGTERM, terminate)
    keep_freed_memory()
    sys.exit(program.main(sys.argv[1:]))
