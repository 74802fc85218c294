"""Records of people that do not exist, by Faker, in the languages and forms of their countries."""

import ipaddress
import random

import phonenumbers
from faker import Faker

from alphabet import DIGITS, UPPER, some

# By locale of Faker: the region of its telephones, and the words for telephone, mail and born.
LOCALES = {
    "en_US": (
        "US",
        ["Phone", "Tel", "Mobile", "cell", "Fax"],
        "E-mail",
        ["Date of birth", "DOB", "born", "Birthday"],
    ),
    "en_GB": ("GB", ["Phone", "Telephone", "Mobile"], "Email", ["Date of birth", "DOB", "born on"]),
    "en_CA": ("CA", ["Phone", "Tel."], "Email", ["Date of birth", "born"]),
    "en_AU": ("AU", ["Phone", "Mobile"], "Email", ["Date of birth", "D.O.B."]),
    "en_IN": ("IN", ["Phone", "Mobile", "WhatsApp"], "Email", ["Date of birth", "DOB"]),
    "de_DE": (
        "DE",
        ["Telefon", "Tel.", "Mobil", "Handy", "Fax"],
        "E-Mail",
        ["geboren am", "Geburtsdatum", "geb."],
    ),
    "de_AT": ("AT", ["Telefon", "Tel."], "E-Mail", ["Geburtsdatum", "geboren am"]),
    "de_CH": ("CH", ["Telefon", "Tel."], "E-Mail", ["Geburtsdatum"]),
    "fr_FR": (
        "FR",
        ["Téléphone", "Tél.", "Portable", "Mobile"],
        "Courriel",
        ["né le", "née le", "Date de naissance"],
    ),
    "es_ES": ("ES", ["Teléfono", "Móvil", "Tel."], "Correo", ["Fecha de nacimiento", "nacido el"]),
    "es_MX": ("MX", ["Teléfono", "Celular"], "Correo", ["Fecha de nacimiento"]),
    "es_AR": ("AR", ["Teléfono", "Celular"], "Correo", ["Fecha de nacimiento"]),
    "it_IT": ("IT", ["Telefono", "Cellulare", "Tel."], "E-mail", ["Data di nascita", "nato il", "nata il"]),
    "nl_NL": ("NL", ["Telefoon", "Mobiel", "Tel."], "E-mail", ["Geboortedatum", "geboren op"]),
    "nl_BE": ("BE", ["Telefoon", "Tel."], "E-mail", ["Geboortedatum"]),
    "pt_BR": ("BR", ["Telefone", "Celular"], "E-mail", ["Data de nascimento", "nascido em"]),
    "pt_PT": ("PT", ["Telefone", "Telemóvel"], "E-mail", ["Data de nascimento"]),
    "pl_PL": ("PL", ["Telefon", "tel.", "Numer telefonu"], "E-mail", ["Data urodzenia", "urodzony"]),
    "sv_SE": ("SE", ["Telefon", "Mobil", "Tel"], "E-post", ["Födelsedatum", "född"]),
    "da_DK": ("DK", ["Telefon", "Tlf.", "Mobil"], "E-mail", ["Fødselsdato", "født"]),
    "no_NO": ("NO", ["Telefon", "Tlf.", "Mobil"], "E-post", ["Fødselsdato", "født"]),
    "fi_FI": ("FI", ["Puhelin", "puh."], "Sähköposti", ["Syntymäaika", "syntynyt"]),
    "cs_CZ": ("CZ", ["Telefon", "Mobil", "tel."], "E-mail", ["Datum narození", "narozen"]),
    "ro_RO": ("RO", ["Telefon", "Mobil"], "E-mail", ["Data nașterii", "născut"]),
    "tr_TR": ("TR", ["Telefon", "Cep"], "E-posta", ["Doğum tarihi"]),
    "el_GR": ("GR", ["Τηλέφωνο", "Κινητό", "τηλ."], "E-mail", ["Ημερομηνία γέννησης"]),
    "ru_RU": ("RU", ["Телефон", "тел."], "Почта", ["Дата рождения", "родился"]),
    "ja_JP": ("JP", ["電話", "電話番号", "携帯"], "メール", ["生年月日"]),
    "ko_KR": ("KR", ["전화", "전화번호", "휴대폰"], "이메일", ["생년월일"]),
    "zh_CN": ("CN", ["电话", "手机"], "邮箱", ["出生日期"]),
    "zh_TW": ("TW", ["電話", "手機"], "郵件", ["出生日期"]),
    "he_IL": ("IL", ["טלפון", "נייד"], "דוא״ל", ["תאריך לידה"]),
}

