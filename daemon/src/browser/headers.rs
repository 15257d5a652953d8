//! Headers that every answer to a browser carries, and the files that pages are made of.

use axum::extract::Request;
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::IpAddr;

/// A page of Hither may load and do what this daemon serves, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
    media-src 'self' blob:; connect-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

/// Headers of every answer, where it has not its own.
const HEADERS: [(HeaderName, &str); 5] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (REFERRER_POLICY, "no-referrer"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (CACHE_CONTROL, "no-store"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

/// Refuses requests for a host that is not this machine (a name of somebody else's can be made to lead
/// here: DNS rebinding), and adds the headers.
pub(crate) async fn guard(request: Request, next: Next) -> Response {
    let host = request
        .headers()
        .get(HOST)
        .and_then(|host| host.to_str().ok());
    let mut response = match host.is_some_and(is_here) {
        true => next.run(request).await,
        false => StatusCode::MISDIRECTED_REQUEST.into_response(),
    };
    for (name, value) in HEADERS {
        let headers = response.headers_mut();
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Returns whether a host of a request names this machine as people type it: by an address, or by a
/// name that only this network knows.
fn is_here(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let bare = bare.split('%').next().unwrap_or_default();
    bare.parse::<IpAddr>().is_ok() || !name.contains('.') || name.ends_with(".local")
}

/// A file that pages are made of, by the path that is asked for.
pub(crate) async fn asset(uri: Uri, headers: HeaderMap) -> Response {
    file(uri.path().trim_start_matches('/'), &headers)
}

/// The same by its name.
pub(crate) fn file(path: &str, headers: &HeaderMap) -> Response {
    let Some(asset) = hither_web_assets::find(path) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let reply = asset.reply(text(ACCEPT_ENCODING), text(IF_NONE_MATCH));
    let mut response = match reply.known {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => reply.body.into_response(),
    };
    for (name, value) in reply.headers() {
        let (name, value) = (
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
        response.headers_mut().insert(name, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_this_machine_by_address_or_by_a_name_of_the_network() {
        for here in [
            "192.168.1.2:47448",
            "127.0.0.1",
            "[::1]:80",
            "[fe80::1%25eth0]:1",
            "desk:47448",
            "desk.local:47448",
            "localhost",
        ] {
            assert!(is_here(here), "{here}");
        }
        for away in [
            "evil.example:47448",
            "192.168.1.2.evil.example",
            "desk.local.evil.example:1",
        ] {
            assert!(!is_here(away), "{away}");
        }
    }
}
