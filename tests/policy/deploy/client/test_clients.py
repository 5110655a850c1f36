"""Clients in processes and environments of their own, and a client as the policy of a control loop."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from isd_policy.backend import Call
from isd_policy.deploy.bundle.folder import read
from isd_policy.deploy.client import RemotePolicy, ServerError
from isd_policy.deploy.loop.guards import Guards
from isd_policy.deploy.loop.robot import FakeRobot
from isd_policy.deploy.loop.runner import Runner
from isd_policy.deploy.loop.settings import LoopSettings
from isd_policy.deploy.serve import __main__ as serve_command
from isd_policy.loading import load
from tests.policy.deploy import venvs
from tests.policy.deploy.serving import running

ROOT = Path(__file__).resolve().parents[4]
PUBLISHED = "openpi-client==0.1.2"

EPISODE = """
import json, sys
import numpy as np
{connect}
rng = np.random.default_rng(0)
obs = {{key: rng.normal(size=shape).astype(np.float32) for key, shape in {shapes}.items()}}
seen, done = [], []
for chunk in range(3):
    seen.append({{key: value.tolist() for key, value in obs.items()}})
    actions = {ask}
    for action in actions:
        obs["robot0_eef_pos"] = obs["robot0_eef_pos"] + 0.05 * action[:3]
        done.append(action.tolist())
{after}
print(json.dumps({{"seen": seen, "actions": done, "modules": sorted({{m.partition(".")[0] for m in sys.modules}})}}))
"""


class Process:
    """The command `isd_policy.deploy.serve`."""

    def __init__(self, bundle, *words):
        command = [sys.executable, "-m", "isd_policy.deploy.serve", f"bundle={bundle}", "port=0", *words]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, **pipes)
        self.first_line = self.process.stdout.readline()
        found = re.search(r"wss?://127.0.0.1:(\d+)", self.first_line)
        assert found, self.first_line + self.process.stderr.read()
        self.port = int(found[1])

    def end(self, number=signal.SIGTERM):
        """(exit code, what else it printed)."""
        self.process.send_signal(number)
        out, _ = self.process.communicate(timeout=30)
        return self.process.returncode, out


@pytest.fixture
def serve(make_bundle):
    """Starts the command on a bundle; what still runs at the end is killed."""
    started = []

    def start(*words):
        bundle = make_bundle() if not started else started[0][0]
        started.append((bundle, Process(bundle, *words)))
        return started[-1]

    yield start
    for _, server in started:
        if server.process.poll() is None:
            server.process.kill()
            server.process.communicate()


def check_episode(content, bundle, streams):
    """The actions are those of the policy at hand for the observations that the client saw, repeated to fill To."""
    policy = load(bundle)
    assert len(content["actions"]) == 24
    for number, (obs, stream) in enumerate(zip(content["seen"], streams, strict=True)):
        row = policy.row({key: np.array(value) for key, value in obs.items()})
        expected = policy.infer(policy.preprocess([Call([row] * 2, stream)]))[0, :8]
        np.testing.assert_allclose(content["actions"][8 * number : 8 * number + 8], expected, atol=1e-5)


def test_the_client_alone_in_another_environment_drives_an_episode(serve, sizes, tmp_path):
    bundle, server = serve("seed=7")
    python = venvs.make(tmp_path / "venv", "numpy", "msgpack", "websockets")
    venvs.install(python, venvs.build(ROOT / "isd_policy/deploy/client", tmp_path / "dist"))
    code = EPISODE.format(
        connect=f"from isd_client import RemotePolicy\npolicy = RemotePolicy('ws://127.0.0.1:{server.port}')",
        shapes=sizes,
        ask="(policy.reset(seed=chunk), policy.act(obs))[1]",
        after="policy.close()",
    )
    content = json.loads(venvs.answer(python, code, tmp_path))
    assert "isd_client" in content["modules"]
    assert not {"torch", "isd_policy", "isd_core"} & set(content["modules"])
    check_episode(content, bundle, [(number, 0) for number in range(3)])
    code, out = server.end()
    assert (code, "Ending" in out) == (0, True)


def test_the_published_client_drives_an_episode(serve, sizes, tmp_path):
    bundle, server = serve("seed=7")
    python = venvs.make(tmp_path / "venv", "numpy", "msgpack", "websockets", "typing_extensions")
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps"]
    command += ["--timeout", "10", "--retries", "1", PUBLISHED]
    installed = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if installed.returncode:
        pytest.skip(f"{PUBLISHED} cannot be installed, probably for want of a package index: {installed.stderr[-300:]}")
    code = EPISODE.format(
        connect="from openpi_client.websocket_client_policy import WebsocketClientPolicy\n"
        f"policy = WebsocketClientPolicy(host='127.0.0.1', port={server.port})\n"
        "assert policy.get_server_metadata()['horizons']['execution'] == 8",
        shapes=sizes,
        ask="policy.infer(obs)['actions']",
        after="try:\n    policy.infer({'object': obs['object']})\nexcept RuntimeError as error:\n"
        "    assert 'Error in inference server' in str(error) and 'no `robot0_eef_pos`' in str(error)\n"
        "else:\n    raise SystemExit('a wrong observation was not refused')",
    )
    content = json.loads(venvs.answer(python, code, tmp_path))
    check_episode(content, bundle, [(7, 0, number) for number in range(3)])
    assert server.end(signal.SIGINT)[0] == 0


def test_the_command_needs_a_token_beyond_this_machine(make_bundle, capsys):
    words = [f"bundle={make_bundle()}", "host=0.0.0.0", "port=0"]
    assert serve_command.main.run(*words) == 2
    assert "token_file" in capsys.readouterr().err


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602])
def test_a_secret_that_everybody_may_read_or_write_is_refused(mode, make_bundle, tmp_path, capsys):
    secret = tmp_path / "secret"
    secret.write_text("sesame")
    secret.chmod(mode)
    for words in ([f"token_file={secret}"], [f"certfile={tmp_path / 'cert'}", f"keyfile={secret}"]):
        command = [f"bundle={make_bundle(name=f'{len(words)}.isd')}", "port=0", *words]
        assert serve_command.main.run(*command) == 2
        assert "chmod 600" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words, said",
    [
        (["keyfile=key.pem"], "needs certfile"),
        (["certfile=nowhere.pem"], "nowhere.pem"),
        (["origins=[robot]"], "expected a list of origins"),
        (["batch=100000"], "batch=100000"),
        (["nfe=1000000000"], "nfe=1000000000"),
    ],
)
def test_what_the_server_cannot_use_is_said_before_it_listens(words, said, make_bundle, capsys):
    command = [f"bundle={make_bundle()}", "port=0", *words]
    assert serve_command.main.run(*command) == 2
    assert said in capsys.readouterr().err


def test_connections_are_private_with_a_certificate(serve, tmp_path, observations):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext",
         "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True,
    )  # fmt: skip
    key.chmod(0o600)
    _, server = serve(f"certfile={cert}", f"keyfile={key}")
    with RemotePolicy(f"wss://127.0.0.1:{server.port}", cafile=str(cert)) as remote:
        assert remote.act(observations(1)[0]).shape == (8, 7)
    with pytest.raises(ServerError, match="certificate verify failed"):
        RemotePolicy(f"wss://127.0.0.1:{server.port}", retry=0.0)


@pytest.mark.parametrize("content", [None, "", "sésame"])
def test_a_token_file_must_hold_a_secret(content, make_bundle, tmp_path, capsys):
    if content is not None:
        (tmp_path / "token").write_text(content)
        (tmp_path / "token").chmod(0o600)
    words = [f"bundle={make_bundle()}", f"token_file={tmp_path / 'token'}", "port=0"]
    assert serve_command.main.run(*words) == 2
    assert "token_file" in capsys.readouterr().err


# -- a client as the policy of a loop ---------------------------------------------------------------------------------


@pytest.fixture
def served(make_bundle):
    folder = make_bundle()
    return load(folder), read(folder).meta


def test_a_remote_policy_drives_the_loop(served):
    policy, card = served
    robot = FakeRobot(policy.schema)
    with (
        running(policy, card) as server,
        RemotePolicy(server.url) as remote,
        Runner(robot, remote, Guards.displacements(7), LoopSettings(rate=100)) as runner,
    ):
        report = runner.run(60)
    assert report.fault is None
    assert (report.ticks, len(robot.written)) == (60, 60)
    assert report.counts["calls"] > 6


def test_a_server_that_is_restarted_in_mid_episode_costs_no_tick(served):
    """While it is away the robot goes on with the reserve, then holds; afterwards the policy drives again."""
    policy, card = served
    robot = FakeRobot(policy.schema)
    first = running(policy, card)
    server = first.__enter__()
    remote = RemotePolicy(server.url, timeout=2.0, retry=0.0)
    restarted = []

    def until():
        if len(robot.written) == 30:
            first.__exit__(None, None, None)
        if len(robot.written) == 45 and not restarted:
            again = running(policy, card, port=server.port)
            again.__enter__()
            restarted.append(again)
        return False

    try:
        with Runner(robot, remote, Guards.displacements(7), LoopSettings(rate=50, hold=5.0)) as runner:
            report = runner.run(150, until)
    finally:
        for again in restarted:
            again.__exit__(None, None, None)
    assert report.fault is None
    assert len(robot.written) == 150
    assert report.counts["failed"] > 0
    assert remote.connections == 2
    assert "NoServerError" in " ".join(event for _, event in report.events)
    assert [chunk.outcome for chunk in report.chunks][-2] == "used"


def test_a_server_that_stays_away_ends_in_a_stop(served):
    policy, card = served
    robot = FakeRobot(policy.schema)
    with running(policy, card) as server:
        remote = RemotePolicy(server.url, timeout=1.0, retry=0.0)

        def until():
            if len(robot.written) == 20:
                server.stop()
            return False

        with Runner(robot, remote, Guards.displacements(7), LoopSettings(rate=50, hold=0.3)) as runner:
            report = runner.run(500, until)
    assert robot.stops == 2  # at the fault, and once more at the end
    assert "gave no usable chunk" in report.fault
    assert report.ticks < 100


def test_wrong_observations_are_named_by_the_client(served):
    policy, card = served
    with running(policy, card) as server, RemotePolicy(server.url) as remote:
        with pytest.raises(Exception, match="no `object`"):
            remote.act({"robot0_eef_pos": np.zeros(3)})
        began = time.monotonic()
        assert remote.act({key: np.zeros(shape) for key, shape in policy.schema.shapes.items()}).shape == (8, 7)
        assert time.monotonic() - began < 5.0
