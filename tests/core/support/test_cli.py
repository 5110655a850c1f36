import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from isd_core.support import cli
from isd_core.support.errors import InputError

FILES = {
    "job.yaml": """\
defaults:
  - law: wide
  - recipe: null
  - _self_

steps: 3  # how many
rate: 0.5  # how fast
out: ???  # where to
report: null  # where else
nfe: [1, 2]  # evaluations
labels: null  # classes
mirror: true  # whether
device: cpu  # on what
logger: null  # to whom
where: ${law.width}  # as wide as
copy: ${out}  # of it
""",
    "read.yaml": "data: ???  # the file to read\n",
    "law/wide.yaml": "width: 2  # how wide\n",
    "law/narrow.yaml": "width: 1  # how narrow\ncurve: {bend: 1.0}  # how bent\n",
    "recipe/quick.yaml": "# @package _global_\nlaw: {width: 5}\n",
    "taste/sweet.yaml": "sugar: 1  # in spoons\n",
    "data/digits.yaml": "classes: 10\n",
}


@pytest.fixture
def configs(tmp_path, monkeypatch):
    """A small tree of configs."""
    for name, text in FILES.items():
        path = tmp_path / "configs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(cli, "CONFIGS", tmp_path / "configs")
    return tmp_path / "configs"


@pytest.fixture
def program(configs):
    """A command over the small tree; returns (run, calls)."""
    calls = []

    def job(cfg):
        """Does the job."""
        calls.append(cli.resolved(cfg))
        if cfg.steps < 0:
            raise InputError("steps must not be negative")
        return 2 if cfg.steps == 13 else None

    return (lambda *arguments: cli.run(job, "job", arguments)), calls


@pytest.fixture
def reader(configs):
    """A command whose first word is a file; returns (run, what it was given)."""
    given = []
    return (lambda *arguments: cli.run(lambda cfg: given.append(cfg.data), "read", arguments, "data")), given


def fields(**changed):
    """The config of the command with out=x."""
    default = {"steps": 3, "rate": 0.5, "out": "x", "report": None, "nfe": [1, 2], "labels": None, "mirror": True}
    return default | {"device": "cpu", "logger": None, "where": 2, "copy": "x", "law": {"width": 2}} | changed


# -- what a command is given ------------------------------------------------------------------------------------------


def test_overrides_reach_the_command(program):
    run, calls = program
    assert run("steps=5", "out=x", "law=narrow") == 0
    assert calls == [fields(steps=5, where=1, law={"width": 1, "curve": {"bend": 1.0}})]


def test_of_two_words_for_one_field_the_last_counts(program):
    run, calls = program
    assert run("out=x", "law=narrow", "steps=4", "steps=5", "law=wide") == 0
    assert calls == [fields(steps=5)]


def test_a_recipe_sets_fields_of_the_command_and_null_is_none(program):
    run, calls = program
    assert run("out=x", "recipe=quick") == run("out=x", "recipe=null") == 0
    assert calls == [fields(where=5, law={"width": 5}), fields()]


@pytest.mark.parametrize(
    "word, changed",
    [
        ("law.width=7", {"law": {"width": 7}, "where": 7}),
        ("law={width: 7}", {"law": {"width": 7}, "where": 7}),
        ("+law.depth=7", {"law": {"width": 2, "depth": 7}}),
        ("+law={depth: 7}", {"law": {"width": 2, "depth": 7}}),
        ("++law.width=7", {"law": {"width": 7}, "where": 7}),
        ("+law@law.inner=narrow", {"law": {"width": 2, "inner": {"width": 1, "curve": {"bend": 1.0}}}}),
        ("+logger.name=x", {"logger": {"name": "x"}}),
        ("logger={name: x}", {"logger": {"name": "x"}}),
    ],
)
def test_fields_inside_fields(program, word, changed):
    run, calls = program
    assert run("out=x", word) == 0
    assert calls == [fields(**changed)]


def test_a_field_is_removed(program):
    run, calls = program
    assert run("out=x", "~report") == 0
    assert "report" not in calls[0]


@pytest.mark.parametrize("words", [("my file (1).hdf5",), ("data=my file (1).hdf5",), ("~/my file (1).hdf5",)])
def test_a_word_alone_is_the_file(reader, words, monkeypatch):
    run, given = reader
    monkeypatch.setenv("HOME", "/home/me")
    assert run(*words) == 0
    assert given == [words[0].partition("=")[2] or words[0].replace("~", "/home/me")]


