#![allow(clippy::unwrap_used)]
use std::fmt::Write as _;

use super::*;

const GOOD: &str = "\
pack: mine
detectors:
  - name: ticket
    about: Tickets
    pattern: 'TCK-[0-9]{6}'
    check: [{entropy: 1.0}, no-example]
    positive: ['TCK-482913', 'a »TCK-48¦2913« b']
    negative: ['TCK-1']
";

fn fault(text: &str) -> String {
    Pack::parse("mine.yaml", text).unwrap_err().to_string()
}

#[test]
fn a_pack_loads() {
    let pack = Pack::read("mine.yaml", GOOD.as_bytes()).unwrap();
    assert_eq!((pack.name.as_str(), pack.detectors.len()), ("mine", 1));
    let spec = pack.detectors[0].spec();
    assert_eq!((spec.pack.as_str(), spec.word, spec.checks.len()), ("mine", true, 2));
}

#[test]
fn each_fault_names_its_line_and_a_remedy() {
    for (from, to, place, said) in [
        ("TCK-[0-9]{6}", "TCK-[0-9", "mine.yaml:5: ", "unclosed character class"),
        ("no-example", "no-exmaple", "mine.yaml:6: ", "did you mean `no-example`?"),
        ("no-example", "magic", "mine.yaml:6: ", "use one of aba, "),
        ("{entropy: 1.0}", "entropy", "mine.yaml:6: ", "write `{entropy: N}`"),
        ("{entropy: 1.0}", "{entropy: 9}", "mine.yaml:6: ", "of 0 to 8"),
        ("no-example", "{luhn: 3}", "mine.yaml:6: ", "write `luhn` alone"),
        ("no-example", "{phone: [XY]}", "mine.yaml:6: ", "`XY` is no region"),
        ("'TCK-482913',", "'TCK-48291',", "mine.yaml:7: ", "\"TCK-48291\": it finds nothing in it"),
        ("2913« b", "291«3 b", "mine.yaml:7: ", "finds \"TCK-482913\" instead"),
        ("2913« b", "2913 b", "mine.yaml:7: ", "marks that do not pair"),
        ("'TCK-1'", "'a TCK-123457'", "mine.yaml:8: ", "fails its negative example \"a TCK-123457\""),
        ("['TCK-1']", "[]", "mine.yaml:3: ", "`ticket` has 0 negative examples"),
        ("    about: Tickets\n", "    abuot: Tickets\n", "mine.yaml:4:", "did you mean `about`?"),
        ("pack: mine", "include: other.yaml\npack: mine", "mine.yaml:1:", "`include` is unknown here"),
        ("pack: mine\n", "", "mine.yaml:1:", "missing field"),
        ("name: ticket", "name: Ticket", "mine.yaml:3: ", "`Ticket` is no name of a detector"),
        ("pack: mine", "pack: my pack", "mine.yaml:1: ", "no name of a pack"),
        ("TCK-[0-9]{6}", "[a-z]{6}", "mine.yaml:5: ", "nothing in the pattern shows where to look"),
        ("TCK-[0-9]{6}", "(TCK)?", "mine.yaml:5: ", "matches the empty text"),
        ("'TCK-[0-9]{6}'", "'TCK-(?:\\w{250}){40}'", "mine.yaml:5: ", "compiles to more than"),
        ("    check", "    context: {words: [ab]}\n    check", "mine.yaml:6: ", "has no usable words"),
        (
            "    check",
            "    context: {words: [abc], before: 9999}\n    check",
            "mine.yaml:6: ",
            "reaches too far",
        ),
    ] {
        let text = GOOD.replacen(from, to, 1);
        assert_ne!(text, GOOD, "{from}");
        let fault = fault(&text);
        assert!(fault.starts_with(place) && fault.contains(said), "{to}: {fault}");
        assert!(fault.contains("; "), "a remedy: {fault}");
    }
}

#[test]
fn all_faults_come_at_once() {
    let error =
        Pack::parse("mine.yaml", &GOOD.replace("no-example", "magic").replace("pack: mine", "pack: M"))
            .unwrap_err();
    assert_eq!(error.faults().len(), 2, "{error}");
}

#[test]
fn what_is_too_large_is_refused() {
    let long = GOOD.replace("TCK-[0-9]{6}", &format!("TCK-[0-9]{{6}}{}", "|TCKXXXXX".repeat(500)));
    assert!(fault(&long).contains("more than 4096"), "{}", fault(&long));
    let large = format!("{GOOD}# {}", "x".repeat(1 << 20));
    assert!(fault(&large).contains("more than 1048576"));
    let mut many = String::from("pack: mine\ndetectors:\n");
    for number in 0..=DETECTORS {
        let _ = writeln!(
            many,
            "  - {{name: d{number}, about: x, pattern: TCK1, positive: [TCK1], negative: [x]}}"
        );
    }
    assert!(fault(&many).contains("513 detectors, more than 512"), "{}", fault(&many));
    let examples = GOOD.replace("['TCK-1']", &format!("[{}]", "'a',".repeat(EXAMPLES + 1)));
    assert!(fault(&examples).contains("has 65 negative examples"), "{}", fault(&examples));
    let example = GOOD.replace("'TCK-1'", &format!("'{}'", "a".repeat(EXAMPLE + 1)));
    assert!(fault(&example).contains("has 16385 bytes"), "{}", fault(&example));
}

#[test]
fn empty_files_and_other_encodings_are_refused() {
    assert!(fault("").starts_with("mine.yaml"), "{}", fault(""));
    assert!(fault("pack: mine\ndetectors: []\n").contains("no detectors"));
    let error = Pack::read("mine.yaml", b"pack: mine\n# \xff\n").unwrap_err().to_string();
    assert_eq!(error, "mine.yaml:2: byte 13 is not UTF-8; save the file as UTF-8");
}

