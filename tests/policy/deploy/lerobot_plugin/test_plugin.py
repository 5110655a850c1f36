"""LeRobot's own commands with the plug-in's wheel: train, resume, evaluate, and the same policy on both sides."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

import isd_policy
from isd_policy.backend import Inputs
from isd_policy.build import fit_normaliser
from isd_policy.data.windows import ActionChunks
from isd_policy.deploy.pretrained.__main__ import convert
from tests.policy.deploy import venvs

ROOT = Path(__file__).resolve().parents[4]
SOURCE = ROOT / "isd_policy" / "deploy" / "lerobot_plugin"
PYTHON = os.environ.get("ISD_LEROBOT_PYTHON", sys.executable)
"""The interpreter of an environment with LeRobot, which needs other versions than this package's tests."""
LENGTHS = (20, 14, 26)
SMALL = ["network=unet1d_small", "network.widths=[8,16]", "trainer.warmup=1", "trainer.optimizer.lr=1e-3"]
STEPS, MORE = 3, 5

THEIRS = """
import json, logging, sys
import numpy as np, torch
from pathlib import Path

from lerobot.configs.policies import PreTrainedConfig
from lerobot.policies.factory import get_policy_class, make_policy, make_pre_post_processors
from lerobot.scripts import lerobot_eval, lerobot_train
from lerobot.utils.import_utils import register_third_party_plugins

SMALL, STEPS, MORE = json.loads(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
said = {}


def run(main, *words):
    sys.argv = ["command", *words]
    main()


def train(data, out, *words):
    run(lerobot_train.main, "--policy.type=isd", "--policy.push_to_hub=false", "--policy.device=cpu",
        f"--dataset.root={data}", "--dataset.repo_id=isd/set", "--dataset.video_backend=pyav",
        f"--output_dir={out}", f"--steps={STEPS}", "--batch_size=8", "--num_workers=0", "--log_freq=1",
        f"--policy.settings={json.dumps(SMALL)}", *words)


def loaded(folder):
    config = PreTrainedConfig.from_pretrained(folder, cli_overrides=["--device=cpu"])
    return get_policy_class(config.type).from_pretrained(folder, config=config)


def actions(folder, name):
    # what a robot's loop does: processors, one observation at a time, noise of our choice
    policy, given = loaded(folder), np.load("given.npz")
    before, after = make_pre_post_processors(policy.config, folder)
    noise = torch.from_numpy(given[f"{name}/noise"])
    keys = [key for key in given.files if key.startswith(f"{name}/observation")]
    out, calls = [], 0
    for i in range(len(given[keys[0]])):
        one = before({key.split("/")[1]: torch.from_numpy(given[key][i]) for key in keys})
        out.append(after(policy.select_action(one, noise=noise[i // policy.config.n_action_steps])).numpy()[0])
    return np.array(out)


register_third_party_plugins()
from lerobot_policy_isd import ISDConfig
from lerobot_policy_isd.modeling_isd import features

train("pictures", "runs/pictures")
run(lerobot_train.main, "--config_path=runs/pictures/checkpoints/last/pretrained_model/train_config.json",
    "--resume=true", f"--steps={MORE}")
train("pusht", "runs/pusht", "--policy.n_obs_steps=1", "--policy.horizon=8", "--policy.n_action_steps=4",
      "--policy.nfe=2")

# the windows, in LeRobot's order
from lerobot.datasets.factory import make_train_eval_datasets
from lerobot.datasets.sampler import EpisodeAwareSampler

policy = loaded("runs/pictures/checkpoints/last/pretrained_model")
from lerobot.configs.train import TrainPipelineConfig
config = TrainPipelineConfig.from_pretrained("runs/pictures/checkpoints/last/pretrained_model")
config.policy = policy.config
data = make_train_eval_datasets(config)[0]
sampler = EpisodeAwareSampler(data.meta.episodes["dataset_from_index"], data.meta.episodes["dataset_to_index"],
                              drop_n_last_frames=policy.config.drop_n_last_frames)
items = [data[i] for i in sampler]
names = ("observation.state", "observation.images.top", "action")
batch = {key: torch.stack([item[key] for item in items]) for key in names}
if batch["observation.images.top"].dtype == torch.uint8:  # as its training loop does
    batch["observation.images.top"] = batch["observation.images.top"].float() / 255
obs = features.observations(batch, policy.config.inputs, policy.model.schema, 2)
np.savez("windows.npz", action=batch["action"].numpy(), **{key: value.numpy() for key, value in obs.items()})

folders = {"pictures": "runs/pictures/checkpoints/last/pretrained_model", "converted": "converted"}
np.savez("actions.npz", **{name: actions(folder, name) for name, folder in folders.items()})

# what LeRobot writes of a policy that we wrote is what we wrote
policy = loaded("converted")
policy.save_pretrained("saved")
for pipeline in make_pre_post_processors(policy.config, "converted"):
    pipeline.save_pretrained("saved")

# the same loss for held-out data each time, another in training
policy = loaded("runs/pusht/checkpoints/last/pretrained_model")
rows = {"observation.state": torch.zeros(4, 2), "observation.environment_state": torch.zeros(4, 1, 16)}
rows["action"] = torch.zeros(4, 8, 2)
said["eval"] = [policy.forward(rows)[0].item() for _ in range(2)]
policy.train()
said["train"] = [policy.forward(rows)[0].item() for _ in range(2)]
policy.eval()
said["chunk"] = list(policy.predict_action_chunk(rows).shape)

said["refused"] = {}
for what, words in {
    "settings": ["--policy.settings=[\\"trainer.steps=5\\"]"],
    "weighting": ["--policy.settings=[\\"weighting=learned\\"]"],
}.items():
    try:
        train("pusht", f"runs/{what}", *words)
    except Exception as error:
        said["refused"][what] = str(error)
for what, words in {"n_obs_steps": ["--n_obs_steps=2"], "trained": ["--settings=[]"]}.items():
    try:
        PreTrainedConfig.from_pretrained("runs/pusht/checkpoints/last/pretrained_model", cli_overrides=words)
    except Exception as error:
        said["refused"][what] = str(error)

try:
    ISDConfig(horizon=4, device="cpu")
except Exception as error:
    said["refused"]["horizon"] = str(error)

try:
    import gym_pusht
    for name, folder in {"pusht": "runs/pusht/checkpoints/last/pretrained_model", "ours": "ours"}.items():
        run(lerobot_eval.main, f"--policy.path={folder}", "--policy.device=cpu", "--env.type=pusht",
            "--env.obs_type=environment_state_agent_pos", "--env.episode_length=12", "--eval.n_episodes=2",
            "--eval.batch_size=2", "--eval.use_async_envs=false", f"--output_dir=eval/{name}")
        said[name] = json.loads(Path(f"eval/{name}/eval_info.json").read_text())["overall"]["n_episodes"]
except ImportError:
    said["pusht"] = None
Path("said.json").write_text(json.dumps(said))
"""