def test_a_word_with_an_equals_sign_is_the_file_where_there_is_one(reader, tmp_path, monkeypatch, capsys):
    run, given = reader
    monkeypatch.chdir(tmp_path)
    Path("rate=20.hdf5").touch()
    assert run("rate=20.hdf5") == 0
    assert run("dta=20.hdf5") == 2
    assert given == ["rate=20.hdf5"]
    assert "There is no field `dta`" in capsys.readouterr().err


def test_a_field_goes_before_a_group_of_its_name(reader):
    run, given = reader
    assert run("data=digits") == 0
    assert given == ["digits"]


# -- what is wrong ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "No value was given for: out. Add out=... to the command"),
        (["out=x", "steps=-1"], "must not be negative"),
        (["out=x", "--verbose"], "Unknown flag --verbose"),
        (["out=x", "steps"], "`steps` sets nothing: fields are set as key=value"),
        (["out=x", "=5"], "`=5` sets nothing"),
        # fields
        (["out=x", "step=5"], "There is no field `step` .*Did you mean `steps`"),
        (["out=x", "width=5"], "There is no field `width` .*Did you mean `law.width`"),
        (["out=x", "law.depth=5"], "There is no field `law.depth`"),
        (["out=x", "law={depth: 5}"], r"There is no field `law.depth` .*`\+law={depth: 5}` adds it"),
        (["out=x", "lw=narrow"], "There is no field `lw` .*Did you mean `law`"),
        (["out=x", "logger.name=x"], "`logger` is null in this config and has no fields"),
        (["out=x", "steps.x=1"], "`steps` is a single value and has no fields"),
        (["out=x", "nfe.0=1"], "`nfe` is a list and has no fields"),
        (["out=x", "~step"], "There is no field `step`"),
        (["out=x", "~steps=3"], "`~steps` removes steps, whatever its value"),
        (["out=x", "+steps=3"], "there is a field `steps` already; leave the [+] out"),
        (["out=x", "+speed=3"], r"this command reads no `speed`\. A [+] adds fields inside those that it reads: "),
        (["out=x", "steps@law=3"], "there is no group `steps` to place at `law`"),
        # groups
        (["out=x", "law=flat"], "There is no law called `flat`; known: narrow, wide"),
        (["out=x", "law=narow"], "There is no law called `narow`.*Did you mean narrow"),
        (["out=x", "law="], "There is no law called ``; known: narrow, wide"),
        (["out=x", "law=[wide,narrow]"], r"There is no law called `\[wide,narrow\]`"),
        (["out=x", "law=null"], "this command needs a choice"),
        (["out=x", "taste=sweet"], "This command has no group `taste`; its groups: law, recipe"),
        (["out=x", "~taste"], "This command has no group `taste`; its groups: law, recipe"),
        (["out=x", "law@other=wide"], "This command has no group `law@other`; its groups: law, recipe"),
        (["out=x", "+taste=sweet"], "this command reads no `taste`"),
        (["out=x", "+law@other=wide"], "this command reads no `other`"),
        (["out=x", "+law=narrow"], "a choice of `law` is set without [+]"),
        (["out=x", "++law=narrow"], "a choice of `law` is set without [+]"),
        (["out=x", "~law"], "The field `where` refers to `law.width`, which this config does not have"),
        # types
        (["out=x", "steps=many"], "`steps=many`: expected a number, such as 3"),
        (["out=x", "steps=[1]"], r"`steps=\[1\]`: expected a number, such as 3"),
        (["out=x", "steps=true"], "`steps=true`: expected a number, such as 3"),
        (["out=x", "steps=[1"], r"The value of `steps=\[1` cannot be read"),
        (["out=x", "nfe=[1"], r"The value of `nfe=\[1` cannot be read"),
        (["out=x", "labels=[1"], r"The value of `labels=\[1` cannot be read"),
        (["out=x", "steps=1,2"], "`steps=1,2` gives several values; steps takes one"),
        (["out=x", "mirror=no"], "`mirror=no`: expected true or false"),
        (["out=x", "law=narrow", "law.curve=3"], r"law.curve holds fields \(bend\), set as law.curve.NAME="),
        (["out="], "`out=` is empty: expected a file or a folder"),
        (["out=x", "steps=${stops}"], "The field `steps` refers to `stops`, which this config does not have"),
    ],
)
def test_wrong_input_is_one_paragraph_and_exit_code_2(program, capsys, arguments, message):
    run, calls = program
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert re.search(message, error), error
    assert len(calls) == ("steps=-1" in arguments)


