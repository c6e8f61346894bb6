"""The report of a run, also in a real browser if there is one; and `doctor`."""

import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers import synthetic_store, tiny_model
from training.infra.records import to_json
from training.judging.fidelity import PolicyRow
from training.judging.scoring import Card, Score
from training.reporting import figures
from training.stages import doctor, report
from training.stages.doctor import Command as DoctorCommand
from training.stages.evolve import Command as EvolveCommand
from training.stages.evolve import main as evolve
from training.stages.report import Command as ReportCommand
from wm_envs.errors import BrokenStore, Unsound
from wm_envs.worlds.bundle import save_controller, save_world

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture
def run(own_world: Path) -> Path:
    """A run folder with a few results of every kind."""
    folder = synthetic_store(own_world.parent.parent)
    sizes = {"generations": 2, "population": 4, "rollouts": 2, "validate_every": 1, "validate_episodes": 0}
    evolve(EvolveCommand.flat(run=folder, **sizes))
    score = {"mean": 300.0, "std": 100.0, "interval": 20.0, "p10": 150.0, "episodes": 9}
    rows = [{"policy": name, "real": score, "dream": score | {"mean": 310.0}} for name in ("hold <1>", "controller")]
    done = {"evolve": {"dream": score}, "fidelity": {"temperature": 1.0, "spearman": 0.9, "policies": rows}}
    results = {"round 0": done, "final": {"evaluate": score | {"controller": "here & there"}}}
    (folder / "results.json").write_text(json.dumps(results))
    for name in ("transfer", "learners"):
        (folder / "round-0" / name).mkdir()
        (folder / "round-0" / name / "rows.json").write_text(json.dumps({"rows": rows}))
        rows = [row | {"curve": [[1000, 200.0], [2000, 300.0]]} for row in rows]
    return folder


def test_report_shows_existing_results(run: Path) -> None:
    before = {path for path in run.rglob("*") if path.is_file()}
    found = report.main(ReportCommand.flat(run=run))
    page = (run / "report.html").read_text()
    assert found.missing == ("V: frames and their reconstructions", "Budget and choices")
    assert "No data yet for: V: frames" in page and "<h2>V: frames" not in page
    assert "<h2>Table: transfer" in page and "<h2>Table: learners" in page
    assert page.index("here &amp; there") < page.index("<svg") < page.rindex("<h2>Commands")
    assert f"evaluate --world {run}/round-0/world" in page.partition("<h2>Commands")[2]
    assert "hold &lt;1&gt;" in page and "here &amp; there" in page and "300 +- 100" in page
    assert page.count("<svg") == 7 and page.count("data:image/png") == 4
    assert not re.search(r"""(src|href)=['"](?!data:|#)""", page), "the page loads nothing"
    assert {path for path in run.rglob("*") if path.is_file()} - before == {run / "report.html"}


def test_report_lists_broken_and_missing_files(run: Path, tmp_path: Path) -> None:
    (run / "results.json").write_text("{")
    shutil.rmtree(run / "round-0" / "evolve")
    found = report.main(ReportCommand.flat(run=run, to=str(tmp_path / "other.html")))
    page = (tmp_path / "other.html").read_text()
    assert page.count("Unreadable") == 2 and "Population" in found.missing
    (tmp_path / "empty").mkdir()
    assert len(report.main(ReportCommand.flat(run=tmp_path / "empty")).missing) == 10
    with pytest.raises(BrokenStore, match="run"):
        report.main(ReportCommand.flat(run=tmp_path / "nowhere"))


def test_one_point_is_not_a_curve(run: Path) -> None:
    logs = run / "round-0" / "logs"
    logs.mkdir(exist_ok=True)
    for path in logs.glob("*.csv"):
        path.unlink()
    (logs / "vision.csv").write_text("step,seconds,error,active\n500,9,12.5,\n600,9,11.5,14\n")
    (logs / "memory.csv").write_text("step,seconds,nll\n500,9,1.25\n")
    report.main(ReportCommand.flat(run=run))
    page = (run / "report.html").read_text()
    curves = page.partition("<h2>Curves")[2].partition("</section>")[0]
    assert "Measured once: active 14." in curves and "Measured once: nll 1.25." in curves and curves.count("<svg") == 1