def demonstrations(**observations):
    rng = np.random.default_rng(1)
    return isd_policy.Demonstrations.from_arrays(
        observations={
            key: rng.integers(0, 256, (60, *shape), np.uint8) if len(shape) == 3 else rng.uniform(0, 512, (60, *shape))
            for key, shape in observations.items()
        },
        actions=rng.uniform(0, 512, (60, 2)),
        episode_ends=np.cumsum(LENGTHS),
        rate=10,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with the plug-in's wheel as an installation has it."""
    pytest.importorskip("build")
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("plugin")
    with zipfile.ZipFile(venvs.build(SOURCE, folder / "dist")) as wheel:
        wheel.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_has_the_name_that_lerobot_looks_for(site):
    about = next(site.glob("*.dist-info/METADATA")).read_text().splitlines()
    assert "Name: lerobot_policy_isd" in about  # underscores and all
    modules = {path.name for path in (site / "lerobot_policy_isd").iterdir()}
    assert modules == {"__init__.py", "configuration_isd.py", "modeling_isd.py", "processor_isd.py"}


@pytest.fixture(scope="module")
def at_work(site, tmp_path_factory):
    """The folder in which LeRobot's commands have run, with what they left."""
    probe = subprocess.run([PYTHON, "-c", "import lerobot.datasets"], capture_output=True, text=True)
    if probe.returncode:
        pytest.skip("there is no LeRobot here: ISD_LEROBOT_PYTHON names the interpreter of an environment with it")
    from isd_policy.data.lerobot.writer import write

    folder = tmp_path_factory.mktemp("work")
    write(folder / "pictures", demonstrations(state=(3,), top=(32, 32, 3)), task="Push.", pictures="image")
    pusht = demonstrations(state=(2,), environment_state=(16,))
    write(folder / "pusht", pusht, task="Push.")
    small = {"network": "unet1d_small", "network.widths": [8, 16], "trainer": "demo", "steps": 2}
    small |= {"trainer.batch_size": 4, "trainer.device": "cpu", "dataset.held_out": 0.0}
    joined = demonstrations(place=(2,), speed=(1,), top=(32, 32, 3))
    isd_policy.train(joined, task="own", run_dir=folder / "joined_run", **small)
    convert(folder / "joined_run", folder / "converted")
    named = demonstrations(agent=(2,), points=(16,))
    isd_policy.train(named, task="own", run_dir=folder / "named_run", **small)
    theirs = {"observation.state": "agent", "observation.environment_state": "points"}
    convert(folder / "named_run", folder / "ours", inputs=theirs)
    rng = np.random.default_rng(2)
    given = {}
    for name in ("pictures", "converted"):
        given[f"{name}/observation.state"] = rng.uniform(0, 512, (12, 3)).astype(np.float32)
        pictures = rng.integers(0, 256, (12, 3, 32, 32), np.uint8)
        given[f"{name}/observation.images.top"] = pictures.astype(np.float32) / 255
        given[f"{name}/noise"] = rng.normal(size=(2, 1, 16, 2)).astype(np.float32)
    np.savez(folder / "given.npz", **given)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(site), str(ROOT)]), "HF_HUB_OFFLINE": "1"}
    environment |= {"HF_HOME": str(folder / "hub"), "OMP_NUM_THREADS": "1"}
    command = [PYTHON, "-c", THEIRS, json.dumps(SMALL), str(STEPS), str(MORE)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


def acted(policy, given, name):
    """Our actions for the same observations and noise."""
    state, pictures = given[f"{name}/observation.state"], given[f"{name}/observation.images.top"]
    bytes_ = np.moveaxis(np.round(pictures * 255).astype(np.uint8), 1, -1)
    numbers, start, history, out = {}, 0, [], []
    for key in policy.schema.numbers:
        numbers[key] = state[:, start : start + policy.schema.shapes[key][0]]
        start += policy.schema.shapes[key][0]
    for i in range(len(state)):
        row = {key: values[i] for key, values in numbers.items()} | {"top": bytes_[i]}
        history = [*(history or [row])[-1:], row]
        if i % policy.horizons.execution == 0:
            obs = policy.schema.stack([{key: np.stack([r[key] for r in history]) for key in row}])
            chunk = policy.infer(Inputs(obs, given[f"{name}/noise"][i // policy.horizons.execution]))[0]
        out.append(chunk[i % policy.horizons.execution])
    return np.array(out)


@pytest.mark.parametrize("name, path", [("pictures", "runs/pictures"), ("converted", "joined_run")])
def test_the_same_noise_gives_the_same_actions_on_both_sides(at_work, name, path):
    theirs, given = np.load(at_work / "actions.npz")[name], np.load(at_work / "given.npz")
    ours = acted(isd_policy.load(at_work / path), given, name)
    assert np.ptp(theirs) > 1
    np.testing.assert_allclose(theirs, ours, atol=1e-3)  # of 512, by another version of torch


def test_its_windows_are_those_of_our_training(at_work):
    theirs = np.load(at_work / "windows.npz")
    demos = isd_policy.read(at_work / "pictures")
    ours = ActionChunks(demos, isd_policy.load(at_work / "runs" / "pictures").horizons)
    batch = ours.batch(torch.arange(len(ours)))
    np.testing.assert_array_equal(theirs["action"], batch["action"])
    for key, values in batch["obs"].items():
        np.testing.assert_array_equal(theirs[key], values)


def test_its_training_ends_with_our_scales_and_a_resumed_one_goes_on(at_work):
    policy = isd_policy.load(at_work / "runs" / "pictures")
    assert policy.source.step == MORE
    ours = fit_normaliser(isd_policy.read(at_work / "pictures"), policy.actions).state_dict()
    for key, value in policy.normaliser.state_dict().items():
        torch.testing.assert_close(value, ours[key], rtol=0, atol=0)
    last = isd_policy.load(at_work / "runs" / "pictures", "model")
    moved = [not torch.equal(a, b) for a, b in zip(policy.net.parameters(), last.net.parameters(), strict=True)]
    assert all(moved)  # the average is not the last weights


def test_what_we_write_is_what_lerobot_writes(at_work):
    for name in ("config.json", "policy_preprocessor.json", "policy_postprocessor.json"):
        ours, theirs = (json.loads((at_work / place / name).read_text()) for place in ("converted", "saved"))
        assert {key: theirs[key] for key in ours} == ours


def test_losses_are_repeatable_where_they_judge(at_work):
    said = json.loads((at_work / "said.json").read_text())
    assert said["eval"][0] == said["eval"][1]
    assert said["train"][0] != said["train"][1]
    assert said["chunk"] == [4, 8, 2]


def test_what_cannot_be_trained_is_refused(at_work):
    refused = json.loads((at_work / "said.json").read_text())["refused"]
    assert "`trainer.steps=5` would do nothing here" in refused["settings"]
    assert "weighting of its own to train" in refused["weighting"]
    assert "horizons.execution=8 reaches beyond" in refused["horizon"]
    assert "the policy was trained with 1 and 8" in refused["n_obs_steps"]
    assert "policy.settings=[]: it was trained with" in refused["trained"]


def test_lerobots_command_evaluates_both_in_push_t(at_work):
    said = json.loads((at_work / "said.json").read_text())
    if said["pusht"] is None:
        pytest.skip("gym-pusht is not installed where LeRobot is")
    assert (said["pusht"], said["ours"]) == (2, 2)
