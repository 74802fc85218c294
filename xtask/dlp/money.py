"""Cards, accounts and addresses of money: of Faker, of python-stdnum, or by the rule that their scheme
publishes."""

import importlib

from alphabet import DIGITS, UPPER, hexes, some
from keys import base58check

BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"

# First digits and lengths, by brand, as the brands publish them.
BRANDS = {
    "Visa": (["4"], [16]),
    "Visa (old)": (["4"], [13]),
    "Visa (long)": (["4"], [19]),
    "Mastercard": (["51", "52", "53", "54", "55", "2221", "2500", "2720"], [16]),
    "American Express": (["34", "37"], [15]),
    "Diners Club": (["300", "305", "36", "38"], [14]),
    "Discover": (["6011", "644", "649", "65"], [16]),
    "JCB": (["3528", "3589"], [16]),
    "UnionPay": (["62"], [16, 17, 18, 19]),
    "Maestro": (["5018", "5020", "5038", "6304", "6759", "6761"], [12, 13, 16, 18, 19]),
    "Mir": (["2200", "2204"], [16]),
    "RuPay": (["60", "6521"], [16]),
    "Elo": (["506699", "509000", "650031"], [16]),
    "Hipercard": (["606282"], [16]),
    "Troy": (["979200"], [16]),
    "Verve": (["506099", "650002"], [16, 19]),
}

CARD_FORMS = [
    "{w} {v}",
    "{w}: {v}",
    "Please charge {v} until {e}.",
    '{{"card_number": "{v}", "exp": "{e}"}}',
    "{v}",
    "pan={v}&exp={e}",
    "I paid with my {w} {v} and it was refused.",
    "{v},{e},ANN LEE\n",
    "<b>{v}</b>",
]


def luhn(prefix, size, rng):
    digits = prefix + some(rng, DIGITS, size - len(prefix) - 1)
    return digits + importlib.import_module("stdnum.luhn").calc_check_digit(digits)


