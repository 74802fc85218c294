"""Random letters, digests and encodings that shapes of secrets are made of."""

import base64
import json
import string
import zlib

DIGITS = string.digits
LOWER = string.ascii_lowercase
UPPER = string.ascii_uppercase
HEX = "0123456789abcdef"
ALNUM = UPPER + LOWER + DIGITS
URL = ALNUM + "-_"
B64 = ALNUM + "+/"
BASE32 = UPPER + "234567"
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def some(rng, letters, count):
    """So many letters, each drawn evenly."""
    return "".join(rng.choice(letters) for _ in range(count))


def hexes(rng, count):
    return some(rng, HEX, count)


def alnum(rng, count):
    return some(rng, ALNUM, count)


def url(rng, count):
    return some(rng, URL, count)


def uuid(rng):
    text = hexes(rng, 32)
    return "-".join((text[:8], text[8:12], "4" + text[13:16], "a" + text[17:20], text[20:]))


def blob(rng, size):
    """So many random bytes in base64."""
    return base64.b64encode(rng.randbytes(size)).decode()


def web(data):
    """Bytes or an object in base64url without padding, as tokens carry them."""
    if not isinstance(data, bytes):
        data = json.dumps(data, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def base62(number, width):
    digits = DIGITS + UPPER + LOWER
    text = ""
    for _ in range(width):
        number, rest = divmod(number, 62)
        text = digits[rest] + text
    return text


def with_crc(rng, prefix, count=30):
    """A token of GitHub or npm: random letters and their CRC-32 in six of base 62."""
    body = alnum(rng, count)
    return prefix + body + base62(zlib.crc32(body.encode()), 6)
