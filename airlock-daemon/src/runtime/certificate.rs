//! The owner of a certificate, in one line, as a policy compares it.

use std::fmt::Write as _;

use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry::{Oid, OidRegistry};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// The owner of a verified certificate: its first URI, otherwise its first host name, otherwise its first
/// mail address, otherwise its subject as RFC 4514 writes it. None where it names nobody, or by bytes that
/// are no text.
pub fn holder(der: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.map_or(&[][..], |extension| &extension.value.general_names[..]);
    let first = |pick: for<'n> fn(&'n GeneralName<'n>) -> Option<&'n str>| {
        names.iter().find_map(pick).filter(|name| is_plain(name)).map(str::to_owned)
    };
    first(|name| if let GeneralName::URI(uri) = name { Some(uri) } else { None })
        .or_else(|| first(|name| if let GeneralName::DNSName(host) = name { Some(host) } else { None }))
        .or_else(|| first(|name| if let GeneralName::RFC822Name(mail) = name { Some(mail) } else { None }))
        .or_else(|| subject(certificate.subject()))
}

/// Nothing that would look like something else in a log or a rule.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A distinguished name, the most particular part first (RFC 4514, section 2.1).
fn subject(name: &X509Name<'_>) -> Option<String> {
    let registry = OidRegistry::default().with_x509();
    let mut parts = Vec::new();
    for part in name.iter() {
        let pairs: Option<Vec<_>> = part.iter().map(|pair| attribute(pair, &registry)).collect();
        parts.push(pairs?.join("+"));
    }
    parts.reverse();
    Some(parts.join(",")).filter(|name| !name.is_empty())
}

fn attribute(pair: &AttributeTypeAndValue<'_>, registry: &OidRegistry<'_>) -> Option<String> {
    let value = pair.as_str().ok()?;
    let kind = short_name(pair.attr_type(), registry);
    Some(format!("{kind}={}", escaped(value)))
}

/// `CN`, `O` and their like; the numbers of what has no short name.
fn short_name(oid: &Oid<'_>, registry: &OidRegistry<'_>) -> String {
    const SHORT: [(&str, &str); 9] = [
        ("commonName", "CN"),
        ("localityName", "L"),
        ("stateOrProvinceName", "ST"),
        ("organizationName", "O"),
        ("organizationalUnit", "OU"),
        ("organizationalUnitName", "OU"),
        ("countryName", "C"),
        ("domainComponent", "DC"),
        ("userId", "UID"),
    ];
    let known = registry.get(oid).map(x509_parser::oid_registry::OidEntry::sn);
    let short = known.and_then(|known| SHORT.iter().find(|(name, _)| *name == known));
    short.map_or_else(|| oid.to_id_string(), |(_, short)| (*short).to_owned())
}

/// A value in which no sign means anything but itself (RFC 4514, section 2.4).
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (at, sign) in value.chars().enumerate() {
        match sign {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' | '=' => out.extend(['\\', sign]),
            '#' | ' ' if at == 0 => out.extend(['\\', sign]),
            ' ' if at == last => out.push_str("\\ "),
            control if control.is_control() => {
                let mut bytes = [0; 4];
                for byte in control.encode_utf8(&mut bytes).bytes() {
                    // Writing into a String cannot fail.
                    let _ = write!(out, "\\{byte:02x}");
                }
            }
            plain => out.push(plain),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use rcgen::string::Ia5String;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    use super::*;

    fn ia5(text: &str) -> Ia5String {
        text.to_owned().try_into().expect("ASCII")
    }

    fn of(subject: &[(DnType, &str)], names: Vec<SanType>) -> Option<String> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in subject {
            params.distinguished_name.push(kind.clone(), *value);
        }
        params.subject_alt_names = names;
        let key = KeyPair::generate().expect("a key");
        holder(params.self_signed(&key).expect("signed").der())
    }

    #[test]
    fn the_most_telling_name_is_taken() {
        let subject =
            [(DnType::CountryName, "DE"), (DnType::OrganizationName, "Acme"), (DnType::CommonName, "alice")];
        let host = SanType::DnsName(ia5("agent.example"));
        let mail = SanType::Rfc822Name(ia5("alice@acme.example"));
        let uri = SanType::URI(ia5("spiffe://acme.example/agent"));
        let name = |names: &[&SanType]| of(&subject, names.iter().copied().cloned().collect());
        assert_eq!(name(&[&mail, &host, &uri]).as_deref(), Some("spiffe://acme.example/agent"));
        assert_eq!(name(&[&mail, &host]).as_deref(), Some("agent.example"));
        assert_eq!(name(&[&mail]).as_deref(), Some("alice@acme.example"));
        assert_eq!(name(&[]).as_deref(), Some("CN=alice,O=Acme,C=DE"));
        assert_eq!(of(&[], Vec::new()), None);
    }

    #[test]
    fn nothing_in_a_name_passes_for_another_part() {
        let name = |value: &str| of(&[(DnType::CommonName, value)], Vec::new());
        assert_eq!(name("alice,O=Acme").as_deref(), Some("CN=alice\\,O\\=Acme"));
        assert_eq!(name(" #a+\"<>;\\ ").as_deref(), Some("CN=\\ #a\\+\\\"\\<\\>\\;\\\\\\ "));
        assert_eq!(name("a\nb").as_deref(), Some("CN=a\\0ab"));
        let odd = SanType::URI(ia5("x:\ny"));
        assert_eq!(of(&[(DnType::CommonName, "alice")], vec![odd]).as_deref(), Some("CN=alice"));
        assert_eq!(holder(b"no certificate"), None);
    }
}