def grouped(number, separator):
    """As it is embossed: 4-6-5 and 4-6-4, else groups of four."""
    sizes = (
        [4, 6, 5]
        if len(number) == 15
        else (
            [4, 6, 4]
            if len(number) == 14
            else [4] * 4 + [len(number) - 16] if len(number) > 16 else [4] * (len(number) // 4)
        )
    )
    if sum(sizes) != len(number):
        return number
    parts, at = [], 0
    for size in sizes:
        parts.append(number[at : at + size])
        at += size
    return separator.join(part for part in parts if part)


def card(rng, long=False):
    brand = rng.choice([name for name, (_, sizes) in BRANDS.items() if (max(sizes) > 16) or not long])
    prefixes, sizes = BRANDS[brand]
    size = rng.choice([size for size in sizes if size > 16] if long else sizes)
    number = luhn(rng.choice(prefixes), size, rng)
    value = (
        grouped(number, rng.choice([" ", "-"]))
        if long
        else rng.choice([number, grouped(number, " "), grouped(number, "-")])
    )
    word = rng.choice([brand.split(" (")[0], "card", "credit card", "Kreditkarte", "carte bancaire"])
    form = rng.choice(CARD_FORMS)
    return placed(form, value, w=word, e=f"{rng.randrange(1, 13):02}/{rng.randrange(27, 32)}")


def placed(form, value, **words):
    text = form.format(v=value, **words)
    start = text.index(value)
    return text, [(start, start + len(value))]


# Country, letters (n digits, a capitals, c both) as the registry of SWIFT has them.
IBANS = {
    "DE": "18n",
    "GB": "4a14n",
    "FR": "10n11c2n",
    "ES": "20n",
    "IT": "1a10n12c",
    "NL": "4a10n",
    "BE": "12n",
    "CH": "5n12c",
    "AT": "16n",
    "PL": "24n",
    "SE": "20n",
    "DK": "14n",
    "NO": "11n",
    "FI": "14n",
    "PT": "21n",
    "CZ": "20n",
    "RO": "4a16c",
    "HR": "17n",
    "TR": "5n1n16c",
    "GR": "7n16c",
    "BG": "4a6n8c",
    "IE": "4a14n",
    "LU": "3n13c",
    "MT": "4a5n18c",
    "HU": "24n",
    "SK": "20n",
    "SI": "15n",
    "LT": "16n",
    "LV": "4a13c",
    "EE": "16n",
    "CY": "8n16c",
    "AE": "3n16n",
    "SA": "2n18c",
    "IL": "19n",
    "BR": "23n1a1c",
    "KW": "4a22c",
    "QA": "4a21c",
    "GE": "2a16n",
    "KZ": "3n13c",
    "UA": "6n19c",
    "XK": "16n",
    "SC": "4a20n3a",
    "LC": "4a24c",
    "RU": "14n15c",
    "EG": "25n",
    "PK": "4a16c",
    "MU": "4a19n3a",
}


def iban_number(rng):
    country = rng.choice(sorted(IBANS))
    form, body, count = IBANS[country], "", ""
    for letter in form:
        if letter.isdigit():
            count += letter
            continue
        # The registry allows letters in accounts of class c; banks give few of them.
        letters = {"n": DIGITS, "a": UPPER, "c": rng.choice([DIGITS, DIGITS * 10 + UPPER])}[letter]
        body += some(rng, letters, int(count))
        count = ""
    check = importlib.import_module("stdnum.iso7064.mod_97_10").calc_check_digits(body + country)
    return country + check + body


def iban(rng):
    number = iban_number(rng)
    value = rng.choice([number, " ".join(number[at : at + 4] for at in range(0, len(number), 4))])
    return placed(
        rng.choice(
            [
                "IBAN: {v}",
                "Bitte überweisen Sie an {v}.",
                '{{"iban": "{v}"}}',
                "{v}",
                "account {v}, BIC on request",
                "Konto;{v};EUR\n",
                "My IBAN is {v}",
            ]
        ),
        value,
    )


def bic(rng):
    country = rng.choice(["DE", "FR", "GB", "US", "NL", "IT", "ES", "CH", "AT", "JP", "SG", "BR"])
    value = (
        some(rng, UPPER, 4)
        + country
        + some(rng, UPPER + DIGITS[2:], 1)
        + rng.choice(UPPER[:10] + "F")
        + rng.choice(["", "XXX", "500", some(rng, UPPER, 3)])
    )
    return placed(
        rng.choice(
            [
                "BIC: {v}",
                "SWIFT code {v}",
                "IBAN on request, BIC {v}",
                "SWIFT/BIC {v}",
                '{{"bic": "{v}"}}',
                '{{"swift_code": "{v}"}}',
            ]
        ),
        value,
    )


def routing(rng):
    while True:
        value = rng.choice(["0", "1", "2", "3"]) + some(rng, DIGITS, 8)
        if importlib.import_module("stdnum.us.rtn").is_valid(value) and (
            1 <= int(value[:2]) <= 12 or 21 <= int(value[:2]) <= 32
        ):
            break
    return placed(
        rng.choice(
            [
                "routing number {v}",
                "Routing No.: {v}",
                "ABA {v}",
                '{{"routing_number": "{v}"}}',
                "RTN {v} for wires",
                "ABA/routing: {v}",
            ]
        ),
        value,
    )


def us_account(rng):
    value = str(rng.randrange(10**8, 10**12))
    return placed(
        rng.choice(
            [
                "Account number: {v}",
                "acct no {v}",
                '{{"account_number": "{v}"}}',
                "bank account {v}",
                "checking account {v}",
                "Account No. {v}",
                "acct # {v}",
            ]
        ),
        value,
    )


def bitcoin(rng):
    version = rng.choice([b"\x00", b"\x05", b"\x30", b"\x1e"])
    name = {b"\x00": "bitcoin", b"\x05": "BTC", b"\x30": "litecoin", b"\x1e": "dogecoin"}[version]
    value = base58check(version + rng.randbytes(20))
    return placed(
        rng.choice(
            [
                "{w} address {v}",
                "Send the coins to {v}",
                "wallet: {v}",
                '{{"wallet": "{v}"}}',
                "donate {w}: {v}",
            ]
        ),
        value,
        w=name,
    )


def bech32_check(prefix, values, constant):
    check = 1
    for value in (
        [ord(letter) >> 5 for letter in prefix]
        + [0]
        + [ord(letter) & 31 for letter in prefix]
        + values
        + [0] * 6
    ):
        top, check = check >> 25, (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= generator if top >> bit & 1 else 0
    check ^= constant
    return [check >> 5 * (5 - place) & 31 for place in range(6)]


def regroup(data):
    bits = "".join(f"{byte:08b}" for byte in data)
    bits += "0" * (-len(bits) % 5)
    return [int(bits[at : at + 5], 2) for at in range(0, len(bits), 5)]


def bech32(rng):
    prefix, values, constant = rng.choice(
        [
            ("bc", [0] + regroup(rng.randbytes(20)), 1),
            ("bc", [0] + regroup(rng.randbytes(32)), 1),
            ("bc", [1] + regroup(rng.randbytes(32)), 0x2BC830A3),
            ("ltc", [0] + regroup(rng.randbytes(20)), 1),
            ("cosmos", regroup(rng.randbytes(20)), 1),
            ("addr", regroup(b"\x01" + rng.randbytes(56)), 1),
        ]
    )
    value = (
        prefix + "1" + "".join(BECH32[letter] for letter in values + bech32_check(prefix, values, constant))
    )
    return placed(
        rng.choice(["{v}", "pay to {v} please", '{{"address": "{v}"}}', "bitcoin:{v}?amount=0.1"]), value
    )


def keccak256(data):
    """Keccak before it became SHA-3, which Ethereum kept."""
    rounds, mask = [], (1 << 64) - 1
    register = 1
    for _ in range(24):
        constant = 0
        for bit in range(7):
            if register & 1:
                constant |= 1 << (1 << bit) - 1
            register = register << 1 ^ (0x171 if register >> 7 & 1 else 0)
        rounds.append(constant)
    turn = lambda value, by: (value << by | value >> 64 - by) & mask if by else value
    state = [[0] * 5 for _ in range(5)]
    data = (
        bytearray(data) + b"\x01" + b"\0" * (-(len(data) + 2) % 136) + b"\x80"
        if len(data) % 136 != 135
        else bytearray(data) + b"\x81"
    )
    for start in range(0, len(data), 136):
        for lane in range(17):
            state[lane % 5][lane // 5] ^= int.from_bytes(
                data[start + 8 * lane : start + 8 * lane + 8], "little"
            )
        for constant in rounds:
            column = [state[x][0] ^ state[x][1] ^ state[x][2] ^ state[x][3] ^ state[x][4] for x in range(5)]
            for x in range(5):
                for y in range(5):
                    state[x][y] ^= column[(x - 1) % 5] ^ turn(column[(x + 1) % 5], 1)
            x, y, current = 1, 0, state[1][0]
            for step in range(24):
                x, y = y, (2 * x + 3 * y) % 5
                current, state[x][y] = state[x][y], turn(current, (step + 1) * (step + 2) // 2 % 64)
            for y in range(5):
                row = [state[x][y] for x in range(5)]
                for x in range(5):
                    state[x][y] = row[x] ^ ~row[(x + 1) % 5] & row[(x + 2) % 5] & mask
            state[0][0] ^= constant
    return b"".join(state[lane % 5][lane // 5].to_bytes(8, "little") for lane in range(4))


def ethereum(rng):
    address = hexes(rng, 40)
    digest = keccak256(address.encode()).hex()
    value = "0x" + "".join(
        letter.upper() if int(nibble, 16) > 7 else letter for letter, nibble in zip(address, digest)
    )
    return placed(rng.choice(["{v}", "send to {v}", '{{"to": "{v}"}}']), value)


def ethereum_lower(rng):
    return placed(
        rng.choice(
            ["ethereum address {v}", "ETH wallet: {v}", "my metamask is {v}", '{{"eth_address": "{v}"}}']
        ),
        "0x" + hexes(rng, 40),
    )


def sort_code(rng):
    value = rng.choice("-- ").join(some(rng, DIGITS, 2) for _ in range(3))
    forms = ["Sort code: {v}", "sort code {v}, account 31926819", '{{"sort_code": "{v}"}}', "Sort Code {v}\n"]
    return placed(rng.choice(forms), value)


MONEY = [
    ("card", card),
    ("card-long", lambda rng: card(rng, True)),
    ("iban", iban),
    ("bic", bic),
    ("us-routing-number", routing),
    ("us-bank-account", us_account),
    ("bitcoin-address", bitcoin),
    ("bech32-address", bech32),
    ("ethereum-address", ethereum),
    ("ethereum-address-lower", ethereum_lower),
    ("uk-sort-code", sort_code),
]
