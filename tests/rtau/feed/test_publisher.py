import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest
import zmq

import rtau
from rtau.errors import FeedError
from rtau.feed.config import FeedConfig
from rtau.feed.keys import new_keys
from rtau.feed.publisher import Publisher
from rtau.messages import AUFrame, Hello
from tests.rtau.feed import made_up

TIMEOUT_S = 20.0


def wait_until(holds: object, what: str) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < deadline, what


def test_only_this_machine_can_listen_by_default() -> None:
    assert FeedConfig().endpoints == ("tcp://127.0.0.1:5570",)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "[::1]"])
def test_loopback_needs_no_keys(host: str) -> None:
    try:
        with made_up.publisher(endpoints=(f"tcp://{host}:*",)) as feed:
            assert feed.endpoints[0].startswith("tcp://")
    except FeedError as error:
        if "[" not in host:
            raise
        pytest.skip(f"no IPv6 here: {error}")


@pytest.mark.parametrize("host", ["0.0.0.0", "*", "[::]", "192.168.1.5", "eth0", "some.host"])
def test_an_address_that_others_can_reach_needs_keys(host: str) -> None:
    with pytest.raises(FeedError, match="--curve"):
        Publisher(FeedConfig(endpoints=(f"tcp://{host}:5570",)))


def test_insecure_must_be_said() -> None:
    with made_up.publisher(endpoints=("tcp://0.0.0.0:*",), insecure=True) as feed:
        assert feed.endpoints[0].startswith("tcp://0.0.0.0:")


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "foo",
        "tcp://",
        "tcp://127.0.0.1",
        "tcp://127.0.0.1:x",
        "tcp://127.0.0.1:65536",
        "udp://127.0.0.1:1",
        "ipc://",
    ],
)
def test_an_endpoint_that_is_none(endpoint: str) -> None:
    with pytest.raises(FeedError, match="tcp://HOST:PORT"):
        Publisher(FeedConfig(endpoints=(endpoint,)))


def test_no_endpoint_at_all() -> None:
    with pytest.raises(FeedError, match="no endpoint"):
        Publisher(FeedConfig(endpoints=()))


def test_an_endpoint_in_use_is_refused(tmp_path: Path) -> None:
    with made_up.publisher(endpoints=("tcp://127.0.0.1:*", f"ipc://{tmp_path}/feed")) as feed:
        for endpoint in feed.endpoints:
            with pytest.raises(FeedError, match="in use"):
                Publisher(FeedConfig(endpoints=(endpoint,)))


def test_ipc_replaces_a_dead_socket_but_no_file(tmp_path: Path) -> None:
    dead, file = tmp_path / "dead", tmp_path / "file"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(dead))
    file.write_text("precious")
    with made_up.publisher(endpoints=(f"ipc://{dead}",)) as feed:
        with rtau.subscribe(feed.endpoints[0], timeout_s=TIMEOUT_S) as subscription:
            made_up.wait_for_subscription(feed)
            feed.send("au.cam", made_up.frame(1))
            assert next(subscription).seq == 0
    assert not dead.exists()
    with pytest.raises(FeedError, match="a file of this name exists"):
        Publisher(FeedConfig(endpoints=(f"ipc://{file}",)))
    assert file.read_text() == "precious"
    with pytest.raises(FeedError, match="no such file or directory"):
        Publisher(FeedConfig(endpoints=(f"ipc://{tmp_path}/no/folder",)))


def test_messages_are_numbered_by_topic_and_stamped() -> None:
    before = time.monotonic_ns()
    with made_up.publisher() as feed, rtau.subscribe(feed.endpoints[0], ("",), timeout_s=TIMEOUT_S) as subscription:
        made_up.wait_for_subscription(feed)
        for message in (made_up.frame(0), made_up.event(), made_up.frame(5)):
            feed.send(f"{'au' if isinstance(message, AUFrame) else 'event'}.cam", message)
        came = [next(subscription) for _ in range(3)]
        assert [message.seq for message in came] == [0, 0, 1]
        assert all(before < message.t_publish_ns < time.monotonic_ns() for message in came)
        assert subscription.missed == 0  # a gap in the frame index is the pipeline's drop, not the network's


