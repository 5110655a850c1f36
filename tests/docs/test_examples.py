"""Each example runs from another folder and prints what a reader expects."""

import re

import pytest

NUMBER = r"(-?\d+\.\d+)"


def number(pattern, text):
    found = re.search(pattern, text)
    assert found, text
    return float(found[1])


@pytest.mark.slow
def test_a_policy_of_own_data_brings_the_point_to_the_middle(run_example):
    assert number(f"ends {NUMBER} from it", run_example("own_data.py")) < 0.1


@pytest.mark.slow
def test_files_of_an_own_format_are_read(run_example):
    text = run_example("own_reader.py")
    assert "4 episodes of 3 numbers, actions of 2." in text and "Found by itself: 4 episodes." in text


@pytest.mark.slow
def test_a_policy_of_an_own_robot_brings_the_angle_to_zero(run_example):
    text = run_example("own_robot.py")
    assert "of 60 deadlines missed" in text and "told to stop: True" in text
    assert abs(number(f"ends at {NUMBER}", text)) < 0.2


@pytest.mark.slow
def test_a_robot_on_a_serial_line_is_homed_driven_and_stopped(run_example):
    text = run_example("serial_robot.py")
    assert "Homed: [" in text and "of 60 deadlines missed" in text and "Stopped: True" in text
    angles = [float(word) for word in re.search(r"The arm is at (.*)\.\n", text)[1].split(", ")]
    assert max(abs(a - b) for a, b in zip(angles, (0.6, -0.4, 0.3), strict=True)) < 0.2


def test_a_serial_line_that_is_silent_or_refuses_is_an_error(serial_robot):
    """The servos know no goal before they are homed; a line without servos does not hold the loop up."""
    arm = serial_robot(answering=True)
    assert arm.angles().shape == (3,)
    with pytest.raises(RuntimeError, match="refused `G"):
        arm.write([0.1, 0.1, 0.1])
    arm.ask("H")
    arm.write([9.0, -9.0, 0.0])  # the driver's own limit
    with pytest.raises(TimeoutError, match="did not answer `R` within"):
        serial_robot(answering=False).read()


@pytest.mark.slow
def test_a_policy_of_an_own_environment_succeeds(run_example):
    assert number(r"1 NFE: (\d+) of 50 starts succeed", run_example("own_environment.py")) >= 40


@pytest.mark.slow
def test_an_own_network_is_trained_and_loaded(run_example):
    assert "parameters, width 64." in run_example("own_network.py")


@pytest.mark.slow
def test_own_objectives_sample_the_data(run_example):
    """Two clusters at (1, 0) and (-1, 0): a spread of about 1 across and .1 along."""
    text = run_example("own_objective.py")
    for name in ("composition, 1 NFE", "class, 20 NFE"):
        across, along = map(float, re.search(rf"{name}: spread {NUMBER}, {NUMBER}", text).groups())
        assert 0.7 < across < 1.3 and along < 0.4


@pytest.mark.slow
def test_three_lines_are_enough(run_example):
    text = run_example("three_lines.py")
    first, second = map(float, re.search(rf"mean of the samples: {NUMBER}, {NUMBER}", text).groups())
    assert abs(first - 3) < 1 and abs(second - 3) < 0.5
    assert "samples: (2, 8, 8, 1)" in text
