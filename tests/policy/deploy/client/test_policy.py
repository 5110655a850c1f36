"""The client takes from a server what a policy server says, and nothing else."""

import threading

import numpy as np
import pytest
from websockets.sync.server import serve

from isd_policy.deploy.client import NoServerError, RemotePolicy, WireError, pack

CARD = {
    "horizons": {"observation": 2, "prediction": 16, "execution": 8},
    "observations": {"object": {"shape": [3]}},
    "actions": {"size": 7},
}
OBS = {"object": np.zeros(3)}


@pytest.fixture
def server_of():
    """Starts a server that sends a first frame and answers every request by another; returns its address."""
    started = []

    def start(first, answer=b""):
        def talk(connection):
            connection.send(first)
            for _ in connection:
                connection.send(answer)

        server = serve(talk, "127.0.0.1", 0, max_size=None)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        started.append((server, thread))
        return f"ws://127.0.0.1:{server.socket.getsockname()[1]}"

    yield start
    for server, thread in started:
        server.shutdown()
        thread.join(5)


@pytest.mark.parametrize(
    "first",
    [
        b"\xc1",
        pack([1]),
        pack({}),
        pack(CARD | {"horizons": {"observation": 10**9, "execution": 8}}),
        pack(CARD | {"horizons": {"observation": 2, "execution": 0}}),
        pack(CARD | {"horizons": {"observation": "2", "execution": 8}}),
        pack(CARD | {"actions": {"size": True}}),
        pack(CARD | {"observations": ["object"]}),
    ],
)
def test_what_does_not_describe_a_policy_is_no_policy_server(server_of, first):
    with pytest.raises(WireError):
        RemotePolicy(server_of(first), retry=0.0)


@pytest.mark.parametrize(
    "answer",
    [
        b"\xc1",
        pack(7),
        pack({"ahead": [[0.0] * 7] * 8}),
        pack({"ahead": np.zeros((8, 6), np.float32)}),
        pack({"ahead": np.zeros((7, 7), np.float32)}),
        pack({"ahead": np.zeros((70_000, 7), np.float16)}),
        pack({"ahead": np.zeros((8, 7), np.int32)}),
        pack({"ahead": np.full((8, 7), np.nan, np.float32)}),
        pack({"ahead": np.full((8, 7), np.inf, np.float32)}),
    ],
)
def test_what_is_no_action_of_the_policy_is_refused(server_of, answer):
    with RemotePolicy(server_of(pack(CARD), answer), retry=0.0) as policy, pytest.raises(WireError):
        policy.act(OBS)


def test_a_frame_without_end_is_not_taken(server_of):
    huge = pack({"ahead": np.zeros((8, 7), np.float32), "more": np.zeros(2**22)})
    with RemotePolicy(server_of(pack(CARD), huge), retry=0.0) as policy, pytest.raises(NoServerError):
        policy.act(OBS)


def test_actions_of_the_policy_are_taken(server_of):
    answer = pack({"ahead": np.full((15, 7), 0.5, np.float32)})
    with RemotePolicy(server_of(pack(CARD), answer)) as policy:
        np.testing.assert_array_equal(policy.act(OBS), np.full((8, 7), 0.5))
