//! What is said of files that cannot be used, and which kinds can.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use x509_parser::der_parser::parse_der;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::certs::{self, authority, issue};
use super::*;
use crate::tls::pem::{Validity, out_of_time, validity};
use crate::tls::warnings_of_certificate;

/// What loading says; file names without their folder.
fn problem_of(folder: &Folder, config: &Tls) -> String {
    let problem = ServerTls::load(config, &BOTH).expect_err("a problem").to_string();
    problem.replace(&format!("{}/", folder.0.path().display()), "")
}

#[test]
fn the_file_at_fault_is_named() {
    let (folder, ca) = (Folder::new(), authority());
    let (good, other) = (issue(&ca, &["a.example"]), issue(&ca, &["b.example"]));
    let half = &good.0[..good.0.len() / 2];
    let garbled = good.0.replacen("MII", "M*I", 1);
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let not_x509 = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let not_a_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    for (certificate, key, expected) in [
        (&*good.0, &*other.1, "a.key: this private key does not belong to the certificate in a.pem"),
        (half, &good.1, "a.pem: broken PEM: the END line of a section is missing"),
        (&garbled, &good.1, "a.pem: broken PEM: what stands between BEGIN and END is not base64"),
        ("", &good.1, "a.pem: there is no certificate in it"),
        (
            &good.1,
            &good.0,
            "a.pem: there is no certificate in it; there is a private key (are certificate and key swapped?)",
        ),
        (
            &good.0,
            &good.0,
            "a.key: there is no private key in it; there is a certificate (are certificate and key swapped?)",
        ),
        (
            &good.0,
            encrypted,
            "a.key: there is no private key in it that can be read: it is encrypted, and the gateway has no pass phrase \
             for it",
        ),
        (not_x509, &good.1, "a.pem: a certificate in it cannot be used: "),
        (&good.0, not_a_key, "a.key: the private key cannot be used: "),
    ] {
        let files = folder.pair("a", &(certificate.into(), key.into()));
        let said = problem_of(&folder, &tls(vec![files]));
        assert!(said.starts_with(expected), "{said}\nbut expected\n{expected}");
    }
}

#[test]
fn missing_files_empty_lists_and_bad_authorities_are_named() {
    let (folder, ca) = (Folder::new(), authority());
    let files = folder.pair("a", &issue(&ca, &["a.example"]));
    let missing = CertificateFiles { key: folder.0.path().join("missing.key"), ..files.clone() };
    assert_eq!(problem_of(&folder, &tls(vec![missing])), "missing.key: No such file or directory (os error 2)");
    assert_eq!(problem_of(&folder, &tls(Vec::new())), "a TLS listener needs at least one certificate");
    let mut config = tls(vec![files]);
    config.client = demand(folder.write("ca.pem", "nothing"), true);
    assert_eq!(problem_of(&folder, &config), "ca.pem: there is no certificate in it");
    let endless = CertificateFiles { certificate: "/dev/zero".into(), key: "/dev/zero".into() };
    assert!(matches!(ServerTls::load(&tls(vec![endless]), &BOTH), Err(TlsProblem::TooLarge { .. })));
}

#[test]
fn keys_are_taken_in_every_plain_form() {
    let (folder, ca) = (Folder::new(), authority());
    for (algorithm, label) in
        [(&rcgen::PKCS_RSA_SHA256, "RSA PRIVATE KEY"), (&rcgen::PKCS_ECDSA_P256_SHA256, "EC PRIVATE KEY")]
    {
        let (certificate, key) = ca.sign(&certs::server(&["a.example"]), algorithm);
        // RFC 5958: the third member of PKCS#8 holds the older form.
        let pkcs8 = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let (_, parsed) = parse_der(pkcs8.secret_der()).unwrap();
        let inner = parsed.as_sequence().unwrap()[2].as_slice().unwrap();
        let older = format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", base64(inner));
        for key in [key, older] {
            // In one file with the certificate, too.
            let both = folder.write("both.pem", &format!("{key}{certificate}"));
            let files = CertificateFiles { certificate: both.clone(), key: both };
            ServerTls::load(&tls(vec![files]), &BOTH).unwrap();
        }
    }
}

#[test]
fn a_certificate_out_of_its_time_is_served_with_a_warning() {
    let (folder, ca) = (Folder::new(), authority());
    let mut params = certs::server(&["a.example"]);
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let pair = ca.sign(&params, &rcgen::PKCS_ECDSA_P256_SHA256);
    let pair = folder.pair("old", &pair);
    let path = pair.certificate.clone();
    ServerTls::load(&tls(vec![pair]), &BOTH).unwrap();
    let name = path.display();
    let expected = format!("{name}: a certificate in it expired on 2020-01-01 00:00 UTC");
    assert_eq!(warnings_of_certificate(&path), [expected]);
    let early = UNIX_EPOCH + Duration::from_secs(24 * 3600);
    let words = out_of_time(&path, early).unwrap();
    let expected = format!("{name}: a certificate in it is not valid before ");
    assert!(words.len() == 1 && words[0].starts_with(&expected), "{words:?}");
}

#[test]
fn validity_has_two_ends() {
    let ca = authority();
    let mut params = certs::server(&["a.example"]);
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let der = certificate(&ca.sign(&params, &rcgen::PKCS_ECDSA_P256_SHA256).0);
    let (_, parsed) = X509Certificate::from_der(&der).unwrap();
    let at = |days: u64| validity(&parsed, UNIX_EPOCH + Duration::from_secs(days * 24 * 3600));
    assert_eq!([at(18_261), at(18_262), at(18_628), at(18_629)], {
        [Validity::NotYet, Validity::Valid, Validity::Valid, Validity::Expired]
    });
    assert_eq!(validity(&parsed, SystemTime::now()), Validity::Expired);
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, place| bits << 8 | three.get(place).copied().unwrap_or(0) as usize);
        for place in 0..4 {
            let digit = char::from(DIGITS[bits >> (18 - 6 * place) & 63]);
            text.push(if place <= three.len() { digit } else { '=' });
        }
    }
    text
}
