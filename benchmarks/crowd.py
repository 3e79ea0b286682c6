"""Many subscribers that read everything: python -m benchmarks.crowd ENDPOINT COUNT, until it is terminated."""

import sys

import zmq


def main(endpoint: str, count: int) -> None:
    """Subscribe to all frames, so often."""
    context, poller = zmq.Context(), zmq.Poller()
    for _ in range(count):
        socket = context.socket(zmq.SUB)
        socket.subscribe("au.")
        socket.connect(endpoint)
        poller.register(socket, zmq.POLLIN)
    while True:
        for socket, _ in poller.poll():
            socket.recv_multipart()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
