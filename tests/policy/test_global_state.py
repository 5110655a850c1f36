"""Building, training, loading and asking a policy change nothing outside it."""

import pytest
import torch

import isd_policy
from isd_policy import commands
from isd_policy.build import build_policy

TINY = ("network=unet1d_small", "network.widths=[8,16]", "trainer.batch_size=4", "trainer.device=cpu")


def test_a_policy_is_built_by_its_seed_and_beside_the_callers_random_numbers(config, normaliser, global_state):
    torch.manual_seed(1)
    before = global_state()
    first = build_policy(config, normaliser).state_dict()
    assert global_state() == before
    torch.manual_seed(2)
    second = build_policy(config, normaliser).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_loaded_policy_leaves_the_process_as_it_was(save_policy, observations, global_state):
    before = global_state()
    isd_policy.load(save_policy()).act(observations(1)[0])
    assert global_state() == before


@pytest.mark.parametrize("words", [("weighting=learned",), ("objective=ddpm",)], ids=["isd", "ddpm"])
def test_a_training_leaves_the_process_as_it_was(demo_file, tmp_path, global_state, words):
    before = global_state()
    words = (*TINY, f"data={demo_file}", f"run_dir={tmp_path / 'run'}", "trainer.steps=2", *words)
    assert commands.train.run(*words) == 0
    assert global_state() == before


@pytest.mark.sim
def test_an_evaluation_leaves_the_process_as_it_was(save_policy, global_state):
    before = global_state()
    words = (f"checkpoint={save_policy()}", "nfe=[1]", "episodes=2", "max_steps=8")
    assert commands.evaluate.run(*words) == 0
    assert global_state() == before
