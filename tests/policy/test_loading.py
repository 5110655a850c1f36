import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import isd_policy
from isd_core.support.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
BLOCKED = [
    "hydra",
    "omegaconf",
    "h5py",
    "gymnasium",
    "mujoco",
    "robosuite",
    "isd_envs",
    "tqdm",
    "einops",
    "wandb",
    "scipy",
]
LOAD_AND_ACT = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ImportError("blocked: " + name)
sys.meta_path.insert(0, Blocker())
import numpy as np
import isd_policy
policy = isd_policy.load({path!r})
print(policy.act({{key: np.zeros(shape) for key, shape in policy.schema.shapes.items()}}).shape)
"""


def test_a_loaded_policy_predicts_what_the_saved_one_did(policy, save_policy, observations):
    (row,) = observations(1)
    loaded = isd_policy.load(save_policy())
    assert (loaded.act(row) == policy.act(row)).all()
    assert not loaded.training


def test_weights_ema_and_model_are_told_apart(policy, save_policy, tmp_path, config):
    from isd_core.training import checkpoint

    other = {key: value + 0.5 if key.startswith("net") else value for key, value in policy.state_dict().items()}
    tensors = {"model": policy.state_dict(), "ema": other}
    run = tmp_path / "two"
    checkpoint.save(run, 1, tensors, {"kind": "policy", "seed": 0, "config": config})
    assert torch.equal(isd_policy.load(run, "ema").net.final[1].bias, other["net.final.1.bias"])
    assert torch.equal(isd_policy.load(run, "model").net.final[1].bias, policy.net.final[1].bias)


def test_loading_needs_torch_numpy_and_safetensors_alone(save_policy):
    script = LOAD_AND_ACT.format(blocked=BLOCKED, path=str(save_policy()))
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert result.stdout.strip() == "(8, 7)", result.stderr


def test_changed_byte_is_an_input_error(save_policy):
    file = save_policy() / "checkpoints/step_00000001/ema.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        isd_policy.load(file)


def test_checkpoint_of_another_kind_is_an_input_error(save_policy):
    with pytest.raises(InputError, match="kind `image`"):
        isd_policy.load(save_policy(kind="image"))


def test_missing_statistics_are_an_input_error(policy, save_policy):
    state = {key: value for key, value in policy.state_dict().items() if key != "normaliser.action.scale.low"}
    with pytest.raises(InputError, match=r"no normaliser statistics \(normaliser.action.scale.low\)"):
        isd_policy.load(save_policy(state=state))


def test_statistics_out_of_order_are_an_input_error(policy, save_policy):
    state = policy.state_dict() | {"normaliser.action.scale.low": torch.full((7,), 1e6)}
    with pytest.raises(InputError, match="missing or unusable"):
        isd_policy.load(save_policy(state=state))


def test_weights_of_another_network_are_an_input_error(save_policy, config):
    other = config | {"network": config["network"] | {"widths": [16, 32]}}
    with pytest.raises(InputError, match="do not fit the network"):
        isd_policy.load(save_policy(config=other))


def test_unknown_weights_are_an_input_error(save_policy):
    with pytest.raises(InputError, match="weights=best"):
        isd_policy.load(save_policy(), weights="best")


def test_no_checkpoint_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="no checkpoint"):
        isd_policy.load(tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["net.final.1.bias", "normaliser.action.scale.high", "normaliser.observation.low"])
def test_weights_and_statistics_that_are_not_finite_are_an_input_error(policy, save_policy, value, name):
    state = {key: tensor.clone() for key, tensor in policy.state_dict().items()}
    state[name][0] = value
    with pytest.raises(InputError, match=f"`{name}`.*not finite"):
        isd_policy.load(save_policy(state))


def test_statistics_of_another_size_are_an_input_error(policy, save_policy):
    state = policy.state_dict()
    for bound in ("low", "high"):
        state[f"normaliser.action.scale.{bound}"] = state[f"normaliser.action.scale.{bound}"][:3]
    with pytest.raises(InputError, match="normaliser"):
        isd_policy.load(save_policy(state))


def test_an_endless_number_of_network_evaluations_is_refused(policy):
    with pytest.raises(InputError, match="at most 10000"):
        policy.use(nfe=10**9)


def test_a_config_that_asks_for_a_huge_network_is_refused_before_it_is_built(policy, config, save_policy):
    """Two hundred gigabytes of weights, by the config of a small file."""
    huge = config | {"network": config["network"] | {"widths": [65536, 65536]}}
    began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match="do not fit the network of its config: `net"):
        isd_policy.load(save_policy(config=huge))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - began < 500_000  # kB


@pytest.mark.parametrize("part", ["path", "actions", "horizons", "schema", "seed"])
@pytest.mark.parametrize("value", ["absent", None, "3", {}, []], ids=repr)
def test_a_config_without_its_parts_is_an_input_error(config, save_policy, part, value):
    rest = {key: entry for key, entry in config.items() if key != part}
    with pytest.raises(InputError, match=part):
        isd_policy.load(save_policy(config=rest if value == "absent" else rest | {part: value}))