def test_names_in_figures_do_not_overlap() -> None:
    """Policies with the same score, each with a long name."""
    score = Score(mean=300.0, std=100.0, interval=20.0, p10=150.0, episodes=9)
    rows = [PolicyRow(policy=f"a policy with a long name, number {n}", real=score, dream=score) for n in range(30)]
    intervals = figures.intervals([(row.policy, row.real, row.dream) for row in rows])
    for figure in (figures.fidelity(rows, set()), intervals):
        places = re.findall(r'<g id="ytick_\d+">.*?translate\(([\d.]+) ([\d.]+)\)', figure, re.DOTALL)
        assert figure and places
    height = sorted(float(y) for _, y in places)
    assert min(b - a for a, b in itertools.pairwise(height)) > 9, "lines are further apart than letters are high"


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("width", [360, 1200])
@pytest.mark.parametrize("dark", [False, True])
def test_report_renders_in_a_browser(run: Path, width: int, dark: bool) -> None:
    report.main(ReportCommand.flat(run=run))
    script = """<script>addEventListener('load', () => document.title = JSON.stringify([
        [...document.querySelectorAll('body, body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1 &&
            !e.closest('.wide, pre')).map(e => e.tagName),
        [...document.images].every(i => i.naturalWidth > 0)]))</script>"""
    page = run / "probe.html"
    page.write_text((run / "report.html").read_text().replace("</head>", script + "</head>"))
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},800", "--dump-dom",
               "--enable-logging=stderr", *(["--force-dark-mode"] if dark else []), page.as_uri()]  # fmt: skip
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=120, check=True)
    too_wide, images = json.loads(re.search(r"<title>(\[.*?\])</title>", done.stdout)[1])  # type: ignore[index]
    assert images and not too_wide
    assert "CONSOLE" not in done.stderr


def look(world: Path, **options: Any) -> dict[str, Any]:
    return doctor.main(DoctorCommand.flat(world=str(world), **({"episodes": 0} | options)))


def test_doctor_finds_no_problem_in_a_valid_world(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.main(DoctorCommand.flat(episodes=0)).to_fix == 0
    said = capsys.readouterr().out
    assert "takecover: bundle" in said and "carracing: V" in said and "FIX" not in said


def test_doctor_names_every_problem(own_world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Unsound, match=": V"):  # four dimensions are too few
        look(own_world)
    assert "collapsed" in capsys.readouterr().out
    model = tiny_model()
    model.initial_logvars.zero_()
    save_world(own_world, model)
    card = Card(dream=Score.of(np.array([900.0])), validation=Score.of(np.array([300.0])))
    config, parameters = _controller()
    save_controller(own_world, "dreamer", config, parameters, to_json(card))
    with pytest.raises(Unsound, match="dreamer"):
        look(own_world)
    assert "900 in dreams, 300 in the game" in capsys.readouterr().out
    (own_world / "world.safetensors").write_bytes(b"")
    with pytest.raises(Unsound, match="bundle"):
        look(own_world)


def _controller() -> Any:
    from tests.helpers import TINY_CONTROLLER

    return TINY_CONTROLLER, torch.zeros(TINY_CONTROLLER.parameters)


def test_doctor_compares_dreams_with_the_game(own_world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("vizdoom")
    with pytest.raises(Unsound, match=": dreams"):
        look(own_world, episodes=2, workers=1)
    said = capsys.readouterr().out
    assert "game / dream" in said
    assert "FIX  " + f"{own_world}: pictures" in said, "a V of random weights draws nothing"


@pytest.mark.parametrize("frames", [0, 8])
def test_doctor_cannot_judge_pictures_in_which_nothing_moves(monkeypatch: pytest.MonkeyPatch, frames: int) -> None:
    still = np.zeros((frames, 64, 64, 3), np.uint8)
    monkeypatch.setattr(doctor, "_random_play", lambda task: (still, still))
    finding = doctor.pictures("world", tiny_model())
    assert "nothing moves" in finding.found and not finding.fix