@pytest.mark.parametrize("encoding", ["msgpack", "json"])
def test_encodings(encoding: str) -> None:
    frame = made_up.frame(2, made_up.face(landmarks=[(1.0, 2.0, 3.0)]))
    with made_up.publisher(encoding=encoding) as feed, zmq.Context() as context, context.socket(zmq.SUB) as plain:
        plain.subscribe(b"")
        plain.connect(feed.endpoints[0])
        with rtau.subscribe(feed.endpoints[0], ("",), timeout_s=TIMEOUT_S) as subscription:
            made_up.wait_for_subscription(feed, 2)
            feed.hello("cam", made_up.hello())
            feed.send("au.cam", frame)
            introduced, came = next(subscription), next(subscription)
        assert isinstance(introduced, Hello)
        assert introduced.encoding == encoding
        assert msgspec.structs.replace(came, seq=0, t_publish_ns=0) == frame
        assert plain.recv_multipart()[0] == b"hello.cam"
        topic, payload = plain.recv_multipart()
        content = (msgspec.json if encoding == "json" else msgspec.msgpack).decode(payload)
        assert (topic, content["faces"][0]["track_id"]) == (b"au.cam", 1)


def test_who_comes_late_is_told_what_the_numbers_mean() -> None:
    with made_up.publisher() as feed:
        feed.hello("cam", made_up.hello())
        feed.hello("other", made_up.hello("other"))
        feed.send("au.cam", made_up.frame(0))
        for _ in range(2):  # also the second one with the same topics
            with rtau.subscribe(feed.endpoints[0], ("hello.", "au."), timeout_s=TIMEOUT_S) as late:
                made_up.wait_for_subscription(feed, 2)
                wait_until(lambda: not feed.serve() and not feed._broadcast._asked, "hello was not sent")
                introduced = [next(late), next(late)]
                assert {message.source_id for message in introduced} == {"cam", "other"}
                assert all(isinstance(message, Hello) for message in introduced)
        feed.forget("cam")
        with rtau.subscribe(feed.endpoints[0], ("hello.",), timeout_s=TIMEOUT_S) as later:
            made_up.wait_for_subscription(feed)
            wait_until(lambda: not feed.serve() and not feed._broadcast._asked, "hello was not sent")
            feed.hello("third", made_up.hello("third"))
            assert [next(later).source_id, next(later).source_id] == ["other", "third"]


def test_hello_comes_again_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtau.feed.publisher._HELLO_EVERY_S", 0.1)
    with made_up.publisher() as feed, rtau.subscribe(feed.endpoints[0], ("hello.",), timeout_s=TIMEOUT_S) as listener:
        made_up.wait_for_subscription(feed)
        feed.hello("cam", made_up.hello())
        first = next(listener)
        times = []

        def twice() -> bool:
            feed.serve()
            if listener._socket.poll(0):
                times.append(next(listener))
            return len(times) == 2

        wait_until(twice, "no second hello")
        assert times == [first, first]
        assert listener.missed == 0


def test_a_name_that_breaks_topics_is_refused() -> None:
    with made_up.publisher() as feed, pytest.raises(FeedError, match="cannot name a source"):
        feed.hello("a.b", made_up.hello("a.b"))


def test_subscribers_are_counted() -> None:
    with made_up.publisher() as feed:
        assert feed.subscribers == 0
        with rtau.subscribe(feed.endpoints[0]), rtau.subscribe(feed.endpoints[0]):
            made_up.wait_for_subscription(feed, 2)
            assert feed.subscribers == 2
        wait_until(lambda: feed.subscribers == 0, "subscribers left, but are counted")


READER_THAT_STOPS = """
import sys, zmq
with zmq.Context() as context, context.socket(zmq.SUB) as subscriber:
    subscriber.rcvhwm = 10
    subscriber.subscribe(b"")
    subscriber.connect(sys.argv[1])
    subscriber.recv_multipart()
    print("stopped", flush=True)
    sys.stdin.read()
"""


