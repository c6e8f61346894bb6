"""What the command line says: its help, and what it says of a word that it does not know."""

import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from experiments import compare
from experiments.__main__ import EXPERIMENTS
from tests.helpers import ROOT, fresh_process, synthetic_store
from training.__main__ import STAGES, TRAINING, main
from training.config.base import whole_number
from training.infra.packages import TRAIN
from wm_envs.cli import Terminated
from wm_envs.errors import NoSpace
from wm_envs.games.registry import TASKS

PAGES = [ROOT / "README.md", ROOT / "docs/results.json", *sorted((ROOT / "docs").rglob("*.md"))]


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What the command says, in one line."""
    with pytest.raises(SystemExit) as stop:
        sys.exit(main([*words]))
    assert stop.value.code in (0, 2)
    return " ".join("".join(capsys.readouterr()).split())


@pytest.mark.parametrize(("called", "program"), [
    ("/usr/bin/wm-train", "wm-train"), ("training/__main__.py", "python -m training"), ("wm-train.exe", "wm-train"),
])  # fmt: skip
def test_help_has_a_line_for_each_stage_and_the_name_of_the_program(
    called: str, program: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [called])
    assert main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"usage: {program} STAGE [--options]" in lines
    listed = [line.split()[0] for line in lines if line.startswith("  ")]
    assert listed == list(STAGES) and all(len(line) <= 80 for line in lines if line.startswith("  "))
    assert f"usage: {program} evaluate" in shown(capsys, "evaluate", "--help")
    assert main([]) == 2 and "usage" in capsys.readouterr().err


@pytest.mark.parametrize("stage", STAGES)
def test_help_of_a_stage(stage: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = shown(capsys, stage, "--help")
    assert "--json" in said and "(default: " in said and "(default: )" not in said and "Stage " not in said


def test_help_needs_no_extra() -> None:
    packages = {*TRAIN, *(module for task in TASKS.values() for module in task.requires)}
    said = fresh_process(f"""
import sys
sys.modules |= dict.fromkeys({packages!r})
from training.__main__ import STAGES, main
for stage in STAGES:
    try:
        main([stage, "--help"])
    except SystemExit:
        pass