def test_a_broken_config_names_its_file_and_line(program, configs, capsys):
    (configs / "law" / "odd.yaml").write_text("width: [1\n")
    (configs / "law" / "lost.yaml").write_text("defaults:\n  - nowhere\n")
    run, _ = program
    assert run("out=x", "law=odd") == 2
    assert re.search(r"cannot be read.*law/odd\.yaml.*line", capsys.readouterr().err)
    assert run("out=x", "law=lost") == 2
    assert "law/lost.yaml asks for law=nowhere; known: lost, narrow, odd, wide" in capsys.readouterr().err


# -- folders of configs -----------------------------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path):
    """A user's folder of configs, of an awkward name."""
    folder = tmp_path / "my 'own' configs (1), ${x}"
    (folder / "law").mkdir(parents=True)
    (folder / "law" / "mine.yaml").write_text("defaults:\n  - narrow\n  - _self_\n\nwidth: 9  # as wide as mine\n")
    return folder


@pytest.mark.parametrize("flags", [("--config-dir", "{}"), ("--config-dir={}",)])
def test_a_folder_adds_choices_to_groups(program, own, flags):
    run, calls = program
    assert run(*(flag.replace("{}", str(own)) for flag in flags), "out=x", "law=mine") == 0
    assert calls[0]["law"] == {"width": 9, "curve": {"bend": 1.0}}


def test_help_shows_the_choices_of_a_folder(program, own, capsys):
    run, _ = program
    assert run("--help", "--config-dir", str(own), "law=mine") == 0
    text = capsys.readouterr().out
    assert "law=mine   # given; choices: mine, narrow, wide" in text and "# as wide as mine" in text


def test_a_folder_that_is_not_there_or_hides_ours_is_refused(program, own, configs, capsys):
    run, _ = program
    for arguments, message in (
        (["--config-dir", "nowhere"], "nowhere: there is no such folder"),
        (["--config-dir"], "--config-dir needs a folder"),
    ):
        assert run("out=x", *arguments) == 2
        assert message in capsys.readouterr().err
    (own / "law" / "wide.yaml").write_text("width: 1\n")
    assert run("out=x", "--config-dir", str(own)) == 2
    assert f"{own / 'law' / 'wide.yaml'} has the name of {configs / 'law' / 'wide.yaml'}" in capsys.readouterr().err


# -- help, output and exit codes --------------------------------------------------------------------------------------


def test_help_shows_every_field_with_its_comment(program, capsys):
    run, calls = program
    assert run("--help", "law=narrow") == 0
    text = capsys.readouterr().out
    assert "Does the job." in text and "steps: 3  # how many" in text and "out: ???  # where to" in text
    assert "law=narrow   # given; choices: narrow, wide" in text and "width: 1  # how narrow" in text
    assert "--config-dir DIR" in text and "--cfg" in text
    assert not calls


def test_a_command_may_return_its_exit_code(program):
    run, _ = program
    assert run("out=x", "steps=13") == 2


PRINTING = """
import sys
from isd_core.support import cli
def main(cfg):
    for i in range(100_000):
        print(i)
def fails(cfg):
    raise BrokenPipeError("a worker's pipe")
def waits(cfg):
    print("ready", flush=True)
    import time; time.sleep(60)
sys.exit(cli.run({}, "data_inspect", ["data=x"]))
"""


def start(name):
    environment = os.environ | {"PYTHONPATH": str(cli.ROOT)}
    words = [sys.executable, "-c", PRINTING.format(name)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True)


def test_a_reader_that_goes_away_ends_the_command_without_a_traceback():
    with start("main") as process:
        assert process.stdout.readline() == "0\n"
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


def test_a_pipe_that_breaks_elsewhere_is_an_error():
    with start("fails") as process:
        assert "a worker's pipe" in process.stderr.read()
    assert process.returncode == 1


def test_an_interruption_is_one_word_and_exit_code_130():
    with start("waits") as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == "interrupted\n"
    assert process.returncode == 130
