"""A policy as a folder of LeRobot's: written, loaded again without LeRobot, and refused where it is not whole."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import isd_policy
from isd_core.support.errors import InputError
from isd_policy.deploy.bundle import __main__ as bundle
from isd_policy.deploy.pretrained import __main__ as pretrained
from isd_policy.deploy.pretrained.folder import CONFIG, WEIGHTS, write


@pytest.fixture
def folder(run, tmp_path):
    assert pretrained.main.run(f"checkpoint={run}", f"out={tmp_path / 'theirs'}") == 0
    return tmp_path / "theirs"


def changed(folder, **fields):
    content = json.loads((folder / CONFIG).read_text()) | fields
    (folder / CONFIG).write_text(json.dumps(content))
    return folder


def test_it_acts_as_its_checkpoint(run, folder, observations):
    ours, theirs = isd_policy.load(run), isd_policy.load(folder)
    for row in observations(3):
        np.testing.assert_array_equal(ours.act(row), theirs.act(row))


def test_it_holds_the_average_and_the_last_weights(folder, policy, tmp_path):
    state = {key: value + 1 if key.startswith("net.") else value for key, value in policy.state_dict().items()}
    write(tmp_path / "both", json.loads((folder / CONFIG).read_text()), state, policy.state_dict(), updates=5)
    average, last = (isd_policy.load(tmp_path / "both", weights) for weights in ("ema", "model"))
    assert average.source.step == 5
    for key, value in policy.net.state_dict().items():
        torch.testing.assert_close(average.net.state_dict()[key], value)
        torch.testing.assert_close(last.net.state_dict()[key], value + 1)


def test_a_bundle_is_converted_with_its_settings_and_back(make_bundle, folder, tmp_path, observations):
    source = make_bundle("nfe=2", "candidates=4")
    fields = pretrained.convert(source, tmp_path / "of_bundle", licence="MIT")
    assert (fields["nfe"], fields["candidates"], fields["license"]) == (2, 4, "MIT")
    (row,) = observations(1)
    expected = isd_policy.load(source).act(row)
    np.testing.assert_array_equal(isd_policy.load(tmp_path / "of_bundle").act(row), expected)
    again = [f"checkpoint={folder}", f"out={tmp_path / 'again.isd'}", "nfe=2", "candidates=4"]
    assert bundle.main.run(*again) == 0
    np.testing.assert_array_equal(isd_policy.load(tmp_path / "again.isd").act(row), expected)


def test_nothing_in_it_is_pickled(folder):
    names = sorted(path.name for path in folder.iterdir())
    assert names == [CONFIG, WEIGHTS, "policy_postprocessor.json", "policy_preprocessor.json"]
    assert all(isinstance(json.loads(path.read_text()), dict) for path in folder.glob("*.json"))


def test_a_run_of_lerobots_stands_for_its_last_policy(folder, tmp_path):
    place = tmp_path / "outputs" / "checkpoints" / "last" / "pretrained_model"
    place.parent.mkdir(parents=True)
    folder.rename(place)
    assert isd_policy.load(tmp_path / "outputs").source.path == place


def test_the_features_are_those_of_a_written_data_set(folder, sizes):
    fields = json.loads((folder / CONFIG).read_text())
    assert fields["input_features"] == {"observation.state": {"type": "STATE", "shape": [sum(sizes.values())]}}
    assert fields["inputs"] == {"observation.state": list(sizes)}
    assert fields["output_features"] == {"action": {"type": "ACTION", "shape": [7]}}
    assert (fields["n_obs_steps"], fields["horizon"], fields["n_action_steps"]) == (2, 16, 8)


def test_the_user_may_name_the_features(run, tmp_path, sizes):
    first, *others = sizes
    words = f"inputs={{observation.environment_state: {first}, observation.state: [{', '.join(others)}]}}"
    assert pretrained.main.run(f"checkpoint={run}", f"out={tmp_path / 'named'}", words) == 0
    fields = json.loads((tmp_path / "named" / CONFIG).read_text())
    assert fields["inputs"] == {"observation.environment_state": [first], "observation.state": others}
    assert fields["input_features"]["observation.environment_state"] == {"type": "ENV", "shape": [sizes[first]]}


@pytest.mark.parametrize("inputs", ["{observation.state: object}", "{observation.state: [object, object]}", "{a: []}"])
def test_inputs_that_are_not_all_keys_once_are_refused(run, tmp_path, capsys, inputs):
    assert pretrained.main.run(f"checkpoint={run}", f"out={tmp_path / 'x'}", f"inputs={inputs}") == 2
    assert "expected every observation of the policy once; it sees object" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_what_exists_is_left_alone(run, folder, capsys):
    assert pretrained.main.run(f"checkpoint={run}", f"out={folder}") == 2
    assert "exists. Give another out=" in capsys.readouterr().err


def test_another_policy_of_lerobots_is_named(folder):
    with pytest.raises(InputError, match="a policy of type diffusion of LeRobot's; only those of type isd"):
        isd_policy.load(changed(folder, type="diffusion"))


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"resolved": None}, "resolved"),
        ({"nfe": 0}, "nfe"),
        ({"candidates": "many"}, "candidates"),
        ({"initial_noise": "pink"}, "initial_noise=pink"),
    ],
)
def test_a_config_that_cannot_be_used_is_refused(folder, fields, message):
    with pytest.raises(InputError, match=message):
        isd_policy.load(changed(folder, **fields))


def test_weights_that_are_damaged_are_refused(folder):
    tensors = load_file(folder / WEIGHTS)
    save_file({key: value for key, value in tensors.items() if "normaliser" not in key}, folder / WEIGHTS)
    with pytest.raises(InputError, match="no normaliser statistics"):
        isd_policy.load(folder)
    broken = {key: torch.full_like(value, float("nan")) if "net" in key else value for key, value in tensors.items()}
    save_file(broken, folder / WEIGHTS)
    with pytest.raises(InputError, match="not finite"):
        isd_policy.load(folder)
    save_file({key: value for key, value in tensors.items() if key != "updates"}, folder / WEIGHTS)
    with pytest.raises(InputError, match="updates"):
        isd_policy.load(folder)
    (folder / WEIGHTS).write_bytes(b"no tensors")
    with pytest.raises(InputError, match="cannot be read"):
        isd_policy.load(folder)
