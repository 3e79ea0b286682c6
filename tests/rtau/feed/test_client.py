import asyncio
import gc
import logging
import subprocess
import sys
from pathlib import Path

import pytest
import zmq
import zmq.asyncio

import rtau
from rtau.errors import FeedError
from rtau.feed.client import FeedTimeout
from rtau.feed.wire import encoder
from rtau.messages import AUFrame, Event, Health, Hello, RunHealth
from tests.rtau.feed import made_up

TIMEOUT_S = 20.0


def test_the_import_needs_no_engine() -> None:
    heavy = "torch openvino cv2 numba av numpy pyarrow rich"
    code = f"import rtau, sys; rtau.subscribe; print([name for name in {heavy.split()} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_package_has_only_what_it_says() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        rtau.nonsense  # noqa: B018


def test_messages_are_typed_by_topic() -> None:
    sent = [made_up.frame(0, made_up.face()), made_up.event(), made_up.health(), made_up.run_health()]
    with made_up.publisher() as feed, rtau.subscribe(feed.endpoints[0], ("",), timeout_s=TIMEOUT_S) as subscription:
        made_up.wait_for_subscription(feed)
        for topic, message in zip(("au.cam", "event.cam", "health.cam", "health.rtau"), sent, strict=True):
            feed.send(topic, message)
        feed.hello("cam", made_up.hello())
        assert [type(next(subscription)) for _ in range(5)] == [AUFrame, Event, Health, RunHealth, Hello]


def test_a_topic_without_a_dot_at_its_end_is_meant_exactly() -> None:
    topics = ("au.cam", "event.", "")
    for wanted, expected in ((topics[:1], ["cam"]), (topics[1:2], ["x"]), (topics[2:], ["cam", "cam2", "x"])):
        with made_up.publisher() as feed, rtau.subscribe(feed.endpoints[0], wanted, timeout_s=TIMEOUT_S) as listener:
            made_up.wait_for_subscription(feed)
            for source in ("cam", "cam2"):
                feed.send(f"au.{source}", made_up.frame(0, source_id=source))
            feed.send("event.x", made_up.event("x"))
            feed.send("au.cam", made_up.frame(1, source_id="end"))
            feed.send("event.x", made_up.event("end"))
            came = []
            while (message := next(listener)).source_id != "end":
                came.append(message.source_id)
            assert came == expected


def test_one_string_is_not_a_sequence_of_topics() -> None:
    with pytest.raises(TypeError, match=r"'au\.'"):
        rtau.subscribe(topics="au.")


@pytest.mark.parametrize("endpoint", ["", "foo", "tcp://", "tcp://127.0.0.1:x", "nope://x"])
def test_a_bad_endpoint_is_named(endpoint: str) -> None:
    with pytest.raises(FeedError, match="subscribe to tcp://HOST:PORT"):
        rtau.subscribe(endpoint)


def test_waiting_too_long_is_an_error_after_which_one_may_go_on() -> None:
    with made_up.publisher() as feed, rtau.subscribe(feed.endpoints[0], timeout_s=0.05) as subscription:
        with pytest.raises(FeedTimeout, match=r"no message in 0\.05 s; is the publisher running\?"):
            next(subscription)
        made_up.wait_for_subscription(feed)
        feed.send("au.cam", made_up.frame(4))
        assert subscription._socket.poll(1000 * TIMEOUT_S)
        assert isinstance(next(subscription), AUFrame)


def test_the_publisher_may_come_later_and_come_back() -> None:
    with made_up.publisher() as first:
        endpoint = first.endpoints[0]
    with rtau.subscribe(endpoint, timeout_s=TIMEOUT_S) as subscription:
        for start in (0, 50):
            with made_up.publisher(endpoints=(endpoint,)) as feed:
                while not feed.serve():
                    subscription._socket.poll(10)  # ZeroMQ subscribes anew in the thread that reads
                for index in range(start, start + 3):
                    feed.send("au.cam", made_up.frame(index))
                indices = [message.frame_index for message in (next(subscription) for _ in range(3)) if message]
                assert indices == [start, start + 1, start + 2]
        assert subscription.missed == 0


def test_lost_messages_are_counted_by_the_gaps() -> None:
    with made_up.publisher() as feed, rtau.subscribe(feed.endpoints[0], ("au.cam",), timeout_s=TIMEOUT_S) as listener:
        made_up.wait_for_subscription(feed)
        feed.send("au.cam", made_up.frame(0))
        for index in range(1, 5):
            feed._stamped("au.cam", made_up.frame(index))  # numbered, but lost
        feed.send("au.cam", made_up.frame(5))
        feed.send("au.cam", made_up.frame(6))
        assert [next(listener).seq for _ in range(3)] == [0, 5, 6]
        assert listener.missed == 4