def test_a_subscriber_that_stops_reading_slows_nobody() -> None:
    """Others get everything; sending takes no longer; memory stays bounded and the overflow is counted."""
    mesh = [(1.5, 2.5, 3.5)] * 478
    frame = made_up.frame(0, made_up.face(landmarks=mesh))  # 13 kB
    with made_up.publisher(high_water_mark=20) as feed:
        reader = subprocess.Popen(
            [sys.executable, "-c", READER_THAT_STOPS, feed.endpoints[0]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            made_up.wait_for_subscription(feed)
            feed.send("au.cam", frame)
            assert reader.stdout is not None
            assert reader.stdout.readline() == "stopped\n"
            reader.send_signal(signal.SIGSTOP)
            with rtau.subscribe(feed.endpoints[0], timeout_s=TIMEOUT_S) as good:
                made_up.wait_for_subscription(feed)
                slowest = 0.0
                for index in range(1, 2001):
                    started = time.perf_counter()
                    feed.send("au.cam", msgspec.structs.replace(frame, frame_index=index))
                    slowest = max(slowest, time.perf_counter() - started)
                    message = next(good)
                    assert isinstance(message, AUFrame)
                    assert message.frame_index == index
                assert good.missed == 0
            assert feed.overflows >= 1
            assert slowest < 0.5
        finally:
            reader.kill()
            reader.communicate()


def test_many_subscriptions_at_once_bring_one_hello_each_pause() -> None:
    """Who subscribes again and again cannot make the publisher repeat itself as often."""
    with made_up.publisher() as feed, zmq.Context() as context, context.socket(zmq.XSUB) as restless:
        feed.hello("cam", made_up.hello())
        restless.setsockopt(zmq.RCVTIMEO, 500)
        restless.setsockopt(zmq.SNDHWM, 0)
        restless.connect(feed.endpoints[0])
        for _ in range(500):
            restless.send(b"\x01hello.")
            restless.send(b"\x00hello.")
        restless.send(b"\x01hello.")
        made_up.wait_for_subscription(feed, 2)
        wait_until(lambda: not feed.serve() and not feed._broadcast._asked, "hello was not sent")
        came = 0
        while restless.poll(300):
            restless.recv_multipart()
            came += 1
        assert 1 <= came <= 10


def test_what_a_subscriber_sends_is_ignored() -> None:
    with made_up.publisher() as feed, zmq.Context() as context, context.socket(zmq.XSUB) as chatty:
        chatty.connect(feed.endpoints[0])
        for said in (b"", b"\x02junk", b"\x80\x04pickle", b"x" * 4000, b"\x01au."):
            chatty.send(said)
        made_up.wait_for_subscription(feed)
        feed.send("au.cam", made_up.frame(0))
        assert chatty.poll(1000 * TIMEOUT_S)
        assert chatty.recv_multipart()[0] == b"au.cam"


def test_bytes_that_are_no_zeromq_do_no_harm() -> None:
    with made_up.publisher() as feed:
        host, port = feed.endpoints[0].removeprefix("tcp://").split(":")
        with socket.create_connection((host, int(port))) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n" * 100)
            with rtau.subscribe(feed.endpoints[0], timeout_s=TIMEOUT_S) as subscription:
                made_up.wait_for_subscription(feed)
                feed.send("au.cam", made_up.frame(0))
                assert isinstance(next(subscription), AUFrame)


def test_closing_is_prompt_and_frees_the_address() -> None:
    before = threading.active_count()
    with made_up.publisher() as feed:
        endpoint = feed.endpoints[0]
    with made_up.publisher(endpoints=(endpoint,)), rtau.subscribe(endpoint):
        pass
    assert threading.active_count() == before
    with made_up.publisher(endpoints=(endpoint,)):
        pass


# Keys


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not zmq.has("curve"):
        pytest.skip("this ZeroMQ has no CURVE")
    folder = tmp_path_factory.mktemp("keys")
    new_keys(folder, ("client", "ada"))
    return folder


def receives(feed: Publisher, curve: Path | None) -> bool:
    """Whether a client gets messages, or is refused."""
    with rtau.subscribe(feed.endpoints[0], ("au.",), timeout_s=TIMEOUT_S, curve=curve) as subscription:
        refusals = subscription._socket.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
        )
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            feed.serve()
            feed.send("au.cam", made_up.frame(0))
            if subscription._socket.poll(10):
                return isinstance(next(subscription), AUFrame)
            if refusals.poll(0):
                return False
        raise AssertionError("neither served nor refused")


def test_key_files_are_for_their_owner_only(keys: Path) -> None:
    files = [path for path in keys.rglob("*") if path.is_file()]
    assert {str(path.relative_to(keys)) for path in files} == {
        "server/server.key",
        "server/server.key_secret",
        "server/clients/client.key",
        "server/clients/ada.key",
        "client/client.key_secret",
        "client/server.key",
        "ada/client.key_secret",
        "ada/server.key",
    }
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert "secret-key" not in (keys / "server" / "clients" / "ada.key").read_text()
    assert "secret-key" not in (keys / "ada" / "server.key").read_text()


def test_a_client_on_the_list_is_served(keys: Path) -> None:
    with made_up.publisher(endpoints=("tcp://0.0.0.0:*",), curve=str(keys / "server")) as feed:
        port = feed.endpoints[0].rpartition(":")[2]
        with rtau.subscribe(f"tcp://127.0.0.1:{port}", timeout_s=TIMEOUT_S, curve=keys / "ada") as subscription:
            made_up.wait_for_subscription(feed)
            feed.send("au.cam", made_up.frame(1))
            assert isinstance(next(subscription), AUFrame)


def test_others_are_not(keys: Path, tmp_path: Path) -> None:
    new_keys(tmp_path / "foreign")
    impostor = tmp_path / "impostor"  # knows whom to talk to, but is on no list
    impostor.mkdir()
    (impostor / "client.key_secret").write_bytes((tmp_path / "foreign/client/client.key_secret").read_bytes())
    (impostor / "server.key").write_bytes((keys / "client/server.key").read_bytes())
    with made_up.publisher(curve=str(keys / "server")) as feed:
        assert receives(feed, keys / "client")
        assert not receives(feed, None)
        assert not receives(feed, impostor)
        assert not receives(feed, tmp_path / "foreign" / "client")


def test_the_list_can_change_while_the_feed_runs(keys: Path, tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    new_keys(folder)
    with made_up.publisher(curve=str(folder / "server")) as feed:
        new_keys(folder, ("second",))
        assert receives(feed, folder / "second")
        (folder / "server" / "clients" / "second.key").unlink()
        (folder / "server" / "clients" / "damaged.key").write_text("nonsense")
        assert not receives(feed, folder / "second")
        assert receives(feed, folder / "client")


def test_keys_that_are_not_there(keys: Path, tmp_path: Path) -> None:
    with pytest.raises(FeedError, match="is not a key file"):
        Publisher(FeedConfig(curve=str(tmp_path)))
    with pytest.raises(FeedError, match="is not a key file"):
        rtau.subscribe(curve=tmp_path)
    folder = tmp_path / "keys"
    new_keys(folder)
    (folder / "server/clients/client.key").unlink()
    with pytest.raises(FeedError, match="no client may connect"):
        Publisher(FeedConfig(curve=str(folder / "server")))
    (folder / "client/server.key").write_text('public-key = "short"')
    with pytest.raises(FeedError, match="is damaged"):
        rtau.subscribe(curve=folder / "client")


def test_keys_are_never_overwritten(keys: Path) -> None:
    before = (keys / "server/server.key_secret").read_bytes()
    with pytest.raises(FeedError, match="exists already"):
        new_keys(keys, ("ada",))
    for name in ("server", "../x", ""):
        with pytest.raises(FeedError, match="cannot name a client"):
            new_keys(keys, (name,))
    assert (keys / "server/server.key_secret").read_bytes() == before


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FeedError, match="cannot be written"):
        new_keys(tmp_path / "file" / "keys")
    assert os.listdir(tmp_path) == ["file"]
