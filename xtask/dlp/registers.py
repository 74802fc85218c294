"""The registers of states: which detector claims their numbers, how they are drawn and judged, how people write
them, and the words beside them."""

from alphabet import DIGITS, UPPER, some
from states import (
    Number,
    chinese,
    curp_whole,
    dated,
    day,
    digits,
    dni,
    fiscal_code,
    german_licence,
    hetu,
    hong_kong,
    japanese_licence,
    is_nino,
    korean,
    medicare,
    nie,
    nino,
    nir,
    nothing,
    pps,
    singapore,
    snils,
    taiwan,
)

PLAIN9, PLAIN10, PLAIN11, PLAIN13 = "#" * 9, "#" * 10, "#" * 11, "#" * 13

NUMBERS = [
    Number(
        "us-ssn",
        digits(9, "12345678"),
        "us.ssn",
        ["###-##-####"],
        ["SSN", "Social Security number", "employee"],
        alone=True,
    ),
    Number(
        "us-ssn-plain",
        digits(9, "12345678"),
        "us.ssn",
        [PLAIN9, "### ## ####"],
        ["SSN", "Social Security number", "ssn"],
    ),
    Number("us-itin", digits(9, "9"), "us.itin", ["###-##-####"], ["ITIN", "taxpayer id"], alone=True),
    Number(
        "us-itin-plain",
        digits(9, "9"),
        "us.itin",
        [PLAIN9, "### ## ####"],
        ["ITIN", "Taxpayer ID", "individual taxpayer identification number"],
    ),
    Number(
        "uk-nhs",
        digits(10, "4679"),
        "gb.nhs",
        ["### ### ####", PLAIN10, "###-###-####"],
        ["NHS number", "NHS No", "patient NHS"],
    ),
    Number(
        "uk-nino",
        nino,
        is_nino,
        ["#########", "## ## ## ## #"],
        ["National Insurance number", "NINO"],
        alone=True,
    ),
    Number(
        "de-tax-id",
        digits(11, "123456789"),
        "de.idnr",
        [PLAIN11, "## ### ### ###"],
        ["Steuer-ID", "Steueridentifikationsnummer", "IdNr.", "Steuerliche Identifikationsnummer"],
    ),
    Number(
        "fr-nir",
        nir,
        "fr.nir",
        ["###############", "# ## ## ## ### ### ##"],
        ["Numéro de sécurité sociale", "NIR", "n° SS"],
        alone=True,
    ),
    Number(
        "es-dni",
        dni,
        "es.dni",
        ["#########", "########-#"],
        ["DNI", "N.I.F.", "documento nacional de identidad"],
    ),
    Number(
        "es-dni", nie, "es.nie", ["#########", "#-#######-#"], ["NIE", "número de identidad de extranjero"]
    ),
    Number(
        "it-fiscal-code",
        fiscal_code,
        "it.codicefiscale",
        ["#" * 16],
        ["Codice Fiscale", "C.F.", "cod. fiscale"],
    ),
    Number(
        "nl-bsn", digits(9, "123456789"), "nl.bsn", [PLAIN9, "####.##.###"], ["BSN", "burgerservicenummer"]
    ),
    Number(
        "be-nrn",
        dated(nothing, "ymd", 5),
        "be.nn",
        [PLAIN11, "##.##.##-###.##"],
        ["Rijksregisternummer", "numéro de registre national", "NISS", "INSZ-nummer"],
    ),
    Number("pt-nif", digits(9, "125"), "pt.nif", [PLAIN9, "### ### ###"], ["NIF", "número de contribuinte"]),
    Number("ie-pps", pps, "ie.pps", ["########"], ["PPS number", "PPSN", "PPS No."]),
    Number(
        "ch-ahv",
        lambda rng: "756" + some(rng, DIGITS, 10),
        "ch.ssn",
        ["###.####.####.##", PLAIN13],
        ["AHV-Nr.", "numéro AVS"],
        alone=True,
    ),
    Number(
        "at-svnr",
        lambda rng: some(rng, "123456789", 1) + some(rng, DIGITS, 3) + day(rng, "dmy"),
        "at.vnr",
        ["#### ######", PLAIN10],
        ["SVNR", "Sozialversicherungsnummer", "SV-Nummer"],
    ),
    Number(
        "se-personnummer",
        dated(nothing, "ymd", 4),
        "se.personnummer",
        ["######-####", PLAIN10],
        ["personnummer", "Pers.nr", "personal identity number"],
    ),
    Number("fi-hetu", hetu, "fi.hetu", [PLAIN11], ["henkilötunnus", "hetu"], alone=True),
    Number(
        "no-fnr",
        dated(nothing, "dmy", 5),
        "no.fodselsnummer",
        [PLAIN11, "###### #####"],
        ["fødselsnummer", "fnr", "personnummer"],
    ),
    Number(
        "dk-cpr",
        dated(nothing, "dmy", 4),
        "dk.cpr",
        ["######-####", PLAIN10],
        ["CPR-nummer", "CPR", "cpr-nr."],
    ),
    Number(
        "ee-lt-personal-code",
        dated(lambda rng: rng.choice("3456"), "ymd", 4),
        "ee.ik",
        [PLAIN11],
        ["isikukood", "personal code"],
    ),
    Number(
        "ee-lt-personal-code",
        dated(lambda rng: rng.choice("3456"), "ymd", 4),
        "lt.asmens",
        [PLAIN11],
        ["asmens kodas"],
    ),
    Number("pl-pesel", dated(nothing, "ymd", 5), "pl.pesel", [PLAIN11], ["PESEL", "nr PESEL", "numer PESEL"]),
    Number(
        "cz-sk-birth-number",
        dated(nothing, "ymd", 4),
        "cz.rc",
        ["######/####", PLAIN10],
        ["rodné číslo", "r.č.", "RČ"],
    ),
    Number(
        "ro-cnp",
        lambda rng: rng.choice("1256") + day(rng) + f"{rng.randrange(1, 47):02}" + some(rng, DIGITS, 4),
        "ro.cnp",
        [PLAIN13],
        ["CNP", "cod numeric personal"],
    ),
    Number("bg-egn", dated(nothing, "ymd", 4), "bg.egn", [PLAIN10], ["ЕГН", "EGN"]),
    Number("hr-oib", digits(11), "hr.oib", [PLAIN11], ["OIB", "osobni identifikacijski broj"]),
    Number("gr-amka", dated(nothing, "dmy", 5), "gr.amka", [PLAIN11], ["AMKA", "ΑΜΚΑ"]),
    Number("ru-snils", snils, len, ["###-###-### ##", "###-###-###-##"], ["СНИЛС", "SNILS"], alone=True),
    Number(
        "tr-id",
        digits(11, "123456789"),
        "tr.tckimlik",
        [PLAIN11],
        ["T.C. Kimlik No", "TCKN", "kimlik numarası"],
    ),
    Number("br-cpf", digits(11), "br.cpf", ["###.###.###-##"], ["CPF", "cliente"], alone=True),
    Number("br-cpf-plain", digits(11), "br.cpf", [PLAIN11], ["CPF", "cpf do titular"]),
    Number(
        "br-cnpj",
        lambda rng: some(rng, DIGITS, 8) + "0001" + some(rng, DIGITS, 2),
        "br.cnpj",
        ["##.###.###/####-##"],
        ["CNPJ", "empresa"],
        alone=True,
    ),
    Number(
        "ar-cuit",
        lambda rng: rng.choice(["20", "27", "23", "30"]) + some(rng, DIGITS, 9),
        "ar.cuit",
        ["##-########-#"],
        ["CUIT", "CUIL"],
        alone=True,
    ),
    Number(
        "cl-rut",
        lambda rng: some(rng, "12", 1) + some(rng, DIGITS, 7) + rng.choice(DIGITS + "K"),
        "cl.rut",
        ["##.###.###-#"],
        ["RUT", "R.U.T."],
        alone=True,
    ),
    Number("mx-curp", curp_whole, "mx.curp", ["#" * 18], ["CURP", "clave"], alone=True),
    Number(
        "ca-sin",
        digits(9, "1234567"),
        "ca.sin",
        ["### ### ###", "###-###-###", PLAIN9],
        ["SIN", "social insurance number", "NAS", "numéro d'assurance sociale"],
    ),
    Number(
        "in-aadhaar",
        digits(12, "23456789"),
        "in_.aadhaar",
        ["#### #### ####", "############"],
        ["Aadhaar", "Aadhaar number", "UIDAI no", "आधार"],
    ),
    Number(
        "in-pan",
        lambda rng: some(rng, UPPER, 3)
        + rng.choice("PCHFAT")
        + rng.choice(UPPER)
        + f"{rng.randrange(1, 10000):04}"
        + rng.choice(UPPER),
        "in_.pan",
        ["#" * 10],
        ["PAN", "PAN card", "Permanent Account Number"],
    ),
    Number("cn-resident-id", chinese, "cn.ric", ["#" * 18], ["身份证号", "ID", "公民身份号码"], alone=True),
    Number("kr-rrn", korean, "kr.rrn", ["######-#######"], ["주민등록번호", "RRN"], alone=True),
    Number(
        "kr-rrn-plain", korean, "kr.rrn", [PLAIN13], ["주민등록번호", "RRN", "resident registration number"]
    ),
    Number(
        "jp-my-number",
        digits(12),
        "jp.in_",
        ["############", "#### #### ####"],
        ["マイナンバー", "個人番号", "My Number"],
    ),
    Number("tw-id", taiwan, len, ["#" * 10], ["身分證字號", "national ID", "身分證"]),
    Number("hk-id", hong_kong, len, ["#######(#)"], ["HKID", "身份證號碼"], alone=True),
    Number("sg-nric", singapore, len, [PLAIN9], ["NRIC", "FIN", "NRIC/FIN", "identity card no."]),
    Number(
        "th-id",
        digits(13, "12345678"),
        "th.pin",
        ["#-####-#####-##-#", PLAIN13],
        ["เลขประจำตัวประชาชน", "บัตรประชาชน", "Thai national ID"],
    ),
    Number("au-tfn", digits(9, "123456789"), "au.tfn", ["### ### ###", PLAIN9], ["TFN", "Tax File Number"]),
    Number("au-medicare", medicare, len, ["#### ##### #", PLAIN10], ["Medicare", "Medicare card number"]),
    Number(
        "nz-ird",
        lambda rng: str(rng.randrange(10_000_000, 150_000_000)),
        "nz.ird",
        ["-###-###", ""],
        ["IRD number", "IRD", "Inland Revenue number"],
    ),
    Number("il-id", digits(9), "il.idnr", [PLAIN9], ["ת.ז.", "תעודת זהות", "Teudat Zehut"]),
    Number(
        "za-id",
        lambda rng: day(rng) + some(rng, DIGITS, 4) + rng.choice("01") + "8" + rng.choice(DIGITS),
        "za.idnr",
        [PLAIN13],
        ["SA ID number", "ID number", "South African ID"],
    ),
    Number("driving-licence-de", german_licence, len, ["#" * 11], ["Führerschein", "Führerscheinnummer"]),
    Number(
        "driving-licence-jp",
        japanese_licence,
        len,
        ["############"],
        ["運転免許証番号", "免許証", "driver license", "driving licence no."],
    ),
]


FORMS = [
    "{w}: {v}",
    "{w} {v}",
    "{w} – {v}\n",
    "My {w} is {v}.",
    '{{"{j}": "{v}"}}',
    "<li>{w}: <b>{v}</b></li>",
    "{w}\t{v}\n",
    "{w} = {v};",
    "Customer has {w} {v} on file, please check it.",
    "| {w} | {v} |",
]

ALONE = ["{v}", "record {v} was changed", '"{v}"', "id,number\n4,{v}\n"]


def worded(rng, number):
    """A text with a number, and where it stands."""
    value = number.make(rng)
    form = rng.choice(FORMS + ALONE * 2 if number.alone else FORMS)
    word = rng.choice(number.words)
    text = form.format(w=word, j=word.lower().replace(" ", "_"), v=value)
    start = text.index(value)
    return text, [(start, start + len(value))]
