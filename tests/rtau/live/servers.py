"""Sources on the network that do not behave."""

import contextlib
import re
import socket
import struct
import threading
import time


class _Server:
    """Every line that comes is served in a thread of its own, until `stop`; `start` goes on at the same address."""

    scheme = "tcp"

    def __init__(self, film: bytes) -> None:
        self._film, self._lines = film, list[socket.socket]()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._port = self._listener.getsockname()[1]
        self.address = f"{self.scheme}://127.0.0.1:{self._port}/film"

    def __enter__(self):
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self._port))
        self.__enter__()

    def stop(self) -> None:
        for line in [self._listener, *self._lines]:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
            line.close()
        self._lines.clear()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                line, _ = listener.accept()
                self._lines.append(line)
                threading.Thread(target=self._serve_line, args=(line,), daemon=True).start()

    def _serve_line(self, line: socket.socket) -> None:
        with contextlib.suppress(OSError):
            self._serve(line)

    def _serve(self, line: socket.socket) -> None:
        raise NotImplementedError


class Stalling(_Server):
    """Sends two thirds of a film to everybody who comes, and then nothing, with the line open."""

    def _serve(self, line: socket.socket) -> None:
        line.sendall(self._film[: len(self._film) * 2 // 3])


class Mute(_Server):
    """Listens to everybody who comes, and says nothing."""

    def __init__(self) -> None:
        super().__init__(b"")
        self.asked = threading.Event()

    def _serve(self, line: socket.socket) -> None:
        self.asked.set()
        line.recv(1)


class Rtsp(_Server):
    """MPEG-TS in RTP over the line of the session (RFC 2326, 10.12; RFC 2250), faster than its own pace."""

    scheme = "rtsp"
    _description = (
        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=film\r\nt=0 0\r\n"
        "m=video 0 RTP/AVP 33\r\nc=IN IP4 0.0.0.0\r\na=control:track\r\n"
    )

    def _serve(self, line: socket.socket) -> None:
        said, method = b"", ""
        while method != "PLAY":
            while b"\r\n\r\n" not in said:
                part = line.recv(4096)
                if not part:
                    return
                said += part
            request, _, said = said.partition(b"\r\n\r\n")
            method = request.split()[0].decode()
            (number,) = re.findall(rb"CSeq: *(\d+)", request)
            line.sendall(f"RTSP/1.0 200 OK\r\nCSeq: {number.decode()}\r\n{self._answer(method)}".encode())
        for number, start in enumerate(range(0, len(self._film), 7 * 188)):
            head = struct.pack("!BBHII", 0x80, 33, number % 65536, number * 900, 1)
            packet = head + self._film[start : start + 7 * 188]
            line.sendall(b"$\0" + struct.pack("!H", len(packet)) + packet)
            time.sleep(0.005)

    def _answer(self, method: str) -> str:
        if method == "OPTIONS":
            return "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n\r\n"
        if method == "DESCRIBE":
            length = len(self._description)
            return f"Content-Type: application/sdp\r\nContent-Length: {length}\r\n\r\n{self._description}"
        if method == "SETUP":
            return "Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n"
        return "Session: 1\r\n\r\n"
