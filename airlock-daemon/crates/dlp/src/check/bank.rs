//! Bank accounts: IBAN, BIC and the routing numbers of the United States.

use super::digits::{compact, exactly, weighted};
use super::table::Checks;

pub(super) const CHECKS: Checks = &[("aba", is_aba), ("bic", is_bic), ("iban", is_iban)];

/// IBAN (ISO 13616): country, length, structure, MOD 97-10.
fn is_iban(text: &str) -> bool {
    let text = compact(text);
    text.parse::<iban::Iban>().is_ok() || (is_newer(&text) && text.parse::<iban::BaseIban>().is_ok())
}

/// Countries that the registry has gained since: four letters of the bank, then digits or, in Pakistan,
/// letters and digits.
fn is_newer(text: &str) -> bool {
    let (country, bank) = (text.get(..2), text.as_bytes().get(4..8));
    bank.is_some_and(|bank| bank.iter().all(u8::is_ascii_uppercase))
        && matches!((country, text.len()), (Some("PK"), 24) | (Some("HN"), 28))
}

/// BIC (ISO 9362): four letters of the party, a country, two of the place, three of the branch.
fn is_bic(text: &str) -> bool {
    let bytes = text.as_bytes();
    matches!(bytes.len(), 8 | 11)
        && bytes[..6].iter().all(u8::is_ascii_uppercase)
        && bytes[6..].iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
        && is_country(&bytes[4..6])
        && !text.ends_with("XXXXX")
}

/// Answers whether two capitals are a country of ISO 3166-1, or Kosovo's XK.
pub(super) fn is_country(code: &[u8]) -> bool {
    COUNTRIES.as_bytes().chunks(3).any(|known| &known[..2] == code)
}

const COUNTRIES: &str = "\
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ \
    CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO \
    FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE \
    JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO \
    MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW \
    PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM \
    TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW XK ";

/// Routing numbers of the American Bankers Association: the district, and weights 3, 7, 1.
fn is_aba(text: &str) -> bool {
    exactly::<9>(text).is_some_and(|digits| {
        let district = digits[0] * 10 + digits[1];
        matches!(district, 1..=12 | 21..=32 | 61..=72 | 80)
            && weighted(&digits, &[3, 7, 1, 3, 7, 1, 3, 7, 1]).is_multiple_of(10)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iban_knows_the_examples_of_the_registry() {
        for good in [
            "DE89370400440532013000",
            "DE89 3704 0044 0532 0130 00",
            "GB29 NWBK 6016 1331 9268 19",
            "FR14 2004 1010 0505 0001 3M02 606",
            "NO93 8601 1117 947",
            "MT84MALT011000012345MTLCAST001S",
            "KW81CBKU0000000000001234560101",
            "CH9300762011623852957",
            "BR1800360305000010009795493C1",
            "LC55HEMM000100010012001200023015",
            "PK36SCBL0000001123456702",
            "HN88CABF00000000000250005469",
        ] {
            assert!(is_iban(good), "{good}");
        }
        for bad in [
            "DE89370400440532013001",
            "DE8937040044053201300",
            "XX89370400440532013000",
            "PK36SCBL000000112345670",
            "DE",
            "",
        ] {
            assert!(!is_iban(bad), "{bad}");
        }
    }

    #[test]
    fn bic_has_a_country() {
        for good in ["DEUTDEFF", "DEUTDEFF500", "NEDSZAJJXXX", "COBADEFFXXX", "BOFAUS3N"] {
            assert!(is_bic(good), "{good}");
        }
        for bad in ["DEUTXXFF", "DEUTDEF", "deutdeff", "DEUTDEFF50", "", "DÉUTDEF"] {
            assert!(!is_bic(bad), "{bad}");
        }
    }

    #[test]
    fn aba_has_a_district_and_a_check_digit() {
        for good in ["011000015", "021000021", "122105155", "322271627"] {
            assert!(is_aba(good), "{good}");
        }
        for bad in ["011000016", "000000000", "991000021", "12210515"] {
            assert!(!is_aba(bad), "{bad}");
        }
    }
}
