"""The demo's command line: what it asks of the packages, whose folder it takes, and how it ends."""

import json
import os
import subprocess
import sys

import pytest

from isd_core.support.cli import compose_config
from isd_core.support.errors import InputError
from scripts.demo import run as demo
from scripts.demo.run import Settings, claim, clear, stages

CONFIG_OF = {
    "isd_envs.demos": "env_demos",
    "isd_policy.train": "policy_train",
    "isd_policy.evaluate": "policy_evaluate",
    "isd_policy.run": "policy_run",
}


def commands(settings, folder):
    return {stage.name: stage.command[2:] for stage in stages(settings, folder)}


@pytest.mark.parametrize("settings", [Settings(), Settings.quick(seed=3)], ids=["full", "quick"])
@pytest.mark.parametrize("name", ["demonstrations", "isd", "regression", "evaluation", "control_loop"])
def test_every_command_is_one_that_the_package_takes(settings, name, tmp_path):
    module, *overrides = commands(settings, tmp_path)[name]
    compose_config(CONFIG_OF[module], overrides)


def test_both_objectives_get_the_same_budget(tmp_path):
    run = commands(Settings(), tmp_path)
    differing = set(run["isd"]) ^ set(run["regression"])
    assert {word.partition("=")[0] for word in differing} == {"objective", "run_dir"}


def test_every_command_has_the_seed(tmp_path):
    for name, command in commands(Settings(seed=5), tmp_path).items():
        assert {"seed=5", "--seed=5"} & set(command), name


def test_a_stage_needs_only_earlier_ones(tmp_path):
    earlier = set()
    for stage in stages(Settings(), tmp_path):
        assert set(stage.needs) <= earlier
        earlier.add(stage.name)


def test_training_is_done_at_its_last_step_only(tmp_path):
    train = {stage.name: stage for stage in stages(Settings(steps=600), tmp_path)}["isd"]
    for step, done in ((100, False), (600, True)):
        folder = tmp_path / "policy" / "checkpoints" / f"step_{step:08d}"
        folder.mkdir(parents=True)
        (folder / "meta.json").write_text(json.dumps({"format": 1, "step": step, "config": {}, "sha256": {}}))
        assert train.done() is done


def test_a_folder_with_other_settings_is_refused(tmp_path):
    claim(tmp_path, Settings(seed=0))
    with pytest.raises(InputError, match=r"seed=0 \(now 1\).*--fresh"):
        claim(tmp_path, Settings(seed=1))


def test_a_folder_with_the_same_settings_is_continued(tmp_path):
    claim(tmp_path, Settings())
    claim(tmp_path, Settings())


def test_fresh_empties_a_demos_folder(finished):
    clear(finished)
    assert not list(finished.iterdir())


def test_fresh_leaves_a_foreign_folder_alone(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(InputError, match="holds no demo"):
        clear(tmp_path)
    assert (tmp_path / "thesis.tex").exists()


def test_a_removal_that_was_cut_off_can_continue(finished):
    (finished / "eval.json").unlink()
    clear(finished)
    assert not list(finished.iterdir())


def quick(folder, *flags):
    return demo.main(["--quick", "--dir", str(folder), *flags])


@pytest.fixture
def fake(monkeypatch, finished):
    """The demo with commands that leave the files of a finished one; `code` is what they end with."""

    class Fake:
        code = 0
        ran: list[str] = []  # noqa: RUF012

        def run(self, command, tick, lock=None):
            self.ran.append(command[2])
            return self.code

    one = Fake()
    monkeypatch.setattr(demo, "run_command", one.run)
    monkeypatch.setattr(demo.preflight, "check_rendering", lambda: "no renderer")
    (finished / "settings.json").unlink()
    (finished / "stages.json").unlink()
    (finished / "demos.hdf5").touch()
    for run in ("policy", "regression"):
        folder = finished / run / "checkpoints" / "step_00000020"
        folder.mkdir(parents=True)
        meta = {"format": 1, "step": 20, "config": {}, "sha256": {}, "git": None}
        (folder / "meta.json").write_text(json.dumps(meta))
    one.ran = []
    return one


def test_the_demo_ends_with_its_report(fake, finished, capsys):
    assert quick(finished) == 0
    assert (finished / "report.json").exists()
    assert "Written: " in capsys.readouterr().out.splitlines()[-1]


def test_a_second_demo_only_writes_the_report_again(fake, finished):
    quick(finished)
    (finished / "report.html").unlink()
    fake.ran.clear()
    assert quick(finished) == 0
    assert fake.ran == []
    assert (finished / "report.html").exists()


def test_the_exit_code_is_that_of_the_command(fake, finished, capsys):
    fake.code = 2
    assert quick(finished) == 2
    assert "the same command continues" in capsys.readouterr().err


def test_an_interrupted_demo_says_how_to_go_on(fake, finished, monkeypatch, capsys):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "run_command", interrupt)
    assert quick(finished) == 130
    assert "the same command continues" in capsys.readouterr().err


def test_another_seed_in_the_same_folder_ends_with_2(fake, finished, capsys):
    quick(finished)
    assert quick(finished, "--seed", "1") == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_unknown_flags_end_with_2():
    answer = subprocess.run(
        [sys.executable, "-m", "scripts.demo.run", "--fast"], capture_output=True, text=True, env=os.environ
    )
    assert answer.returncode == 2