def test_newest_passes_over_what_was_overtaken_but_no_event() -> None:
    with made_up.publisher() as feed:
        with rtau.subscribe(feed.endpoints[0], ("",), timeout_s=TIMEOUT_S, newest=True) as subscription:
            made_up.wait_for_subscription(feed)
            feed.send("au.a", made_up.frame(0, source_id="a"))
            assert next(subscription).seq == 0
            for index in range(1, 10):
                for source in "ab":
                    feed.send(f"au.{source}", made_up.frame(index, source_id=source))
                feed.send("event.a", made_up.event("a"))
            feed.send("health.end", made_up.health("end"))
            came = []
            while not came or came[-1].source_id != "end":
                made_up.wait_until_quiet(subscription)
                came.append(next(subscription))
            frames = [(m.source_id, m.frame_index) for m in came if isinstance(m, AUFrame)]
            assert frames[-2:] == [("a", 9), ("b", 9)]
            assert sum(isinstance(m, Event) for m in came) == 9
            assert subscription.missed == 9 - sum(source == "a" for source, _ in frames)


def test_what_no_reader_understands_is_skipped_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    with zmq.Context() as context, context.socket(zmq.PUB) as rogue:
        port = rogue.bind_to_random_port("tcp://127.0.0.1")
        monitor = rogue.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
        payload = encoder("msgpack")(made_up.frame(1))
        with rtau.subscribe(f"tcp://127.0.0.1:{port}", ("",), timeout_s=TIMEOUT_S) as subscription:
            assert monitor.poll(1000 * TIMEOUT_S)
            while not subscription._socket.poll(10):  # until the subscription has arrived there
                rogue.send_multipart([b"alone"])
            for parts in (
                [b"au.cam", payload, b"more"],
                [b"\xff\xfe", payload],
                [b"", b""],
                [b"au.cam", b""],
                [b"au.cam", payload[:-1]],
                [b"no.such", payload],
                [b"au.cam", b"\x81\xa1x" + b"\x91" * 100_000],
                [b"au.cam", payload],
            ):
                rogue.send_multipart(parts)
            with caplog.at_level(logging.WARNING):
                assert next(subscription) == made_up.frame(1)
            assert subscription.malformed >= 8
        rogue.disable_monitor()
        monitor.close()
    assert len(caplog.records) == 1
    assert "1 parts where a topic and a payload were expected" in caplog.text


def test_closing_ends_the_iteration() -> None:
    with rtau.subscribe("tcp://127.0.0.1:9") as subscription:
        pass
    assert list(subscription) == []
    with pytest.raises(FeedError, match="is closed"):
        subscription.receive()
    subscription.close()


def test_a_forgotten_subscription_leaves_no_socket() -> None:
    """Warnings are errors here, and pyzmq warns of sockets that were not closed."""
    context = rtau.subscribe("tcp://127.0.0.1:9")._socket.context
    gc.collect()
    assert context.closed


def test_a_slow_reader_keeps_a_bounded_queue() -> None:
    with made_up.publisher(high_water_mark=10) as feed:
        with rtau.subscribe(feed.endpoints[0], timeout_s=0.5, queue=10) as subscription:
            made_up.wait_for_subscription(feed)
            face = made_up.face(landmarks=[(1.5, 2.5, 3.5)] * 478)
            for index in range(3000):
                feed.send("au.cam", made_up.frame(index, face))
            came = []
            with pytest.raises(FeedTimeout):
                came += [message.seq for message in subscription]
            feed.send("au.cam", made_up.frame(3000, face))
            assert subscription._socket.poll(1000 * TIMEOUT_S)
            last = next(subscription)
            assert last.seq == 3000
            assert subscription.missed > 0


# asyncio


def test_async_gives_the_same() -> None:
    async def listen() -> None:
        with made_up.publisher() as feed:
            async with rtau.subscribe_async(feed.endpoints[0], ("",), timeout_s=TIMEOUT_S) as subscription:
                made_up.wait_for_subscription(feed)
                for index in range(3):
                    feed.send("au.cam", made_up.frame(index))
                feed.send("event.cam", made_up.event(kind="source_ended"))
                came = []
                async for message in subscription:
                    came.append(message)
                    if isinstance(message, Event):
                        break
                assert [message.seq for message in came] == [0, 1, 2, 0]

    asyncio.run(listen())


def test_async_waits_without_holding_others_up() -> None:
    async def listen() -> None:
        with made_up.publisher() as feed:
            async with rtau.subscribe_async(feed.endpoints[0], timeout_s=0.05, newest=True) as subscription:
                with pytest.raises(FeedTimeout):
                    await anext(subscription)
            async with rtau.subscribe_async(feed.endpoints[0]) as subscription:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(anext(subscription), 0.05)
                waiting = asyncio.create_task(anext(subscription))
                await asyncio.sleep(0)
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting

    asyncio.run(listen())


def test_async_closing_from_elsewhere_ends_the_iteration() -> None:
    async def listen() -> None:
        subscription = rtau.subscribe_async("tcp://127.0.0.1:9")

        async def collect() -> list[object]:
            return [message async for message in subscription]

        collecting = asyncio.create_task(collect())
        await asyncio.sleep(0)
        subscription.close()
        assert await asyncio.wait_for(collecting, TIMEOUT_S) == []

    asyncio.run(listen())


def test_examples_in_the_documentation_are_python(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "docs" / "feed.md").read_text()
    blocks = [block.split("```")[0] for block in text.split("```python\n")[1:]]
    assert blocks
    for block in blocks:
        compile(block, "docs/feed.md", "exec", flags=0x2000)  # PyCF_ALLOW_TOP_LEVEL_AWAIT
