//! What fields claim, and the other spellings in which some servers believe it.
//!
//! In: fields as a peer sent them. Out: which of them would be taken for one that matters, and fields without those. Pure.
//!
//! Servers that read fields as CGI does (WSGI, Rack, PHP and their kin) make one variable of `X-User`, `X_User` and `x-user`.

use smallvec::SmallVec;

use super::fields::{Fields, Name, name};

/// Whether servers that read fields as CGI does, with underscores for dashes, take one name for the other.
pub fn is_alike(field: &str, other: &str) -> bool {
    field.len() == other.len()
        && field.bytes().zip(other.bytes()).all(|(a, b)| a == b || matches!((a, b), (b'_', b'-') | (b'-', b'_')))
}

/// Takes fields out that some servers would take for this one, which is about to say something else; not the field itself.
pub fn strip_alike<'n>(fields: &mut Fields, field: impl Into<Name<'n>>) {
    let field = field.into();
    let wanted = field.text();
    // Two that differ in nothing but case are one name, and only those that are as long are alike.
    let is_other = |name: &str| name != wanted && is_alike(name, wanted);
    let could_be =
        |(_, name, _): (_, &[u8], _)| name.len() == wanted.len() && std::str::from_utf8(name).is_ok_and(is_other);
    if fields.iter_bytes().any(could_be) {
        fields.retain(|name, _| !is_other(name.text()));
    }
}

/// Takes fields out that some servers would take for one that means something to us, such as `content_length`.
pub fn strip_lookalikes(fields: &mut Fields) {
    let suspicious = |field: Name<'_>| matches!(field, Name::Text(text) if text.contains('_'));
    if !fields.iter().any(|(field, _)| suspicious(field)) {
        return;
    }
    fields.retain(|field, _| {
        let Name::Text(text) = field else { return true };
        let plain: SmallVec<[u8; 32]> = text.bytes().map(|b| if b == b'_' { b'-' } else { b }).collect();
        let known = std::str::from_utf8(&plain).is_ok_and(|plain| matches!(Name::from(plain), Name::Known(_)));
        !(text.contains('_') && known)
    });
}

/// Whether a field tells, by custom, who the client is or what it asked for before a proxy changed it; in any spelling.
///
/// `X-Original-URL` and `X-Rewrite-URL` make some frameworks serve another path than the one that was routed. What Envoy and
/// WebLogic's proxies say to the servers behind them is for those to say.
pub fn is_forwarding(field: Name<'_>) -> bool {
    const STARTS: [&str; 4] = ["x-forwarded", "x-original-", "x-envoy-", "wl-proxy-"];
    const NAMES: [&str; 17] = [
        "cf-connecting-ip",
        "cf-connecting-ipv6",
        "cf-pseudo-ipv4",
        "cf-visitor",
        "client-ip",
        "fastly-client-ip",
        "forwarded-for",
        "front-end-https",
        "proxy-client-ip",
        "true-client-ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-real-port",
        "x-remote-ip",
        "x-rewrite-url",
        "x-scheme",
        "x-url-scheme",
    ];
    let text = match field {
        Name::Known(known) => {
            return matches!(
                known,
                name::FORWARDED
                    | name::X_FORWARDED_FOR
                    | name::X_FORWARDED_HOST
                    | name::X_FORWARDED_PROTO
                    | name::X_REAL_IP
            );
        }
        Name::Text(text) => text,
    };
    if !text.starts_with(['c', 'f', 'p', 't', 'w', 'x']) {
        return false;
    }
    let begins = |start: &&str| text.get(..start.len()).is_some_and(|begin| is_alike(begin, start));
    STARTS.iter().any(begins) || NAMES.iter().any(|name| is_alike(text, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reads_the_same_goes_and_the_field_itself_stays() {
        const SENT: [&str; 5] = ["x-user-id", "X_User_Id", "x_user-id", "x-user-ids", "x-user"];
        for (field, left) in [
            ("x-user-id", &["x-user-id", "x-user-ids", "x-user"][..]),
            ("x_user-id", &["x_user-id", "x-user-ids", "x-user"]),
            ("xuserid", &["x-user-id", "x_user_id", "x_user-id", "x-user-ids", "x-user"]),
        ] {
            let mut fields = Fields::new();
            SENT.iter().for_each(|name| fields.append_bytes(name.as_bytes(), b"1").unwrap());
            strip_alike(&mut fields, field);
            assert_eq!(fields.iter().map(|(name, _)| name.text()).collect::<Vec<_>>(), left, "{field}");
        }
    }
    #[test]
    fn what_tells_of_the_client_is_known_in_every_spelling() {
        let told = [
            "forwarded",
            "x-real-ip",
            "x-forwarded-for",
            "x_forwarded_for",
            "x-forwarded_prefix",
            "x-original-host",
            "x_original_method",
            "x-envoy-external-address",
            "x-envoy_original_path",
            "wl-proxy-client-ip",
            "wl_proxy_ssl",
            "proxy_client_ip",
            "client-ip",
            "cf_connecting_ipv6",
            "true_client-ip",
        ];
        told.iter().for_each(|field| assert!(is_forwarding((*field).into()), "{field}"));
        for field in
            ["x-real-name", "x-forward", "client", "cf-ray", "x-originals", "x-scheme-2", "proxy-x", "\u{e9}-ip"]
        {
            assert!(!is_forwarding(field.into()), "{field}");
        }
    }
}
