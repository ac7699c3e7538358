//! `[[listener]]`: addresses, TLS, client certificates.

use super::{At, Dev, Either, Reader, file, value};
use crate::config::model::{Certificates, ClientCertificates, Listener, Protocols, Tls, TlsVersion};

impl Reader<'_, '_> {
    pub(super) fn listener(&mut self, listener: &file::Listener) -> Option<Listener> {
        let address = self.text(&listener.address, value::socket_address);
        let tls = listener.tls.as_ref().and_then(|tls| self.listener_tls(tls));
        let protocols = match listener.protocols.as_deref() {
            None => Protocols { h1: true, h2: true },
            Some(given) => Protocols {
                h1: given.iter().any(|protocol| protocol.value == file::Protocol::H1),
                h2: given.iter().any(|protocol| protocol.value == file::Protocol::H2),
            },
        };
        let proxy_protocol = self.texts(listener.proxy_protocol.as_deref().unwrap_or_default(), value::network);
        Some(Listener { address: address?, tls, protocols, proxy_protocol })
    }

    fn listener_tls(&mut self, tls: &At<file::ListenerTls>) -> Option<Tls> {
        let plain = |certificates| Tls { certificates, minimum: TlsVersion::Tls12, client: None };
        match &tls.value {
            Either::Short(Dev::Dev) => Some(plain(Certificates::Dev)),
            Either::Long(Either::Short(files)) => Some(plain(self.certificate_list(files, tls)?)),
            Either::Long(Either::Long(table)) => {
                let certificates = match &table.certificates.value {
                    Either::Short(Dev::Dev) => Some(Certificates::Dev),
                    Either::Long(files) => self.certificate_list(files, &table.certificates),
                };
                let client = table.client.as_ref().and_then(|client| self.client_certificates(client));
                Some(Tls { certificates: certificates?, minimum: table.minimum.unwrap_or(TlsVersion::Tls12), client })
            }
        }
    }

    fn certificate_list<T>(&mut self, files: &[file::CertificateFiles], at: &At<T>) -> Option<Certificates> {
        if files.is_empty() {
            self.report.at(&at.span, "takes at least one { certificate, key }, or \"dev\"");
            return None;
        }
        Some(Certificates::Files(self.certificates(files)))
    }

    fn client_certificates(&mut self, client: &file::ClientCertificates) -> Option<ClientCertificates> {
        let ca = self.authorities(&client.ca);
        let mut taken = Vec::new();
        let mut header = |at: Option<&At<String>>| {
            let at = at?;
            let name = self.own_header(at)?;
            if taken.contains(&name) {
                self.report.at(&at.span, format!("{:?} carries another part of the identity already", name.text()));
            }
            taken.push(name.clone());
            Some(name)
        };
        let subject_header = header(client.subject_header.as_ref());
        let san_header = header(client.san_header.as_ref());
        let fingerprint_header = header(client.fingerprint_header.as_ref());
        let required = client.required.unwrap_or(true);
        Some(ClientCertificates { ca: ca?, required, subject_header, san_header, fingerprint_header })
    }
}
