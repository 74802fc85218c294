"""HTTP/2 by hand: frames.py PORT CA TRICK REQUEST. Prints what came back as one line of JSON."""

import json
import socket
import ssl
import struct
import sys

from hpack import Decoder, Encoder

port, ca, trick, request = int(sys.argv[1]), sys.argv[2], sys.argv[3], json.loads(sys.argv[4])
DATA, HEADERS, RST, SETTINGS, PING, GOAWAY, WINDOW, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1

context = ssl.create_default_context(cafile=ca)
context.set_alpn_protocols(["h2"])
tls = context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="localhost")
assert tls.selected_alpn_protocol() == "h2"
tls.settimeout(30)
encoder, decoder = Encoder(), Decoder()
told = {"statuses": {}, "resets": {}, "goaway": None, "ended": False}
# What was read behind the last frame that was waited for.
buffer = b""


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def head(stream, length=None, more=(), flags=END_HEADERS, authority="localhost", scheme="https"):
    fields = [(":method", "POST"), (":scheme", scheme), (":authority", authority), (":path", "/mcp/docs")]
    fields += [(name.lower(), value) for name, value in request["headers"]]
    if length is not None:
        fields.append(("content-length", str(length)))
    return frame(HEADERS, flags, stream, encoder.encode(fields + list(more)))


def send(data):
    """False once the other side has had enough."""
    try:
        tls.sendall(data)
        return True
    except (OSError, ssl.SSLError):
        return False


def receive(until=lambda: False):
    """Reads frames until the end of the connection, or until what is waited for has come."""
    global buffer
    while not until():
        while len(buffer) < 9 or len(buffer) < 9 + int.from_bytes(buffer[:3], "big"):
            try:
                more = tls.recv(65536)
            except TimeoutError:
                return
            except (OSError, ssl.SSLError):
                more = b""
            if not more:
                told["ended"] = True
                return
            buffer += more
        length, kind, flags = int.from_bytes(buffer[:3], "big"), buffer[3], buffer[4]
        stream = int.from_bytes(buffer[5:9], "big") & 0x7FFFFFFF
        payload, buffer = buffer[9:9 + length], buffer[9 + length:]
        if kind == HEADERS:
            status = dict(decoder.decode(payload)).get(":status")
            if status:
                told["statuses"][str(stream)] = status
        elif kind == RST:
            told["resets"][str(stream)] = int.from_bytes(payload, "big")
        elif kind == GOAWAY and told["goaway"] in (None, 0):
            told["goaway"] = int.from_bytes(payload[4:8], "big")
        elif kind == SETTINGS and not flags & ACK:
            send(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            send(frame(PING, ACK, 0, payload))


def status():
    return "1" in told["statuses"]


body = request["body"].encode()
window = b"\0\x04\0\0\0\0" if trick == "no_window" else b""
send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0, window))
if trick == "honest":
    send(head(1, len(body)) + frame(DATA, END_STREAM, 1, body))
    receive(status)
elif trick == "oversized":
    send(head(1) + frame(DATA, END_STREAM, 1, b" " * 16385))
    receive()
elif trick == "rapid_reset":
    for number in range(1, 20001, 2):
        if not send(head(number) + frame(RST, 0, number, b"\0\0\0\x08")):
            break
    receive()
elif trick == "continuations":
    send(head(1, flags=0))
    piece = frame(CONTINUATION, 0, 1, encoder.encode([("x-filler", "y" * 4000)], huffman=False))
    for _ in range(20000):
        if not send(piece):
            break
    receive()
elif trick == "zero_window_update":
    send(frame(WINDOW, 0, 0, b"\0\0\0\0"))
    receive()
elif trick == "even_stream":
    send(head(2))
    receive()
elif trick == "data_on_idle_stream":
    send(frame(DATA, 0, 1, b"x"))
    receive()
elif trick == "window_overflow":
    send(frame(WINDOW, 0, 0, b"\x7f\xff\xff\xff"))
    receive()
elif trick == "settings_flood":
    for _ in range(20000):
        if not send(frame(SETTINGS, 0, 0)):
            break
    send(head(1, len(body)) + frame(DATA, END_STREAM, 1, body))
    receive(status)
elif trick.startswith("flood_of_"):
    # Trailers must end the stream (RFC 9113, section 8.1), and these do not.
    trailers = frame(HEADERS, END_HEADERS, 1, b"\0\1x\1y")
    idle = {"priority": frame(2, 0, 1, b"\0\0\0\0\0"), "window": frame(WINDOW, 0, 0, b"\0\0\0\1"),
            "unknown": frame(0x42, 0, 0, b"x"), "ping": frame(PING, 0, 0, b"x" * 8), "settings": frame(SETTINGS, 0, 0),
            "data": frame(DATA, 0, 1), "padding": frame(DATA, 8, 1, b"\xff" + b"\0" * 255),
            "trailers": trailers, "last": frame(DATA, END_STREAM, 1)}[trick[9:]]
    # A request that waits for its body, which the frames of data belong to.
    send(head(1))
    if trick in ("flood_of_trailers", "flood_of_last"):
        # The stream is reset for it, and what follows on the stream is read past.
        send(trailers)
    for _ in range(400):
        if not send(idle * 100):
            break
    receive()
elif trick == "busy":
    # Far more frames than may come idly, and each has its reason.
    for number in range(1, 801, 2):
        send(head(number, len(body)) + frame(DATA, END_STREAM, number, body))
        receive(lambda: str(number) in told["statuses"])
        send(frame(PING, 0, 0, b"x" * 8) + frame(WINDOW, 0, 0, b"\0\0\4\0") * 4 + frame(2, 0, number, b"\0\0\0\0\0"))
elif trick == "large_head":
    block = encoder.encode([(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", "/live")]
                           + [(f"x-{n}", "y" * 900) for n in range(100)], huffman=False)
    parts = [block[at:at + 16000] for at in range(0, len(block), 16000)]
    send(frame(HEADERS, END_STREAM, 1, parts[0]))
    for number, part in enumerate(parts[1:], 2):
        send(frame(CONTINUATION, END_HEADERS if number == len(parts) else 0, 1, part))
    receive(status)
elif trick == "two_hosts":
    send(head(1, len(body), [("host", "127.0.0.1")]) + frame(DATA, END_STREAM, 1, body))
    receive(status)
elif trick == "user_in_host":
    send(head(1, len(body), authority="me@localhost") + frame(DATA, END_STREAM, 1, body))
    receive(status)
elif trick == "foreign_scheme":
    send(head(1, len(body), scheme="ftp") + frame(DATA, END_STREAM, 1, body))
    receive(status)
elif trick == "slow_body":
    send(head(1, len(body)) + frame(DATA, 0, 1, body[:10]))
    receive(status)
elif trick == "flood_body":
    # Within the window that every connection begins with.
    send(head(1) + b"".join(frame(DATA, 0, 1, b" " * 16384) for _ in range(3)))
    receive(status)
elif trick == "no_window":
    send(head(1, len(body)) + frame(DATA, END_STREAM, 1, body))
    receive()
elif trick == "idle":
    receive()
print(json.dumps(told))
