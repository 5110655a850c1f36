"""The server answers as the policy would, survives whatever clients send, and lets nobody in without the token."""

import threading
import time

import msgpack
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from isd_core.support.errors import InputError
from isd_policy.deploy.bundle.folder import read
from isd_policy.deploy.client import NoServerError, RemotePolicy, ServerError, pack, unpack
from isd_policy.deploy.serve.batcher import DynamicBatcher
from isd_policy.deploy.serve.server import Limits, PolicyServer, is_loopback
from isd_policy.loading import load
from tests.policy.deploy.serving import SHORT, running


@pytest.fixture
def served(make_bundle):
    """A loaded policy and its card."""
    folder = make_bundle()
    return load(folder), read(folder).meta


def request(row, **options):
    return pack(row | ({"isd": options} if options else {}))


# -- answers ----------------------------------------------------------------------------------------------------------


def test_a_remote_policy_acts_as_the_one_at_hand(served, observations):
    local, _ = served
    with running(*served) as server, RemotePolicy(server.url) as remote:
        for seed in (0, 1):
            local.reset(seed)
            remote.reset(seed)
            for row in observations(4):
                local.observe(row)
                remote.observe(row)
                np.testing.assert_allclose(remote.act(row), local.act(row), atol=1e-6)


def test_first_frame_describes_the_policy(served, sizes):
    with running(*served) as server, RemotePolicy(server.url) as remote:
        assert remote.metadata["protocol"] == 1
        assert {key: value["shape"] for key, value in remote.metadata["observations"].items()} == {
            key: [size] for key, size in sizes.items()
        }
        assert remote.metadata["actions"]["size"] == 7
        assert "config" not in remote.metadata


def test_one_observation_stands_for_a_robot_at_rest(served, observations):
    local, _ = served
    (row,) = observations(1)
    with running(*served) as server, connect(server.url, max_size=None) as raw:
        raw.recv()
        raw.send(request({key: value.astype(np.float32) for key, value in row.items()}, stream=[0, 0]))
        answer = unpack(raw.recv())
    local.reset(0)
    np.testing.assert_allclose(answer["actions"], local.act(row), atol=1e-6)
    assert answer["ahead"].shape == (15, 7)
    assert answer["server_timing"].keys() == {"read_ms", "queue_ms", "infer_ms", "rows"}


def test_clients_without_a_stream_have_noise_of_their_own(served, observations):
    (row,) = observations(1)
    with running(*served) as server:
        answers = []
        for _ in range(2):
            with connect(server.url, max_size=None) as raw:
                raw.recv()
                for _ in range(2):
                    raw.send(request(row))
                    answers.append(unpack(raw.recv())["actions"].tobytes())
    assert len(set(answers)) == 4