#[test]
fn a_name_stands_once_in_a_file() {
    let twice = GOOD.to_owned() + GOOD.split_once("detectors:\n").unwrap().1;
    assert_eq!(
        fault(&twice),
        "mine.yaml:9: detector `ticket` stands in line 3 already; give it another name"
    );
}

#[test]
fn own_packs_replace_shipped_ones_by_name() {
    let parse = |file, text: &str| Pack::parse(file, text).unwrap();
    let shipped = || vec![parse("shipped.yaml", GOOD)];
    let own = parse("own.yaml", &GOOD.replace("name: ticket", "name: voucher"));
    let packs = merge(shipped(), vec![own]).unwrap();
    assert_eq!(packs.len(), 1);
    assert_eq!(packs[0].detectors[0].name(), "voucher");

    let clash = parse("own.yaml", &GOOD.replace("pack: mine", "pack: other"));
    let error = merge(shipped(), vec![clash]).unwrap_err().to_string();
    assert_eq!(error, "own.yaml:3: detector `ticket` stands in shipped.yaml:3 already; give it another name");

    let two = vec![parse("a.yaml", GOOD), parse("b.yaml", &GOOD.replace("name: ticket", "name: voucher"))];
    let error = merge(shipped(), two).unwrap_err().to_string();
    assert!(error.starts_with("b.yaml: the pack `mine` stands in a.yaml already; "), "{error}");
}

fn all() -> Vec<Pack> {
    let mut errors = String::new();
    let packs: Vec<_> = shipped()
        .iter()
        .filter_map(|pack| {
            Pack::parse(pack.file, pack.text).map_err(|error| writeln!(errors, "{error}").unwrap()).ok()
        })
        .collect();
    assert!(errors.is_empty(), "\n{errors}");
    packs
}

#[test]
fn shipped_packs_load_together() {
    let packs = merge(all(), Vec::new()).unwrap();
    let names: Vec<_> = packs.iter().map(|pack| pack.name.as_str()).collect();
    assert_eq!(names, ["secrets", "payment", "pii", "network"]);
}

/// A detector that runs over every number costs time, so each stands here.
#[test]
fn few_shipped_detectors_look_at_all_numbers() {
    use crate::trigger::literals::Literal;
    use crate::trigger::{Near, Trigger};

    let packs = all();
    let mut digits = Vec::new();
    for detector in packs.iter().flat_map(|pack| &pack.detectors) {
        let trigger = match detector.trigger() {
            Trigger::Literals(all) => {
                let text = |literal: &Literal| String::from_utf8_lossy(&literal.folded).into_owned();
                let shown: Vec<_> = all.iter().map(text).take(6).collect();
                let near = all.iter().filter(|literal| literal.is_near_run).count();
                format!("{} literals, {near} of them near runs: {shown:?}", all.len())
            }
            Trigger::At(at) => format!("@ after {}", at.back),
            Trigger::Digits(of) => {
                digits.push(detector.name());
                format!("{} digits in {} bytes", of.least, detector.reach())
            }
            Trigger::Words { words, near } => {
                let near = match near {
                    Near::Digits(of) => format!("{} digits", of.least),
                    Near::Run(least) => format!("a run of {least}"),
                    Near::Byte(sign) => format!("a {}", char::from(*sign)),
                    Near::Anything => "anything".to_owned(),
                };
                format!("{} words near {near} in {} bytes", words.len(), detector.reach())
            }
        };
        println!("{:28} {trigger}", detector.name());
    }
    let expected = [
        "card",
        "card-long",
        "iban",
        "phone",
        "phone-us",
        "us-ssn",
        "us-itin",
        "uk-nino",
        "fr-nir",
        "ch-ahv",
        "fi-hetu",
        "ru-snils",
        "br-cpf",
        "br-cnpj",
        "ar-cuit",
        "cl-rut",
        "mx-curp",
        "cn-resident-id",
        "kr-rrn",
        "hk-id",
        "passport-mrz",
        "identity-card-mrz",
        "ip-address",
    ];
    assert_eq!(digits, expected);
}

#[test]
fn a_detector_that_reads_a_text_over_and_over_is_refused() {
    // Each `x` begins a match that fails its check, and reads on to its bound.
    let slow = GOOD.replace("'TCK-[0-9]{6}'", "'x1234[a-z0-9=]{100,3000}'").replace("no-example", "luhn");
    let fault = fault(&slow);
    assert!(fault.contains("reads a text that goes on like"), "{fault}");
}

#[test]
fn digits_that_stand_apart_are_looked_for() {
    let text = GOOD
        .replace("TCK-[0-9]{6}", "[0-9]{4}[a-z]{12}[0-9]{4}")
        .replace("{entropy: 1.0}, ", "")
        .replace("'TCK-482913', 'a »TCK-48¦2913« b'", "'4829qwertzuiopas1375'");
    Pack::parse("mine.yaml", &text).unwrap();
}

#[test]
fn words_of_several_parts_have_the_spellings_of_names() {
    let text = GOOD
        .replace("    check:", "    context: {words: ['order no'], before: 16, after: 0}\n    check:")
        .replace(
            "'TCK-482913', 'a »TCK-48¦2913« b'",
            "'order no »TCK-482913«', 'orderNo=»TCK-482913«', 'ORDER_NO »TCK-482913«'",
        );
    Pack::parse("mine.yaml", &text).unwrap();
}
