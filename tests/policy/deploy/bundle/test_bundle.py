"""A bundle is whole, says what it needs, notices any changed byte, and loads with three packages."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

import isd_policy
from isd_core.support.errors import InputError
from isd_policy.deploy.bundle import __main__ as bundle
from isd_policy.deploy.bundle import card, packing
from isd_policy.deploy.bundle.folder import read
from tests.policy.deploy import venvs

ROOT = Path(__file__).resolve().parents[4]


def refused(capsys, code, message):
    text = capsys.readouterr().err.strip()
    assert code == 2, text
    assert message in text
    assert "\n" not in text


def test_a_bundle_acts_as_its_checkpoint(run, make_bundle, observations):
    from_run, from_bundle = isd_policy.load(run), isd_policy.load(make_bundle())
    for row in observations(3):
        np.testing.assert_array_equal(from_run.act(row), from_bundle.act(row))


def test_a_bundle_holds_nothing_but_safetensors_and_json(make_bundle):
    assert sorted(path.name for path in make_bundle().iterdir()) == ["bundle.json", "weights.safetensors"]


def test_a_file_in_a_bundle_stands_for_it(make_bundle):
    assert isd_policy.load(make_bundle() / "weights.safetensors").nfe == 1


def test_nfe_and_start_of_the_bundle_are_what_act_uses(make_bundle, observations):
    policy = isd_policy.load(make_bundle("nfe=2", "initial_noise=zeros"))
    (row,) = observations(1)
    first, second = policy.act(row), policy.act(row)
    np.testing.assert_array_equal(first, second)
    policy.reset()
    np.testing.assert_array_equal(policy.act(row, nfe=2, initial_noise="zeros"), first)


def test_the_card_says_what_the_policy_needs_and_does(make_bundle, sizes, normaliser):
    content = json.loads((make_bundle("nfe=2", "licence=MIT") / "bundle.json").read_text())
    assert list(content["observations"]) == list(sizes)
    eye = content["observations"]["robot0_eef_pos"]
    assert (eye["shape"], eye["type"], eye["unit"], eye["low"], eye["high"]) == ([3], "float32", "m", [-3] * 3, [5] * 3)
    actions = content["actions"]
    assert (actions["size"], actions["action_mode"]) == (7, "delta")
    assert (actions["names"][0], actions["units"][0]) == ("arm 0 change of x", "0.05 m")
    np.testing.assert_allclose(actions["high"], normaliser.limits.high)
    assert (content["nfe"], content["control_rate"], content["data"]) == (2, 20, {"licence": "MIT"})
    assert content["horizons"] == {"observation": 2, "prediction": 16, "execution": 8}
    assert content["source"]["sha256"]


@pytest.mark.parametrize("spelling", ["licence", "license"])
def test_licence_is_read_from_the_data(spelling, tmp_path):
    path = tmp_path / "demos.hdf5"
    with h5py.File(path, "w") as file:
        file.create_group("data").attrs[spelling] = "CC-BY-4.0"
    assert packing.licence_of_data(None, str(path)) == "CC-BY-4.0"
    assert packing.licence_of_data("MIT", str(path)) == "MIT"
    assert packing.licence_of_data(None, "gone.hdf5") is None


def test_every_changed_byte_of_the_card_is_noticed(make_bundle):
    folder = make_bundle()
    file = folder / "bundle.json"
    content = file.read_bytes()
    for place in range(0, len(content), 7):
        file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(InputError):
            read(folder)
    file.write_bytes(content)
    read(folder)


@pytest.mark.parametrize("place", [0, 100, -1])
def test_a_changed_byte_of_the_weights_is_noticed(make_bundle, place):
    file = make_bundle() / "weights.safetensors"
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        isd_policy.load(file)


@pytest.mark.parametrize("version", [0, 1])
def test_another_format_is_refused_by_name(make_bundle, version):
    file = make_bundle() / "bundle.json"
    file.write_text(file.read_text().replace('"format": 2', f'"format": {version}'))
    with pytest.raises(InputError, match=f"bundle format {version}; this version reads format 2"):
        isd_policy.load(file)


@pytest.mark.parametrize("text", ["[]", "{}", '{"format": 2}', '{"format": 2, "sha256": 3}', "\xff", "{"])
def test_what_is_no_card_is_an_input_error(tmp_path, text):
    (tmp_path / "bundle.json").write_text(text, encoding="latin-1")
    with pytest.raises(InputError):
        isd_policy.load(tmp_path)


def test_weights_of_another_kind_are_an_input_error(make_bundle):
    folder = make_bundle("weights=model")
    assert isd_policy.load(folder).nfe == 1
    with pytest.raises(InputError, match="holds the weights `model` alone, not `ema`"):
        isd_policy.load(folder, weights="ema")


def test_an_existing_bundle_is_not_replaced(make_bundle, run, capsys):
    out = make_bundle()
    code = bundle.main.run(f"checkpoint={run}", f"out={out}")
    refused(capsys, code, "exists")


def test_a_bundle_of_a_bundle_is_an_input_error(make_bundle, capsys, tmp_path):
    words = [f"checkpoint={make_bundle()}", f"out={tmp_path / 'second.isd'}"]
    refused(capsys, bundle.main.run(*words), "is a bundle already")


def test_units_are_known_for_every_observation_of_the_environments():
    from isd_envs.tasks import TASKS

    keys = {key for task in TASKS.values() for key in task.observation_sizes}
    plain = {key.partition("_")[2] if key.startswith("robot") else key for key in keys}
    assert plain <= card.UNITS.keys()


def test_a_bundle_loads_where_there_is_nothing_but_torch_numpy_and_safetensors(make_bundle, tmp_path):
    """The wheel is installed without its requirements."""
    folder = make_bundle()
    python = venvs.make(tmp_path / "venv", "torch", "numpy", "safetensors")
    venvs.install(python, venvs.build(ROOT, tmp_path / "dist"))
    code = f"""
import importlib.util, numpy as np
present = [n for n in ("hydra", "omegaconf", "h5py", "gymnasium", "einops", "tqdm") if importlib.util.find_spec(n)]
assert not present, present
import isd_policy
policy = isd_policy.load({str(folder)!r})
print(policy.act({{key: np.zeros(shape) for key, shape in policy.schema.shapes.items()}}).shape)
"""
    assert venvs.answer(python, code, tmp_path).strip() == "(8, 7)"
