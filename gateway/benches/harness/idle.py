"""Clients that send one request, take the answer, and stay."""

from __future__ import annotations

import socket
import ssl
import struct

from .machine import Trouble

SOURCES = 16  # addresses that the clients come from: a limit by client address is not what is measured
IP_BIND_ADDRESS_NO_PORT = 24
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS, GOAWAY = 0, 1, 4, 7
END_STREAM, END_HEADERS, ACK = 1, 4, 1


class IdleClients:
    """A context manager: opens them one after the other, closes them at the end."""

    def __init__(self, kind: str, port: int, count: int, size: int, prefix: str = "/") -> None:
        self.kind, self.port, self.count, self.size = kind, port, count, size
        self.path = f"{prefix}{size}".encode()
        self.sockets: list[socket.socket] = []
        self.context = ssl.create_default_context()
        self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3
        if kind == "h2":
            self.context.set_alpn_protocols(["h2"])

    def __enter__(self) -> IdleClients:
        try:
            for number in range(self.count):
                self.sockets.append(self.open(number))
        except (OSError, EOFError, struct.error) as error:
            opened = len(self.sockets)
            self.__exit__()
            raise Trouble(f"idle connection {opened + 1} of {self.count} failed: {error}") from None
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self.sockets:
            connection.close()
        self.sockets.clear()

    def open(self, number: int) -> socket.socket:
        connection = socket.socket()
        connection.settimeout(10)
        connection.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        connection.bind((f"127.0.0.{2 + number % SOURCES}", 0))
        connection.connect(("127.0.0.1", self.port))
        if self.kind != "h1":
            connection = self.context.wrap_socket(connection, server_hostname="localhost")
        length = (http2_exchange(connection, self.path) if self.kind == "h2"
                  else http1_exchange(connection, self.path, self.size))
        if length != self.size:
            raise EOFError(f"{length} bytes instead of {self.size}")
        connection.setblocking(False)
        return connection

    def closed(self) -> int:
        """How many the proxy has closed meanwhile."""
        return sum(1 for connection in self.sockets if not still_open(connection))


def still_open(connection: socket.socket) -> bool:
    try:
        while data := connection.recv(4096):
            if data[3:4] == bytes([GOAWAY]):
                return False
        return False
    except (BlockingIOError, ssl.SSLWantReadError):
        return True
    except OSError:
        return False


def http1_exchange(connection: socket.socket, path: bytes, size: int) -> int:
    connection.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
    received = b""
    while b"\r\n\r\n" not in received or len(received.partition(b"\r\n\r\n")[2]) < size:
        data = connection.recv(65536)
        if not data:
            raise EOFError("closed before the response was complete")
        received += data
    if not received.startswith(b"HTTP/1.1 200 "):
        raise EOFError(received.partition(b"\r\n")[0].decode(errors="replace"))
    return len(received.partition(b"\r\n\r\n")[2])


def http2_exchange(connection: socket.socket, path: bytes) -> int:
    """The least that RFC 9113 wants of a client: preface, settings and their acknowledgement, one request."""
    # RFC 7541, appendix A: 2 is GET, 7 is https, 4 is :path, 1 is :authority.
    block = b"\x82\x87\x04" + bytes([len(path)]) + path + b"\x01\x09localhost"
    connection.sendall(PREFACE + frame(SETTINGS, 0, 0, b"") + frame(HEADERS, END_STREAM | END_HEADERS, 1, block))
    received, body, ended = b"", 0, False
    while not ended:
        data = connection.recv(65536)
        if not data:
            raise EOFError("closed before the response was complete")
        received += data
        while len(received) >= 9 and len(received) >= 9 + int.from_bytes(received[:3], "big"):
            length = int.from_bytes(received[:3], "big")
            kind, flags, stream = struct.unpack(">BBI", received[3:9])
            received = received[9 + length:]
            if kind == SETTINGS and not flags & ACK:
                connection.sendall(frame(SETTINGS, ACK, 0, b""))
            if kind == GOAWAY:
                raise EOFError("GOAWAY")
            if stream == 1 and kind == DATA:
                body += length
            if stream == 1 and kind in (DATA, HEADERS) and flags & END_STREAM:
                ended = True
    return body


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload
