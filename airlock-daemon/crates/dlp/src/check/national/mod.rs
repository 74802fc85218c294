//! Numbers that states give to people, by their check digits and the dates within them.

mod africa_asia;
mod america;
mod europe;
mod europe_east;
mod europe_north;
mod licence;
mod pacific;

use super::table::Checks;

pub(super) const CHECKS: Checks = &[
    ("ar-cuit", america::is_cuit),
    ("at-svnr", europe::is_svnr),
    ("au-abn", pacific::is_abn),
    ("au-medicare", pacific::is_medicare),
    ("au-tfn", pacific::is_tfn),
    ("be-nrn", europe::is_nrn),
    ("bg-egn", europe_east::is_egn),
    ("br-cnpj", america::is_cnpj),
    ("br-cpf", america::is_cpf),
    ("ca-sin", america::is_sin),
    ("ch-ahv", europe::is_ahv),
    ("cl-rut", america::is_rut),
    ("cn-resident", africa_asia::is_resident),
    ("cz-birth-number", europe_east::is_birth_number),
    ("de-licence", licence::is_german),
    ("de-tax-id", europe::is_tax_id),
    ("dk-cpr", europe_north::is_cpr),
    ("ee-isikukood", europe_north::is_isikukood),
    ("es-dni", europe::is_dni),
    ("fi-hetu", europe_north::is_hetu),
    ("fr-nir", europe::is_nir),
    ("gr-amka", europe_east::is_amka),
    ("hk-id", africa_asia::is_hkid),
    ("hr-oib", europe_east::is_oib),
    ("ie-pps", europe::is_pps),
    ("il-id", africa_asia::is_zehut),
    ("in-aadhaar", africa_asia::is_aadhaar),
    ("it-fiscal-code", europe::is_fiscal_code),
    ("jp-licence", licence::is_japanese),
    ("jp-my-number", africa_asia::is_my_number),
    ("kr-rrn", africa_asia::is_rrn),
    ("mx-curp", america::is_curp),
    ("nl-bsn", europe::is_bsn),
    ("no-fnr", europe_north::is_fnr),
    ("nz-ird", pacific::is_ird),
    ("pl-pesel", europe_east::is_pesel),
    ("pt-nif", europe::is_nif),
    ("ro-cnp", europe_east::is_cnp),
    ("ru-snils", europe_east::is_snils),
    ("se-personnummer", europe_north::is_personnummer),
    ("sg-nric", pacific::is_nric),
    ("th-id", africa_asia::is_thai),
    ("tr-id", africa_asia::is_kimlik),
    ("tw-id", africa_asia::is_taiwanese),
    ("uk-nhs", europe::is_nhs),
    ("uk-nino", europe::is_nino),
    ("us-itin", america::is_itin),
    ("us-ssn", america::is_ssn),
    ("za-id", africa_asia::is_south_african),
];

/// Asserts that a check holds for some texts and fails for others, and that it notices each wrong last digit.
#[cfg(test)]
pub(super) fn knows(holds: fn(&str) -> bool, good: &[&str], bad: &[&str]) {
    for text in good {
        assert!(holds(text), "{text} is one");
    }
    for text in bad.iter().chain(&["", "0", "abc", "00000000", "é"]) {
        assert!(!holds(text), "{text} is none");
    }
}
