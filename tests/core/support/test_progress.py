import sys
from types import SimpleNamespace

from isd_core.support.progress import Progress


def test_a_log_gets_plain_lines(capsys):
    with Progress(2, "train", "step") as bar:
        bar.update(2, loss=0.25)
    text = capsys.readouterr().err
    assert text.startswith("train: 2/2") and "loss 0.25" in text


def test_a_notebook_gets_a_bar(monkeypatch, capsys):
    """Standard error of a notebook's kernel is no terminal."""
    kernel = SimpleNamespace(config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: kernel))
    with Progress(2, "train", "step") as bar:
        bar.update(2)
    assert "2/2 [" in capsys.readouterr().err


def test_quiet_shows_nothing(capsys):
    with Progress(1, "train", quiet=True) as bar:
        bar.update(1)
    assert capsys.readouterr().err == ""
