"""Numbers that states give to persons, drawn until python-stdnum calls them valid; where it does not know
them, made by the rule that the state publishes. None of the arithmetic is Airlock's."""

import importlib

from alphabet import DIGITS, UPPER, some


class Number:
    """One kind of number: the detector, how a candidate is drawn, who judges it, how people write it, and the
    words that go with it. Airlock claims numbers marked `alone` without a word."""

    def __init__(self, detector, draw, judge, forms, words, alone=False):
        self.detector, self.draw, self.judge, self.forms, self.words, self.alone = (
            detector,
            draw,
            judge,
            forms,
            words,
            alone,
        )

    def make(self, rng):
        judge = (
            self.judge if callable(self.judge) else importlib.import_module(f"stdnum.{self.judge}").is_valid
        )
        for _ in range(200_000):
            number = self.draw(rng)
            if judge(number):
                return written(number, rng.choice(self.forms))
        raise ValueError(f"{self.detector}: nothing valid was drawn")


def written(number, form):
    """The letters of a number in the places of `#`."""
    extra = len(number) - form.count("#")
    letters = iter(number)
    return "".join(next(letters) if place == "#" else place for place in "#" * extra + form)


def day(rng, order="ymd", century=False):
    """A date of birth in digits."""
    year, month, date = rng.randrange(1935, 2007), rng.randrange(1, 13), rng.randrange(1, 29)
    part = {"y": str(year) if century else f"{year % 100:02}", "m": f"{month:02}", "d": f"{date:02}"}
    return "".join(part[letter] for letter in order)


def digits(count, first=DIGITS):
    return lambda rng: rng.choice(first) + some(rng, DIGITS, count - 1)


def dated(before, order, after, century=False):
    return lambda rng: before(rng) + day(rng, order, century) + some(rng, DIGITS, after)


def nothing(_):
    return ""


def snils(rng):
    number = str(rng.randrange(2_000_000, 999_999_999)).rjust(9, "0")
    check = sum(int(digit) * weight for digit, weight in zip(number, range(9, 0, -1))) % 101 % 100
    return f"{number}{check:02}"


def hong_kong(rng):
    letter, number = rng.choice("ABCDEFGHKMPRSVYZ"), some(rng, DIGITS, 6)
    total = (
        9 * 36
        + 8 * (ord(letter) - 55)
        + sum(int(digit) * weight for digit, weight in zip(number, range(7, 1, -1)))
    )
    return letter + number + "0123456789A"[-total % 11]


def singapore(rng):
    first, number = rng.choice("STFG"), some(rng, DIGITS, 7)
    total = sum(int(digit) * weight for digit, weight in zip(number, (2, 7, 6, 5, 4, 3, 2))) + (
        4 if first in "TG" else 0
    )
    return first + number + ("JZIHGFEDCBA" if first in "ST" else "XWUTRQPNMLK")[total % 11]


def taiwan(rng):
    letter, number = rng.choice(UPPER), rng.choice("12") + some(rng, DIGITS, 7)
    value = "ABCDEFGHJKLMNPQRSTUVXYWZIO".index(letter) + 10
    total = (
        value // 10
        + value % 10 * 9
        + sum(int(digit) * weight for digit, weight in zip(number, range(8, 0, -1)))
    )
    return letter + number + str(-total % 10)


def medicare(rng):
    number = rng.choice("23456") + some(rng, DIGITS, 7)
    check = sum(int(digit) * weight for digit, weight in zip(number, (1, 3, 7, 9, 1, 3, 7, 9))) % 10
    return number + str(check) + rng.choice("123456789")


def nino(rng):
    first, second = rng.choice("ABCEGHJKLMNOPRSTWXYZ"), rng.choice("ABCEGHJKLMNPRSTWXYZ")
    return first + second + some(rng, DIGITS, 6) + rng.choice("ABCD")


def is_nino(number):
    return number[:2] not in ("BG", "GB", "NK", "KN", "TN", "NT", "ZZ")


def hetu(rng):
    born, century = rng.choice([(day(rng, "dmy"), "-"), (day(rng, "dm") + f"{rng.randrange(24):02}", "A")])
    person = f"{rng.randrange(2, 900):03}"
    return born + century + person + "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(born + person) % 31]


def curp(rng):
    consonants = "BCDFGHJKLMNPQRSTVWXYZ"
    return (
        rng.choice(UPPER)
        + rng.choice("AEIOU")
        + some(rng, UPPER, 2)
        + day(rng)
        + rng.choice("HM")
        + rng.choice(["AS", "BC", "DF", "JC", "NL", "PL", "VZ"])
        + some(rng, consonants, 3)
        + rng.choice(DIGITS)
        + rng.choice(DIGITS)
    )


def fiscal_code(rng):
    consonants = "BCDFGLMNPRSTVZ"
    date = rng.randrange(1, 29) + rng.choice([0, 40])
    code = (
        some(rng, consonants, 6)
        + f"{rng.randrange(35, 100)}"
        + rng.choice("ABCDEHLMPRST")
        + f"{date:02}"
        + rng.choice(["H501", "F205", "A944", "L219", "D612"])
    )
    return code + importlib.import_module("stdnum.it.codicefiscale").calc_check_digit(code)


def nie(rng):
    number = rng.choice("XYZ") + some(rng, DIGITS, 7)
    return number + importlib.import_module("stdnum.es.nie").calc_check_digit(number)


def dni(rng):
    number = some(rng, DIGITS, 8)
    return number + importlib.import_module("stdnum.es.dni").calc_check_digit(number)


def nir(rng):
    department = rng.choice(["75", "13", "69", "33", "2A", "2B", "59"])
    number = (
        rng.choice("12")
        + day(rng, "ym")
        + department
        + f"{rng.randrange(1, 600):03}{rng.randrange(1, 900):03}"
    )
    return number + importlib.import_module("stdnum.fr.nir").calc_check_digits(number)


def pps(rng):
    return some(rng, DIGITS, 7) + rng.choice("ABCDEFGHIJKLMNOPQRSTUVW") + rng.choice(["", "A", "B"])


def curp_whole(rng):
    code = curp(rng)
    return code[:-1] + importlib.import_module("stdnum.mx.curp").calc_check_digit(code)


def chinese(rng):
    number = (
        rng.choice(["110101", "310104", "440305", "510107", "330106"])
        + day(rng, "ymd", True)
        + some(rng, DIGITS, 3)
    )
    return number + importlib.import_module("stdnum.cn.ric").calc_check_digit(number)


def korean(rng):
    number = day(rng, "ymd") + rng.choice("12") + "00" + some(rng, DIGITS, 3)
    return number + importlib.import_module("stdnum.kr.rrn").calc_check_digit(number)


def german_licence(rng):
    """The place and the number, the rest of a weighted sum by eleven, how often it was issued."""
    body = rng.choice(UPPER) + some(rng, DIGITS, 3) + some(rng, UPPER + DIGITS, 5)
    total = sum(int(letter, 36) * (9 - place) for place, letter in enumerate(body))
    return body + "0123456789X"[total % 11] + rng.choice("123")


def japanese_licence(rng):
    """The office, the year and a number, eleven less a weighted sum by eleven, how often it was lost."""
    body = some(rng, "1234", 2) + some(rng, DIGITS, 8)
    total = sum(int(digit) * weight for digit, weight in zip(body, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2)))
    check = 11 - total % 11
    return body + str(0 if check > 9 else check) + rng.choice("012")