# By region, how dates are written there; the others write them as ISO 8601 has them.
DATES = {
    "US": ["%m/%d/%Y", "%B %d, %Y", "%Y-%m-%d", "%b %d, %Y"],
    "GB": ["%d/%m/%Y", "%d %B %Y"],
    "CA": ["%Y-%m-%d", "%B %d, %Y"],
    "AU": ["%d/%m/%Y"],
    "IN": ["%d-%m-%Y", "%d/%m/%Y"],
    "DE": ["%d.%m.%Y"],
    "AT": ["%d.%m.%Y"],
    "CH": ["%d.%m.%Y"],
    "FR": ["%d/%m/%Y"],
    "ES": ["%d/%m/%Y"],
    "MX": ["%d/%m/%Y"],
    "AR": ["%d/%m/%Y"],
    "IT": ["%d/%m/%Y"],
    "NL": ["%d-%m-%Y"],
    "BE": ["%d/%m/%Y"],
    "BR": ["%d/%m/%Y"],
    "PT": ["%d-%m-%Y"],
    "PL": ["%d.%m.%Y"],
    "DK": ["%d-%m-%Y"],
    "NO": ["%d.%m.%Y"],
    "FI": ["%d.%m.%Y"],
    "CZ": ["%d. %m. %Y", "%d.%m.%Y"],
    "RO": ["%d.%m.%Y"],
    "TR": ["%d.%m.%Y"],
    "GR": ["%d/%m/%Y"],
    "RU": ["%d.%m.%Y"],
    "IL": ["%d.%m.%Y"],
    "JP": ["%Y年%m月%d日", "%Y/%m/%d"],
    "CN": ["%Y年%m月%d日", "%Y-%m-%d"],
    "KR": ["%Y년 %m월 %d일", "%Y-%m-%d"],
    "TW": ["%Y/%m/%d"],
}

# Local parts of mail addresses beyond ASCII, as RFC 6531 lets them be.
ABROAD = [
    ("müller", "acme.de"),
    ("andré.lefèvre", "exemple.fr"),
    ("иван", "почта.рф"),
    ("用户", "例子.中国"),
    ("ユーザー", "例え.jp"),
    ("josé_muñoz", "correo.es"),
    ("łukasz", "poczta.pl"),
    ("δημήτρης", "ταχυδρομείο.gr"),
    ("홍길동", "메일.kr"),
    ("ann", "bücher.example-shop.de"),
    ("info", "xn--bcher-kva.ch"),
    ("søren", "firma.dk"),
]


class Record:
    """A text that grows, with the values that stand in it."""

    def __init__(self):
        self.text, self.spans = "", []

    def add(self, text, detector=None, claimed=True):
        if detector:
            self.spans.append((len(self.text), len(self.text) + len(text), detector, claimed))
        self.text += text


def phone(faker, region):
    """A number of Faker's with the detector that claims it. Faker makes many that no plan of numbers has: these
    are not claimed, and libphonenumber says which."""
    number = faker.phone_number()
    try:
        is_valid = phonenumbers.is_valid_number(phonenumbers.parse(number.split("x")[0], region))
    except phonenumbers.NumberParseException:
        is_valid = False
    is_international = number.lstrip("(").startswith(("+", "00"))
    if (
        is_international
        and "(0)" in number
        and region not in ("GB", "DE", "AT", "CH", "NL", "BE", "SE", "FR")
    ):
        is_valid = False
    return (
        number,
        "phone" if is_international else "phone-us" if region in ("US", "CA") else "phone-local",
        is_valid,
    )


def person(rng, faker, locale):
    """One record: a card of an address book, a row, JSON, or a letter."""
    region, phones, mail, born = LOCALES[locale]
    name, number = faker.name(), phone(faker, region)
    address = faker.email() if rng.random() < 0.5 else faker.company_email()
    date = faker.date_of_birth(minimum_age=18, maximum_age=90).strftime(
        rng.choice(DATES.get(region, ["%Y-%m-%d"]))
    )
    tel, word = rng.choice(phones), rng.choice(born)
    record = Record()
    form = rng.randrange(5)
    if form == 0:
        record.add(f"{name}\n{faker.address()}\n{tel}: ")
        record.add(*number)
        record.add(f"\n{mail}: ")
        record.add(address, "email")
        record.add(f"\n{word}: ")
        record.add(date, "date-of-birth")
        record.add("\n")
    elif form == 1:
        record.add(f'{{"name": "{name}", "company": "{faker.company()}", "phone": "')
        record.add(*number)
        record.add('", "email": "')
        record.add(address, "email")
        record.add('", "date_of_birth": "')
        record.add(date, "date-of-birth")
        record.add('"}')
    elif form == 2:
        record.add(f"{faker.text(120)} {tel} ")
        record.add(*number)
        record.add(f", {name}. {word} ")
        record.add(date, "date-of-birth")
        record.add(".")
    elif form == 3:
        record.add("<")
        record.add(address, "email")
        record.add(f"> {name}, {faker.job()}, {faker.street_address()}, {tel} ")
        record.add(*number)
    else:
        record.add(f"BEGIN:VCARD\nVERSION:3.0\nFN:{name}\nTEL;TYPE=CELL:")
        record.add(*number)
        record.add("\nEMAIL:")
        record.add(address, "email")
        record.add("\nEND:VCARD\n")
    return record


