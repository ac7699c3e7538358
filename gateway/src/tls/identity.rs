//! Who a client's certificate says it is, as text that is safe in a header field.
//!
//! In: a certificate that a configured CA signed. Out: subject, alternative names and fingerprint.
//!
//! Invariant: only printable ASCII comes out, and a value can never look like two: what separates values is escaped
//! inside them. A CA may sign names that its customers chose, and `URI:x, DNS:admin` must not come out as a DNS name.
//!
//! Limit: a text longer than [`TEXT_SIZE`] is refused rather than shortened.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::SystemTime;

use aws_lc_rs::digest;
use x509_parser::asn1_rs::Tag;
use x509_parser::prelude::{AttributeTypeAndValue, FromDer, GeneralName, X509Certificate, X509Name};

use super::pem::{Validity, validity};

/// The longest text of an identity, in bytes.
pub(super) const TEXT_SIZE: usize = 8 * 1024;

/// Attribute types that have a short name, as RFC 4514 section 3 and the LDAP registry spell them.
const SHORT_NAMES: &[(&str, &str)] = &[
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.6", "C"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("2.5.4.4", "SN"),
    ("2.5.4.42", "GN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.12", "title"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

/// Who a client is, by its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientIdentity {
    /// The subject by RFC 4514, the most specific part first: `CN=billing,O=Example`. Everything but printable ASCII is
    /// written `\XX`.
    pub subject: String,
    /// The alternative names that have a plain form, as `DNS:a, URI:b, email:c, IP:d`. Within a name a comma, a quotation
    /// mark, a backslash and everything but printable ASCII is written `\XX`.
    pub san: String,
    /// SHA-256 of the certificate, lower-case hexadecimal.
    pub fingerprint: String,
}

impl ClientIdentity {
    /// Reads a certificate that the handshake has verified. The error says what is wrong with it.
    ///
    /// Its time is looked at once more: a resumed session brings back a certificate that was verified hours ago.
    pub(super) fn read(der: &[u8], now: SystemTime) -> Result<ClientIdentity, &'static str> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|_| "client certificate: not X.509")?;
        if validity(&certificate, now) != Validity::Valid {
            return Err("client certificate: expired since the session began");
        }
        let alternatives =
            certificate.subject_alternative_name().map_err(|_| "client certificate: malformed alternative names")?;
        let mut san = String::new();
        for name in alternatives.iter().flat_map(|extension| &extension.value.general_names) {
            add_alternative(&mut san, name);
        }
        let subject = subject(certificate.subject());
        if subject.len() > TEXT_SIZE || san.len() > TEXT_SIZE {
            return Err("client certificate: its names are too long");
        }
        Ok(ClientIdentity { subject, san, fingerprint: hexadecimal(digest::digest(&digest::SHA256, der).as_ref()) })
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// RFC 4514 section 2.1: the last relative name first, between commas; the parts of one between plus signs.
fn subject(name: &X509Name<'_>) -> String {
    let names: Vec<_> = name.iter_rdn().collect();
    let mut text = String::new();
    for relative in names.into_iter().rev() {
        let mut separator = if text.is_empty() { "" } else { "," };
        for attribute in relative.iter() {
            text.push_str(separator);
            add_attribute(&mut text, attribute);
            separator = "+";
        }
    }
    text
}

fn add_attribute(text: &mut String, attribute: &AttributeTypeAndValue<'_>) {
    let kind = attribute.attr_type().to_id_string();
    let short = SHORT_NAMES.iter().find(|(id, _)| *id == kind).map(|(_, name)| *name);
    match (short, string_of(attribute)) {
        (Some(name), Some(value)) => {
            text.push_str(name);
            text.push('=');
            add_value(text, &value);
        }
        // RFC 4514 section 2.4: without a short name, or when it is not a string, the encoding itself.
        (name, _) => {
            let value = attribute.attr_value();
            text.push_str(name.unwrap_or(&kind));
            text.push_str("=#");
            text.push_str(&hexadecimal(&encoded(value.tag(), value.data)));
        }
    }
}

/// The text of a directory string, whatever its encoding.
fn string_of(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    let data = attribute.as_slice();
    match attribute.attr_value().tag() {
        Tag::BmpString => {
            let (units, rest) = data.as_chunks::<2>();
            let units = units.iter().copied().map(u16::from_be_bytes);
            char::decode_utf16(units).collect::<Result<String, _>>().ok().filter(|_| rest.is_empty())
        }
        // In practice Latin-1, whatever the standard says.
        Tag::T61String => Some(data.iter().copied().map(char::from).collect()),
        _ => attribute.as_str().ok().map(str::to_owned),
    }
}

/// RFC 4514 section 2.4, and everything but printable ASCII as the bytes of its UTF-8.
fn add_value(text: &mut String, value: &str) {
    let last = value.len().saturating_sub(1);
    for (place, byte) in value.bytes().enumerate() {
        match byte {
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' => {
                text.push('\\');
                text.push(char::from(byte));
            }
            b'#' if place == 0 => text.push_str("\\#"),
            b' ' if place == 0 || place == last => text.push_str("\\ "),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => add_escaped(text, byte),
        }
    }
}

fn add_alternative(text: &mut String, name: &GeneralName<'_>) {
    let (kind, value) = match name {
        GeneralName::DNSName(value) => ("DNS:", *value),
        GeneralName::URI(value) => ("URI:", *value),
        GeneralName::RFC822Name(value) => ("email:", *value),
        GeneralName::IPAddress(bytes) => {
            if let Some(address) = address(bytes) {
                separate(text);
                let _ = write!(text, "IP:{address}");
            }
            return;
        }
        // Directory names, other names, registered ids: no plain form that everybody agrees on.
        _ => return,
    };
    separate(text);
    text.push_str(kind);
    for byte in value.bytes() {
        match byte {
            b',' | b'"' | b'\\' => add_escaped(text, byte),
            b'!'..=b'~' => text.push(char::from(byte)),
            _ => add_escaped(text, byte),
        }
    }
}

fn separate(text: &mut String) {
    if !text.is_empty() {
        text.push_str(", ");
    }
}

fn add_escaped(text: &mut String, byte: u8) {
    let _ = write!(text, "\\{byte:02X}");
}

fn address(bytes: &[u8]) -> Option<std::net::IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(|four| Ipv4Addr::from(four).into());
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(|sixteen| Ipv6Addr::from(sixteen).into())).ok()
}

