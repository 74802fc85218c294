"""Private keys, in files and as wallets write them. Each function makes a text and the secret in it."""

import base64
import functools
import hashlib
import importlib.resources
import random

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from alphabet import BASE58, blob, hexes
from structures import framed, kept_in

KEYS = []
structure = kept_in(KEYS)


@functools.cache
def rsa_keys():
    """Three keys of 2048 bits, made of primes that a seed repeats."""
    rng = random.Random("rsa")

    def prime():
        while True:
            number = rng.getrandbits(1024) | 1 << 1023 | 1 << 1022 | 1
            if number % 65537 == 1 or any(
                number % small == 0 for small in (3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)
            ):
                continue
            if all(is_probable(number, rng.randrange(2, number - 1)) for _ in range(12)):
                return number

    def is_probable(number, base):
        odd, twos = number - 1, 0
        while odd % 2 == 0:
            odd, twos = odd // 2, twos + 1
        power = pow(base, odd, number)
        if power in (1, number - 1):
            return True
        for _ in range(twos - 1):
            power = power * power % number
            if power == number - 1:
                return True
        return False

    keys = []
    for _ in range(3):
        p, q = prime(), prime()
        d = pow(65537, -1, (p - 1) * (q - 1))
        public = rsa.RSAPublicNumbers(65537, p * q)
        numbers = rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), public)
        keys.append(numbers.private_key())
    return keys


def pem(rng, form, kind):
    key = {
        "rsa": lambda: rng.choice(rsa_keys()),
        "ec": lambda: ec.derive_private_key(rng.randrange(1, 2**250), ec.SECP256R1()),
        "ed": lambda: ed25519.Ed25519PrivateKey.from_private_bytes(rng.randbytes(32)),
    }[kind]()
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode().strip()


def in_file(rng, text):
    """A key as a file has it, or in a member of JSON with escaped ends of lines."""
    if rng.random() < 0.3:
        text = text.replace("\n", "\\n")
        return '{"private_key": "' + text + '\\n"}', text
    return framed(rng, ["{}\n", "# key of the proxy\n{}\n", "cat /etc/ssl/private/acme.pem\n{}\n"], text)


@structure("private-key")
def private_key(rng):
    form, kind = rng.choice(
        [
            (serialization.PrivateFormat.PKCS8, "rsa"),
            (serialization.PrivateFormat.PKCS8, "ec"),
            (serialization.PrivateFormat.PKCS8, "ed"),
            (serialization.PrivateFormat.TraditionalOpenSSL, "rsa"),
            (serialization.PrivateFormat.TraditionalOpenSSL, "ec"),
        ]
    )
    return in_file(rng, pem(rng, form, kind))


@structure("openssh-private-key")
def openssh(rng):
    return in_file(rng, pem(rng, serialization.PrivateFormat.OpenSSH, rng.choice(["rsa", "ec", "ed"])))


@structure("pgp-private-key")
def pgp(rng):
    body = blob(rng, rng.randrange(400, 900))
    lines = "\n".join(body[at : at + 64] for at in range(0, len(body), 64))
    text = f"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n{lines}\n={blob(rng, 3)}\n-----END PGP PRIVATE KEY BLOCK-----"
    return in_file(rng, text)


@structure("putty-private-key")
def putty(rng):
    body = blob(rng, 48 * rng.randrange(1, 4))
    lines = "\n".join(body[at : at + 64] for at in range(0, len(body), 64))
    count = lines.count("\n") + 1
    text = (
        f"PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nComment: ann\nPublic-Lines: 2\n{blob(rng, 48)}\n{blob(rng, 20)}\n"
        f"Private-Lines: {count}\n{lines}\nPrivate-MAC: {hexes(rng, 64)}\n"
    )
    return text, lines


@structure("age-secret-key")
def age(rng):
    letters = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
    values = [rng.randrange(32) for _ in range(51)] + [rng.randrange(2) * 16]
    hrp = "age-secret-key-"

    def polymod(numbers):
        check = 1
        for value in numbers:
            top, check = check >> 25, (check & 0x1FFFFFF) << 5 ^ value
            for bit, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
                check ^= generator if top >> bit & 1 else 0
        return check

    expanded = [ord(letter) >> 5 for letter in hrp] + [0] + [ord(letter) & 31 for letter in hrp]
    check = polymod(expanded + values + [0] * 6) ^ 1
    values += [check >> 5 * (5 - place) & 31 for place in range(6)]
    key = (hrp + "1" + "".join(letters[value] for value in values)).upper()
    return framed(rng, ["# created: 2026-01-02\n{}\n", "SOPS_AGE_KEY={}", "{}"], key)


@structure("kubeconfig-key")
def kubeconfig(rng):
    key = base64.b64encode(
        (pem(rng, serialization.PrivateFormat.TraditionalOpenSSL, rng.choice(["rsa", "ec"])) + "\n").encode()
    ).decode()
    form = rng.choice(
        [
            "users:\n- name: admin\n  user:\n    client-certificate-data: {}\n    client-key-data: {}\n",
            '{{"user": {{"client-certificate-data": "{}", "client-key-data": "{}"}}}}',
        ]
    )
    return form.format(blob(rng, 120), key), key


@functools.cache
def bip39_words():
    return importlib.resources.files("mnemonic").joinpath("wordlist/english.txt").read_text().split()


@structure("bip39-phrase")
def phrase(rng):
    size = rng.choice([16, 20, 24, 32])
    entropy = rng.randbytes(size)
    bits = (
        "".join(f"{byte:08b}" for byte in entropy) + f"{hashlib.sha256(entropy).digest()[0]:08b}"[: size // 4]
    )
    words = [bip39_words()[int(bits[at : at + 11], 2)] for at in range(0, len(bits), 11)]
    text = " ".join(words)
    forms = [
        "seed phrase: {}",
        "My recovery phrase is {}",
        'MNEMONIC="{}"',
        '{{"mnemonic": "{}"}}',
        "wallet backup:\n{}\n",
    ]
    return framed(rng, forms, text)


def base58check(data):
    data += hashlib.sha256(hashlib.sha256(data).digest()).digest()[:4]
    number, text = int.from_bytes(data, "big"), ""
    while number:
        number, rest = divmod(number, 58)
        text = BASE58[rest] + text
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + text


@structure("extended-private-key")
def extended(rng):
    version = rng.choice(["0488ade4", "049d7878", "04b2430c", "04358394"])
    key = base58check(
        bytes.fromhex(version)
        + bytes([rng.randrange(4)])
        + rng.randbytes(4)
        + rng.randbytes(4)
        + rng.randbytes(32)
        + b"\0"
        + rng.randbytes(32)
    )
    return framed(rng, ["{}", "root key {}", '"xprv": "{}"'], key)


@structure("wallet-private-key")
def wallet_key(rng):
    key = base58check(b"\x80" + rng.randbytes(32) + rng.choice([b"", b"\x01"]))
    forms = ["private key: {}", "bitcoin WIF {}", "wallet_key={}", '{{"privkey": "{}"}}']
    return framed(rng, forms, key)
