"""HTTP/2 by hand (RFC 9113), for peers that say it wrong or not to the end."""

import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


HELLO = PREFACE + frame(4, 0, 0)  # as a client begins: SETTINGS without any
