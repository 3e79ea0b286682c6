"""Print the AUs of a feed with nothing but pyzmq and msgpack: python subscriber_pyzmq.py [ENDPOINT]"""

import sys

import msgpack
import zmq

feed = zmq.Context().socket(zmq.SUB)
feed.subscribe("au.")  # all sources; "au.0" would be one of them
feed.connect(sys.argv[1] if len(sys.argv) > 1 else "tcp://127.0.0.1:5570")

while True:
    topic, payload = feed.recv_multipart()
    frame = msgpack.unpackb(payload)
    for face in frame["faces"]:
        shown = face.get("calibrated") or face["intensity"]  # relative to the resting face, once that is known
        present = [
            f"{au}={probability:.2f}"
            for au, probability, intensity in zip(frame["aus"], face["occurrence"], shown, strict=True)
            if probability >= 0.5 and intensity >= 1
        ]
        print(frame["source_id"], f"{frame['time_s']:.3f}", "face", face["track_id"], *present, flush=True)