/// DER: tag, length, content.
fn encoded(tag: Tag, content: &[u8]) -> Vec<u8> {
    let mut der = vec![u8::try_from(tag.0).unwrap_or(0)];
    match u8::try_from(content.len()) {
        Ok(length @ 0..=127) => der.push(length),
        _ => {
            let length = content.len().to_be_bytes();
            let skip = length.iter().take_while(|byte| **byte == 0).count();
            der.push(0x80 | (length.len() - skip) as u8);
            der.extend_from_slice(length.get(skip..).unwrap_or_default());
        }
    }
    der.extend_from_slice(content);
    der
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{DnType, DnValue, SanType};

    use super::*;

    fn identity_of(names: &[(DnType, DnValue)], alternatives: Vec<SanType>) -> ClientIdentity {
        let mut certificate = rcgen::CertificateParams::default();
        certificate.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in names {
            certificate.distinguished_name.push(kind.clone(), value.clone());
        }
        certificate.subject_alt_names = alternatives;
        let key = rcgen::KeyPair::generate().unwrap();
        let made = certificate.self_signed(&key).unwrap();
        ClientIdentity::read(made.der(), SystemTime::now()).unwrap()
    }

    fn utf8(text: &str) -> DnValue {
        DnValue::Utf8String(text.into())
    }

    #[test]
    fn the_subject_is_written_by_rfc_4514() {
        let identity = identity_of(
            &[
                (DnType::CountryName, utf8("DE")),
                (DnType::OrganizationName, utf8("Example, \"Söhne\" + Co")),
                (DnType::CustomDnType(vec![1, 2, 840, 113549, 1, 9, 1]), utf8("a@example.com")),
                (DnType::CustomDnType(vec![1, 3, 6, 1, 4, 1, 99999, 7]), utf8("hi")),
                (DnType::CommonName, utf8(" #billing\r\nx-admin: 1 ")),
            ],
            Vec::new(),
        );
        assert_eq!(
            identity.subject,
            "CN=\\ #billing\\0D\\0Ax-admin: 1\\ ,1.3.6.1.4.1.99999.7=#0c026869,emailAddress=a@example.com,\
             O=Example\\, \\\"S\\C3\\B6hne\\\" \\+ Co,C=DE"
        );
        assert_eq!(identity.san, "");
        assert_eq!(identity.fingerprint.len(), 64);
    }

    #[test]
    fn other_string_encodings_are_read() {
        let bmp = rcgen::string::BmpString::try_from("Grüße").unwrap();
        let identity = identity_of(&[(DnType::CommonName, DnValue::BmpString(bmp))], Vec::new());
        assert_eq!(identity.subject, "CN=Gr\\C3\\BC\\C3\\9Fe");
    }

    #[test]
    fn alternative_names_are_listed() {
        let identity = identity_of(
            &[],
            vec![
                SanType::DnsName("a.example".try_into().unwrap()),
                SanType::URI("spiffe://example/billing".try_into().unwrap()),
                SanType::Rfc822Name("c@example.com".try_into().unwrap()),
                SanType::IpAddress("192.0.2.7".parse().unwrap()),
                SanType::IpAddress("2001:db8::1".parse().unwrap()),
            ],
        );
        assert_eq!(
            identity.san,
            "DNS:a.example, URI:spiffe://example/billing, email:c@example.com, IP:192.0.2.7, IP:2001:db8::1"
        );
        assert_eq!(identity.subject, "");
    }

    #[test]
    fn one_name_cannot_look_like_two() {
        let evil = SanType::URI("x, DNS:admin.example\r\nh: \"\\".try_into().unwrap());
        let identity = identity_of(&[], vec![evil]);
        assert_eq!(identity.san, "URI:x\\2C\\20DNS:admin.example\\0D\\0Ah:\\20\\22\\5C");
    }

    #[test]
    fn an_identity_that_has_expired_since_is_refused() {
        let key = rcgen::KeyPair::generate().unwrap();
        let made = rcgen::CertificateParams::default().self_signed(&key).unwrap();
        let late = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(80_000_000_000);
        assert_eq!(ClientIdentity::read(made.der(), late), Err("client certificate: expired since the session began"));
        assert!(ClientIdentity::read(b"0\x03\x02\x01\x01", late).is_err());
    }

    #[test]
    fn names_that_are_too_long_are_refused() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut certificate = rcgen::CertificateParams::default();
        certificate.subject_alt_names = vec![SanType::URI("x".repeat(TEXT_SIZE).try_into().unwrap())];
        let made = certificate.self_signed(&key).unwrap();
        let error = ClientIdentity::read(made.der(), SystemTime::now());
        assert_eq!(error, Err("client certificate: its names are too long"));
    }

    #[test]
    fn long_encodings_have_long_lengths() {
        assert_eq!(encoded(Tag::Utf8String, &[7; 127])[..2], [12, 127]);
        assert_eq!(encoded(Tag::Utf8String, &[7; 128])[..3], [12, 0x81, 128]);
        assert_eq!(encoded(Tag::Utf8String, &[7; 300])[..4], [12, 0x82, 1, 44]);
    }

    proptest! {
        #[test]
        fn values_are_printable_and_commas_are_escaped(value in any::<String>()) {
            let mut text = String::new();
            add_value(&mut text, &value);
            prop_assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            let mut escaped = false;
            for byte in text.bytes() {
                prop_assert!(byte != b',' || escaped);
                escaped = byte == b'\\' && !escaped;
            }
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = ClientIdentity::read(&bytes, SystemTime::UNIX_EPOCH);
        }
    }
}
