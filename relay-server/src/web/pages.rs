//! The page's files, and what goes with every answer.

use super::Served;
use super::client::Client;
use crate::config::{Role, WebConfig};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hither_web_assets::{Asset, find};
use serde::Serialize;
use std::time::Duration;

/// The page that opens links to shares.
const LINK: &str = "index.html";
/// The page that is a device of its user.
const DEVICE: &str = "device.html";
/// The page of visitors.
const VISIT: &str = "visit.html";
/// Files of the page for other places: an owner's own daemon serves them.
const ELSEWHERE: [&str; 2] = ["lan.html", "dashboard.html"];
/// Names of headers that the library has no names for.
const PERMISSIONS: HeaderName = HeaderName::from_static("permissions-policy");
const OPENER: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const RESOURCE: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
/// Half a year, seconds: as long a browser that was here once asks for TLS at this host.
const HSTS: HeaderValue = HeaderValue::from_static("max-age=15552000");
/// Everything that the page does not need.
const PERMISSIONS_OFF: HeaderValue = HeaderValue::from_static(
    "accelerometer=(), autoplay=(self), camera=(), display-capture=(), geolocation=(), gyroscope=(), \
     magnetometer=(), microphone=(), midi=(), payment=(), usb=()",
);
/// The same for pages in which a person scans a code, takes a picture, records, or says where it is.
const PERMISSIONS_GIVE: HeaderValue = HeaderValue::from_static(
    "accelerometer=(), autoplay=(self), camera=(self), display-capture=(), geolocation=(self), gyroscope=(), \
     magnetometer=(), microphone=(self), midi=(), payment=(), usb=()",
);

/// Headers that go with every page.
pub(super) struct Headers {
    policy: HeaderValue,
    /// TLS with browsers is spoken here.
    tls: bool,
}

impl Headers {
    pub(super) fn of(config: &WebConfig) -> Self {
        // Not every browser takes 'self' for WebSockets too.
        let sockets = config
            .url
            .as_ref()
            .map(|url| format!(" wss://{}", url.authority()))
            .unwrap_or_default();
        let policy = format!(
            "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob: data:; \
             media-src 'self' blob:; connect-src 'self'{sockets}; worker-src 'self'; manifest-src 'self'; \
             font-src 'self'; frame-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
             require-trusted-types-for 'script'"
        );
        Self {
            // An authority has no characters that a header could not have.
            policy: HeaderValue::try_from(policy)
                .unwrap_or(HeaderValue::from_static("default-src 'none'")),
            tls: !config.plain,
        }
    }

    fn put(&self, into: &mut HeaderMap) {
        into.insert(header::CONTENT_SECURITY_POLICY, self.policy.clone());
        into.insert(
            header::REFERRER_POLICY,
            HeaderValue::from_static("no-referrer"),
        );
        into.insert(OPENER, HeaderValue::from_static("same-origin"));
        into.insert(RESOURCE, HeaderValue::from_static("same-origin"));
        into.insert(PERMISSIONS, PERMISSIONS_OFF);
        if self.tls {
            into.insert(header::STRICT_TRANSPORT_SECURITY, HSTS);
        }
        no_sniff(into);
    }
}

/// A browser takes the type for what it says.
pub(super) fn no_sniff(into: &mut HeaderMap) {
    into.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
}

/// A file of the page, by its path. What follows a `#` never comes here, so that this says nothing
/// about any share, and changes nothing.
pub(super) async fn page(
    State(served): State<Served>,
    method: Method,
    uri: Uri,
    asked: HeaderMap,
) -> Response {
    if method != Method::GET && method != Method::HEAD {
        return not_allowed(State(served)).await;
    }
    let path = place(uri.path());
    match find(path).filter(|asset| !ELSEWHERE.contains(&asset.path)) {
        Some(asset) => file(&served.headers, asset, &asked),
        None => message(
            &served.headers,
            StatusCode::NOT_FOUND,
            "There is nothing here.",
        ),
    }
}

/// The file that is at a path.
fn place(path: &str) -> &str {
    match path {
        "/l" | "/l/" => LINK,
        // A build may have the page of links alone.
        "/" | "/p" | "/p/" if find(DEVICE).is_none() => LINK,
        "/" | "/p" | "/p/" => DEVICE,
        "/i" | "/i/" | "/a" | "/a/" => VISIT,
        path => path.strip_prefix('/').unwrap_or_default(),
    }
}

fn file(headers: &Headers, asset: &'static Asset, asked: &HeaderMap) -> Response {
    let text = |name| asked.get(name).and_then(|value| value.to_str().ok());
    let accepted = text(header::ACCEPT_ENCODING);
    let reply = asset.reply(accepted, text(header::IF_NONE_MATCH));
    let mut response = match reply.known {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => Body::from(Bytes::from_static(reply.body)).into_response(),
    };
    let into = response.headers_mut();
    headers.put(into);
    if [DEVICE, VISIT].contains(&asset.path) {
        into.insert(PERMISSIONS, PERMISSIONS_GIVE);
    }
    for (name, value) in reply.headers() {
        into.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    response
}

/// A small page with one sentence.
fn message(headers: &Headers, status: StatusCode, sentence: &str) -> Response {
    let text = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Hither</title><p>{sentence}</html>\n"
    );
    let mut response = (status, text).into_response();
    let into = response.headers_mut();
    headers.put(into);
    into.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    into.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The answer to a method that a path does not have.
pub(super) async fn not_allowed(State(served): State<Served>) -> Response {
    let status = StatusCode::METHOD_NOT_ALLOWED;
    let mut response = message(&served.headers, status, "That cannot be done here.");
    response
        .headers_mut()
        .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

/// The answer to one request too many.
pub(super) fn too_many(wait: Duration) -> Response {
    later(StatusCode::TOO_MANY_REQUESTS, wait)
}

/// Comes again after a while, in whole seconds.
pub(super) fn later(status: StatusCode, wait: Duration) -> Response {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let retry = [(header::RETRY_AFTER, seconds.max(1).to_string())];
    (status, retry, "later\n").into_response()
}

/// Body of `/.well-known/hither`.
#[derive(Serialize)]
struct Facts {
    v: u32,
    relay: String,
    version: &'static str,
    roles: Vec<&'static str>,
}

/// Tells a page that is about to open a pipe who is here.
pub(super) async fn facts(
    State(served): State<Served>,
    _: axum::Extension<Client>,
) -> impl IntoResponse {
    let node = &served.node;
    let roles = node.config.roles.iter().map(|role| match role {
        Role::Assign => "assign",
        Role::Front => "front",
        Role::Control => "control",
        Role::Store => "store",
        Role::Index => "index",
    });
    let facts = Facts {
        v: 1,
        relay: node.id().to_string(),
        version: env!("CARGO_PKG_VERSION"),
        roles: roles.collect(),
    };
    let headers = [
        (header::CACHE_CONTROL, "no-store"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, axum::Json(facts))
}