def abroad(rng):
    local, domain = rng.choice(ABROAD)
    detector = "email" if local.isascii() else "email-international"
    record = Record()
    record.add(rng.choice(["Mail an ", '"email": "', "<", "contact : "]))
    record.add(f"{local}{rng.choice(['', '.' + some(rng, DIGITS, 2), '+news'])}@{domain}", detector)
    record.add(rng.choice(["", ".", '"', ">", " bitte"]))
    return record


def passport(rng):
    """As several states number theirs, beside the word."""
    value = rng.choice(
        [
            lambda: some(rng, DIGITS, 9),
            lambda: rng.choice("CFGHJK") + some(rng, "CFGHJKLMNPRTVWXYZ" + DIGITS, 7) + rng.choice(DIGITS),
            lambda: some(rng, UPPER, 2) + some(rng, DIGITS, 7),
            lambda: rng.choice("GEPL") + some(rng, DIGITS, 8),
            lambda: f"{rng.randrange(10, 99)}{some(rng, UPPER, 2)}{some(rng, DIGITS, 5)}",
        ]
    )()
    record = Record()
    record.add(
        rng.choice(
            [
                "Passport number: ",
                "passport no. ",
                '{"passport_number": "',
                "Reisepass ",
                "N° de passeport : ",
                "Pasaporte ",
                "Passaporto n. ",
                "паспорт ",
            ]
        )
    )
    record.add(value, "passport-number", any(letter.isdigit() for letter in value[1:]))
    record.add(rng.choice(["\n", '"}', ", valid"]))
    return record


def check_digit(text):
    """Of machine readable zones (ICAO 9303): weights 7, 3, 1."""
    values = [0 if letter == "<" else int(letter, 36) for letter in text]
    return str(sum(value * (7, 3, 1)[at % 3] for at, value in enumerate(values)) % 10)


def machine_readable(rng, is_card):
    faker = Faker("en_US")
    faker.seed_instance(rng.randrange(10**9))
    state = rng.choice(["UTO", "GBR", "FRA", "USA", "ITA", "ESP"])
    names = f"{faker.last_name()}<<{faker.first_name()}".upper().replace("'", "").replace(" ", "<")
    number = some(rng, UPPER, 2) + some(rng, DIGITS, 7)
    born, ends = (
        f"{rng.randrange(40, 99)}{rng.randrange(1, 13):02}{rng.randrange(1, 29):02}",
        f"{rng.randrange(27, 36)}{rng.randrange(1, 13):02}{rng.randrange(1, 29):02}",
    )
    sex = rng.choice("MF<")
    document, dates = number + check_digit(number), (born + check_digit(born), ends + check_digit(ends))
    if is_card:
        first = f"I<{state}{document}".ljust(30, "<")
        second = f"{dates[0]}{sex}{dates[1]}{state}" + "<" * 11
        lines = [
            first,
            second + check_digit(first[5:] + second[:7] + second[8:15] + second[18:29]),
            names[:30].ljust(30, "<"),
        ]
    else:
        rest = some(rng, UPPER, 1).ljust(14, "<")
        rest += check_digit(rest)
        last = f"{document}{state}{dates[0]}{sex}{dates[1]}{rest}"
        lines = [
            f"P<{state}{names}"[:44].ljust(44, "<"),
            last + check_digit(last[:10] + last[13:20] + last[21:43]),
        ]
    record = Record()
    record.add(rng.choice(["", "Scanned:\n", "MRZ "]))
    record.add("\n".join(lines), "identity-card-mrz" if is_card else "passport-mrz")
    record.add("\n")
    return record


def address(rng):
    record = Record()
    record.add(rng.choice(["from ", "host=", '{"ip": "', "Failed password for root from "]))
    record.add(
        ".".join(
            str(number)
            for number in (
                rng.choice([81, 10, 192, 203, 8]),
                rng.randrange(256),
                rng.randrange(256),
                rng.randrange(1, 255),
            )
        ),
        "ip-address",
    )
    record.add(rng.choice([" port 22", ":443", '"}', "\n"]))
    return record


def address_v6(rng):
    value = ipaddress.IPv6Address(0x2A00 << 112 | rng.getrandbits(109) & ~(rng.choice([0, 0xFFFFFFFF]) << 32))
    record = Record()
    record.add(rng.choice(["inet6 ", "host=", "connect from ", "http://[", '{"ipv6": "', "Server address: "]))
    record.add(rng.choice([str(value), value.exploded]), "ipv6-address")
    record.add(rng.choice([" prefixlen 64", "]/", '"}', "\n"]))
    return record


def hardware(rng):
    record = Record()
    record.add(rng.choice(["link/ether ", "MAC ", "HWaddr ", '{"mac": "']))
    record.add(":".join(f"{rng.randrange(256):02x}" for _ in range(6)), "mac-address")
    record.add(rng.choice([" brd ff:ff:ff:ff:ff:ff", "\n", '"}']))
    return record


def fakers(seed):
    """One source of records for each locale."""
    for locale in LOCALES:
        faker = Faker(locale)
        faker.seed_instance(f"{seed}{locale}")
        yield locale, faker, random.Random(f"{seed}{locale}")