def test_fifty_clients_at_once(served, observations):
    rows = observations(3)
    local, _ = served
    expected = [local.act(row) for row in rows]
    failures, done = [], []

    def drive(url):
        try:
            with RemotePolicy(url) as remote:
                for row, actions in zip(rows, expected, strict=True):
                    np.testing.assert_allclose(remote.act(row), actions, atol=1e-5)
            done.append(1)
        except Exception as error:
            failures.append(error)

    with running(*served, limits=Limits(deadline=20.0)) as server:
        threads = [threading.Thread(target=drive, args=(server.url,)) for _ in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        metrics = server.get("/metrics")[1]
    assert not failures
    assert len(done) == 50
    assert 'isd_requests_total{outcome="ok"} 150.0' in metrics
    assert "isd_connections_total 50.0" in metrics


def test_with_batch_1_a_client_gets_the_same_bits_whoever_else_asks(served, observations):
    rows = observations(6)
    local, _ = served
    expected = {}
    for number, row in enumerate(rows):
        local.reset(number)
        expected[number] = local.act(row)
    got = {}

    def ask(url, number):
        with RemotePolicy(url) as remote:
            remote.reset(number)
            got[number] = remote.act(rows[number])

    with running(*served, batch=1, limits=Limits(deadline=20.0)) as server:
        threads = [threading.Thread(target=ask, args=(server.url, number)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    for number, actions in expected.items():
        np.testing.assert_array_equal(got[number], actions)


# -- what clients send wrong ------------------------------------------------------------------------------------------


def deep(levels):
    return [deep(levels - 1)] if levels else [0.0]


def with_extension(row, value):
    """A request whose `object` is of a type that msgpack lets programs define."""
    content = {key: value.tolist() for key, value in row.items()} | {"object": value}
    return msgpack.packb(content)


def wrong(row):
    """name -> (frame, words of the answer)."""
    good = pack(row)
    return {
        "garbage": (b"\xc1garbage", "not msgpack"),
        "truncated": (good[: len(good) // 2], "not msgpack"),
        "empty": (b"", "not msgpack"),
        "text": ("hello", "binary frame"),
        "list": (pack([1, 2]), "a map of observations"),
        "missing key": (pack({k: v for k, v in row.items() if k != "object"}), "no `object`"),
        "wrong shape": (pack(row | {"object": np.zeros(14)}), "shape (14,)"),
        "history too long": (pack(row | {"object": np.zeros((3, 10))}), "the policy sees the last 2"),
        "not finite": (pack(row | {"object": np.full(10, np.nan)}), "not finite"),
        "text for numbers": (pack(row | {"object": "ten"}), "`object` holds str; expected numbers"),
        "texts of numbers": (pack(row | {"object": ["1.0"] * 10}), "expected numbers"),
        "bytes": (pack(row | {"object": b"0123456789"}), "`object` holds bytes; expected numbers"),
        "map": (pack(row | {"object": {"x": 1.0}}), "`object` holds dict; expected numbers"),
        "nothing": (pack(row | {"object": None}), "`object` holds NoneType; expected numbers"),
        "ragged list": (pack(row | {"object": [[1.0], [1.0, 2.0]]}), "`object` is no array of numbers"),
        "ragged history": (pack(row | {"object": [[0.0] * 10, [0.0] * 9]}), "`object` is no array of numbers"),
        "list of nothing": (pack(row | {"object": [None] * 10}), "expected numbers"),
        "short list": (pack(row | {"object": [1.0, 2.0]}), "shape (2,)"),
        "deep list": (pack(row | {"object": deep(200)}), "`object`"),
        "extension type": (with_extension(row, msgpack.ExtType(5, bytes(4))), "expected numbers"),
        "time stamp": (with_extension(row, msgpack.Timestamp(1)), "`object`"),
        "options that are a list": (pack(row | {"isd": [1]}), "`isd` is a map"),
        "endless stream": (request(row, stream=[1] * 10_000), "`stream` is 1 to 16"),
        "text for a deadline": (request(row, deadline_ms="soon"), "`deadline_ms`"),
        "not a number for a deadline": (request(row, deadline_ms=float("nan")), "`deadline_ms`"),
        "objects": (good.replace(b"<f8", b"|O8"), "only booleans, integers and floating-point"),
        "stream": (request(row, stream=[-1]), "`stream`"),
        "deadline": (request(row, deadline_ms=0), "`deadline_ms`"),
        "option": (request(row, nfe=3), "`isd` is a map"),
    }


def test_what_is_wrong_is_answered_by_a_text_and_the_connection_lives_on(served, observations):
    (row,) = observations(1)
    cases = wrong(row)
    with running(*served) as server, connect(server.url, max_size=None) as raw:
        raw.recv()
        for name, (frame, words) in cases.items():
            raw.send(frame)
            answer = raw.recv()
            assert isinstance(answer, str), name
            assert words in answer, name
            assert "\n" not in answer
        raw.send(pack(row))
        assert isinstance(raw.recv(), bytes)
        assert f'outcome="refused"}} {len(cases)}.0' in server.get("/metrics")[1]


def test_lists_of_numbers_are_an_observation(served, observations):
    (row,) = observations(1)
    with running(*served) as server, connect(server.url, max_size=None) as raw:
        raw.recv()
        raw.send(request({key: value.tolist() for key, value in row.items()}, stream=[0, 0]))
        assert unpack(raw.recv())["actions"].shape == (8, 7)


def test_actions_that_are_not_finite_are_a_failure_of_that_client_alone(served, observations):
    """Finite observations beyond all reason overflow in the network."""
    (row,) = observations(1)
    far = {key: np.full_like(value, 1e30) for key, value in row.items()}
    with running(*served) as server:
        with RemotePolicy(server.url) as mad, RemotePolicy(server.url) as other:
            with pytest.raises(ServerError, match="actions are not finite"):
                mad.act(far)
            assert np.isfinite(other.act(row)).all()
        metrics = server.get("/metrics")[1]
    assert 'outcome="failed"} 1.0' in metrics
    assert 'outcome="ok"} 1.0' in metrics


def test_a_frame_of_a_gigabyte_ends_its_connection_before_it_is_read(served, observations):
    """Its header alone is sent: the server must not wait for the rest, nor keep room for it."""
    header = bytes([0x82, 0xFF]) + (2**30).to_bytes(8, "big") + bytes(4)
    with running(*served) as server, RemotePolicy(server.url) as other:
        with connect(server.url, max_size=None) as raw:
            raw.recv()
            raw.socket.sendall(header + bytes(1000))
            with pytest.raises(ConnectionClosed) as closed:
                raw.recv(timeout=10)
        assert closed.value.rcvd.code == 1009
        assert other.act(observations(1)[0]).shape == (8, 7)


def test_a_client_that_vanishes_leaves_nothing_behind(served, observations):
    (row,) = observations(1)
    with running(*served) as server:
        with connect(server.url, max_size=None) as raw:
            raw.recv()
            raw.send(pack(row))
            raw.socket.close()
        with RemotePolicy(server.url) as remote:
            assert remote.act(row).shape == (8, 7)
        assert _soon(lambda: "isd_clients 0.0" in server.get("/metrics")[1])


def _soon(check, seconds=10.0):
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        if check():
            return True
        time.sleep(0.02)
    return False


# -- deadlines, faults of the policy ----------------------------------------------------------------------------------


class Slow:
    """A policy that takes its time."""

    def __init__(self, policy, seconds):
        self.policy, self.seconds = policy, seconds
        self.schema, self.horizons, self.row = policy.schema, policy.horizons, policy.row
        self.preprocess, self.fails = policy.preprocess, False

    def infer(self, inputs):
        if self.fails:
            raise ZeroDivisionError("no weights left")
        time.sleep(self.seconds)
        return self.policy.infer(inputs)


def test_late_answer_is_a_text_and_health_and_others_do_not_wait(served, observations):
    policy, card = served
    (row,) = observations(1)
    slow = Slow(policy, 1.0)
    with running(slow, card, batch=1, limits=SHORT) as server, connect(server.url, max_size=None) as raw:
        raw.recv()
        raw.send(pack(row))
        began = time.monotonic()
        assert server.get("/healthz")[0] == 200
        assert time.monotonic() - began < 0.9  # the event loop is free while the policy computes
        assert "deadline of 300 ms" in raw.recv()
        assert server.get("/healthz") == (503, "the policy hangs\n")
        assert _soon(lambda: server.get("/healthz")[0] == 200)
        assert 'outcome="late"} 1.0' in server.get("/metrics")[1]


def test_client_s_own_deadline_is_kept(served, observations):
    policy, card = served
    with running(Slow(policy, 0.5), card, batch=1) as server, connect(server.url, max_size=None) as raw:
        raw.recv()
        raw.send(request(observations(1)[0], deadline_ms=50))
        assert "deadline of 50 ms" in raw.recv(timeout=0.4)


def test_policy_that_raises_is_told_and_the_server_lives_on(served, observations):
    policy, card = served
    slow = Slow(policy, 0.0)
    with running(slow, card) as server, RemotePolicy(server.url) as remote:
        slow.fails = True
        with pytest.raises(ServerError, match="The policy failed: ZeroDivisionError: no weights left"):
            remote.act(observations(1)[0])
        slow.fails = False
        assert remote.act(observations(1)[0]).shape == (8, 7)


# -- who may connect --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["Bearer", "Api-Key"])
def test_token_is_accepted_in_both_forms(served, scheme):
    with running(*served, token="sesame") as server:
        with connect(server.url, additional_headers={"Authorization": f"{scheme} sesame"}) as raw:
            assert isinstance(raw.recv(), bytes)
        assert server.get("/metrics", token=f"{scheme} sesame")[0] == 200


@pytest.mark.parametrize(
    "header", [None, "Bearer open", "Basic sesame", "sesame", "Bearer  sesame", "Bearer", "Bearer é"]
)
def test_without_the_token_nobody_gets_in(served, header):
    with running(*served, token="sesame") as server:
        headers = {} if header is None else {"Authorization": header}
        with pytest.raises(InvalidStatus, match="401"), connect(server.url, additional_headers=headers):
            pass
        assert server.get("/metrics")[0] == 401
        assert server.get("/healthz")[0] == 200


def test_two_tokens_are_none(served):
    with running(*served, token="sesame") as server:
        headers = [("Authorization", "Bearer sesame"), ("Authorization", "Bearer sesame")]
        with pytest.raises(InvalidStatus, match="401"), connect(server.url, additional_headers=headers):
            pass


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://robot.example", "https://robot.example.evil"]
)
def test_a_web_page_may_not_connect_unless_it_is_named(served, origin):
    with running(*served, origins=["https://robot.example"]) as server:
        with pytest.raises(InvalidStatus, match="403"), connect(server.url, origin=origin):
            pass
        with connect(server.url, origin="https://robot.example") as raw:
            assert isinstance(raw.recv(), bytes)
        assert "isd_connections_rejected_total 1.0" in server.get("/metrics")[1]


def test_client_is_told_that_its_token_is_wrong(served):
    with running(*served, token="sesame") as server:
        with pytest.raises(ServerError, match="HTTP 401"):
            RemotePolicy(server.url, token="wrong", retry=5.0)
        with RemotePolicy(server.url, token="sesame") as remote:
            assert remote.connections == 1


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.0.7", "::", "robot.local", ""])
def test_address_beyond_this_machine_needs_a_token(served, host):
    policy, card = served
    batcher = DynamicBatcher(policy, 1)
    with pytest.raises(InputError, match="reaches beyond this machine"):
        PolicyServer(policy, card, batcher, host=host)
    PolicyServer(policy, card, batcher, host=host, token="sesame")
    batcher.close()


def test_loopback_addresses():
    assert all(map(is_loopback, ("127.0.0.1", "127.5.5.5", "::1", "localhost")))


def test_more_clients_than_the_limit_are_turned_away(served):
    with running(*served, limits=Limits(clients=2)) as server:
        with RemotePolicy(server.url), RemotePolicy(server.url), pytest.raises(ServerError, match="HTTP 503"):
            RemotePolicy(server.url, retry=0.0)
        assert _soon(lambda: "isd_clients 0.0" in server.get("/metrics")[1])
        RemotePolicy(server.url).close()


# -- the end, and a new beginning -------------------------------------------------------------------------------------


def test_ending_gives_the_answer_that_is_due(served, observations):
    policy, card = served
    entered = threading.Event()
    slow = Slow(policy, 0.4)
    slow.preprocess = lambda calls: (entered.set(), policy.preprocess(calls))[1]
    with running(slow, card, batch=1) as server, connect(server.url, max_size=None) as raw:
        raw.recv()
        raw.send(pack(observations(1)[0]))
        assert entered.wait(5)
        server.stop()
        assert isinstance(raw.recv(timeout=5), bytes)
        with pytest.raises(ConnectionClosed):
            raw.recv(timeout=5)


def test_client_finds_a_server_that_was_restarted(served, observations):
    (row,) = observations(1)
    with running(*served) as server:
        remote = RemotePolicy(server.url)
        first = remote.act(row)
    with running(*served, port=server.port):
        remote.reset()
        np.testing.assert_allclose(remote.act(row), first, atol=1e-6)
        assert remote.connections == 2
        remote.close()


def test_without_a_server_the_client_gives_up_in_time():
    began = time.monotonic()
    with pytest.raises(NoServerError, match="no policy server"):
        RemotePolicy("ws://127.0.0.1:9", retry=0.2)
    assert time.monotonic() - began < 5.0


def test_a_server_that_does_not_answer_is_given_up(served, observations):
    policy, card = served
    with running(Slow(policy, 1.0), card, batch=1) as server:
        remote = RemotePolicy(server.url, timeout=0.2, retry=0.0)
        with pytest.raises(ServerError, match=r"did not answer within 0.2 s|deadline of 200 ms"):
            remote.act(observations(1)[0])
        remote.close()