sys.stderr = sys.stdout
print(main(["vision"]), main(["collect", "--task", "carracing"]))
""")
    assert said.count("usage: ") == len(STAGES)
    assert said.count("pip install 'wm-envs[train]'") == 2 and said.endswith("2 2\n")


@pytest.mark.parametrize(("words", "near"), [
    (["colect"], "'collect'"), (["collect", "--frmaes", "9"], "'--frames'"), (["vision", "--taks=x"], "'--task'"),
    (["run", "--vision.batchs", "9"], "'--vision.batches'"), (["collect", "--task", "carrracing"], "'carracing'"),
    (["run", "--learner", "evovle"], "'evolve'"), (["evaluate", "--world", "takecovr"], "'takecover'"),
    (["evaluate", "--controller", "contoller"], "'controller'"),
    (["fidelity", "--controllers", "contoller"], "'controller'"),
    (["publish", "--world", "takecover", "--controllers", "contoller=c"], "'controller'"),
    (["doctor", "--world", "caracing"], "'carracing'"),
])  # fmt: skip
def test_did_you_mean(words: list[str], near: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = shown(capsys, *words)
    assert "error: " in said and said.count(f"did you mean {near}?") == 1


def test_nothing_is_near(capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean" not in shown(capsys, "xyzzy")
    expected = "an option of python -m training collect. Fix: see `python -m training collect --help`."
    assert expected in shown(capsys, "collect", "7")


def test_numbers_as_people_write_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert [whole_number(text) for text in ("1e6", "1_000", "7", "2.5e3", "-1")] == [1_000_000, 1000, 7, 2500, -1]
    for text in ("0.5", "1e400", "nan", "many"):
        assert shown(capsys, "collect", "--frames", text).startswith(f"error: frames: got {text}, expected")


@pytest.mark.parametrize(("words", "said"), [
    ("collect --frames", "frames: got nothing, expected a value"),
    ("collect --task --frames 5", "task: got nothing, expected a value"),
    ("collect --frames 0.5", "frames: got 0.5, expected a whole number"),
    ("collect --crop 1 2 3", "crop: got 1 2 3, expected 4 values"),
    ("collect --tick-limit x", "tick_limit: got x, expected a whole number or env"),
    ("collect --objects true", "option: got true after --objects, expected an option of"),
    ("collect --json=1", "option: got 1 after --json, expected an option of"),
    ("ppo --hidden-sizes 64 x", "hidden_sizes: got 64 x, expected whole numbers"),
    ("ppo --learning-rate x", "learning_rate: got x, expected a number"),
    ("ppo --settings x", "settings: got x, expected NAME=NUMBER. Fix: give --settings "),
    ("run --real-settings x", "real_settings: got x, expected NAME=NUMBER. Fix: give --real-settings "),
    ("run --evaluate.settings x", "evaluate.settings: got x, expected NAME=NUMBER. Fix: give --evaluate.settings "),
    ("run --memory.batch-size 4 --vision.batch-size 0",
     "vision.batch_size: got 0, expected greater than or equal to 1. Fix: give --vision.batch-size such a value"),
    ("run --vision.kind x", "vision.kind: got x, expected one of"),
    ("run --vision.kind x --vision.kind y", "vision.kind: got y, expected one of"),
    ("doctor --repair", "repair: got True, expected false without --run"),
    ("run --env CartPole-v1 --minutes x", "minutes: got x, expected"),
    ("run --env CartPole-v1 --minutes -4", "minutes: got -4, expected greater than or equal to 1"),
])  # fmt: skip
def test_a_wrong_value_is_one_line(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words.split()) == 2
    line = capsys.readouterr().err
    assert line.startswith(f"error: {said}") and line.count("\n") == 1 and line.endswith(".\n")


def test_the_default_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    for stage in ("run", "collect", "vision", "memory", "evolve", "ppo", "report"):
        assert "(default: runs/GAME)" in shown(capsys, stage, "--help")
        assert str(TRAINING.parse(stage, ["--task", "carracing"]).run_folder.path) == "runs/carracing"
    assert "runs/carracing" in shown(capsys, "report", "--task", "carracing")


def test_a_file_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    for stage in ("run", "collect", "vision", "ppo", "doctor"):
        for run in (tmp_path / "file", tmp_path / "file" / "in"):
            said = shown(capsys, stage, "--run", str(run))
            assert "is a file, expected a folder. Fix: give another --run" in said


def test_what_is_refused_leaves_nothing_behind(own_world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, nowhere = own_world.parent.parent, own_world.parent.parent / "nowhere"
    before = sorted(run.rglob("*"))
    for stage in ("ppo", "evolve", "vision", "memory", "report", "doctor"):
        assert "expected a" in shown(capsys, stage, "--run", str(nowhere))
    for stage in ("ppo", "evolve"):
        said = shown(capsys, stage, "--run", str(run), "--start", "contoller")
        assert "start: got contoller" in said and "did you mean 'controller'?" in said
        said = shown(capsys, stage, "--run", str(run), "--task", "carracing")
        assert "task: got carracing, expected takecover" in said
    other = ("--start", "controller", "--hidden-sizes", "9", "--validate-episodes", "0", "--num-envs", "2")
    assert "a controller like" in shown(capsys, "ppo", "--run", str(run), *other)
    for stage in ("vision", "memory"):
        said = shown(capsys, stage, "--run", str(run), "--round", "7")
        assert "without a round 6" in said and "give --round 1" in said
    assert "got nothing" in shown(capsys, "publish") and "--world RUN/best" in shown(capsys, "publish")
    assert sorted(run.rglob("*")) == before


def test_a_run_has_one_game(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(synthetic_store(tmp_path))  # of Take Cover
    for stage in ("collect", "vision"):
        said = shown(capsys, stage, "--task", "carracing", "--run", run)
        assert "task: got carracing, expected takecover" in said and "give --task takecover, or another --run" in said


@pytest.mark.parametrize("stage", ["collect", "evaluate", "fidelity", "ppo", "evolve"])
def test_a_game_that_is_not_installed_is_missed_first(
    stage: str, own_drive: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "Box2D", None)
    run = own_drive.parent.parent
    where = ["--task", "carracing", "--run", str(run)]
    where = ["--world", str(own_drive)] if stage in ("evaluate", "fidelity") else where
    before = sorted(run.rglob("*"))
    assert "pip install 'wm-envs[carracing]'" in shown(capsys, stage, *where)
    assert sorted(run.rglob("*")) == before


@pytest.mark.parametrize(("error", "status", "words"), [
    (KeyboardInterrupt(), 130, "stopped; run the same command again to continue"),
    (Terminated(), 143, "terminated; run the same command again to continue"),
    (OSError(28, "No space left on device", "runs/x"), 2, "error: No space left on device: runs/x; fix that"),
    (NoSpace("disk", "no space left for x", "9 free bytes", "free some space and run again"), 2, "error: disk: got no"),
])  # fmt: skip
@pytest.mark.parametrize("stage", STAGES)
def test_an_end_before_its_time_is_one_line(
    stage: str, error: BaseException, status: int, words: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def harmed(options: object) -> None:
        raise error

    monkeypatch.setattr(STAGES[stage].load(), "main", harmed)
    assert main([stage]) == status
    said = capsys.readouterr().err
    assert said.startswith(words) and said.count("\n") == 1


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "run"])
def test_a_result_is_by_name(stage: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(STAGES[stage].load(), "main", lambda options: {"mean": 1.23456, "world": "w", "rows": [1] * 99})
    assert main([stage]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0].strip() for line in lines] == ["mean", "world", "rows"] and lines[0].endswith(" 1.235")
    assert main([stage, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["mean"] == 1.23456


def commands_of(page: Path) -> list[str]:
    """The commands of a page, without comments and results; a long one may go on in the next line.

    Those of docs/results.json, too.
    """
    text = page.read_text().replace("\\\n", " ")
    inline = re.findall(r"(?<!`)[`\"](python -m (?:training|experiments) [^`\"]+)[`\"]", text)
    blocks = [line for block in re.findall(r"```\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    lines = [line.partition("#")[0] for line in blocks if re.match("python -m (training|experiments) ", line)]
    return [" ".join(command.split()) for command in [*inline, *lines] if " ... " not in command]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_are_understood(page: Path) -> None:
    for command in commands_of(page):
        name, stage, *words = shlex.split(command)[2:]
        program = TRAINING if name == "training" else EXPERIMENTS
        if "--help" not in (stage, *words):
            program.parse(stage, words)


def test_the_commands_of_the_tables_make_their_rows() -> None:
    """The options that stand beside the tables of docs/experiments/takecover_paper.md give the names of their rows."""
    text = (ROOT / "docs/experiments/takecover_paper.md").read_text()
    command = next(each for each in commands_of(ROOT / "docs/experiments/takecover_paper.md") if " compare " in each)
    options = EXPERIMENTS.parse("compare", shlex.split(command)[4:])
    assert isinstance(options, compare.Command)
    assert options.world == "takecover-paper" and all(f"\n| {name} |" in text for name in compare.row_names(options))
