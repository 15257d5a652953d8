//! Errors as answers: every one is problem details in JSON (RFC 9457), whoever made it.
//!
//! Handlers fail with an [`ApiError`]; what the router refuses by itself (a body that is no JSON, a
//! field that does not exist, a method that a path does not have) is put into the same form here, in
//! one place.

use axum::body::to_bytes;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use hither_api::{ApiError, ErrorCode, Problem};

/// Longest text of a refusal, bytes.
const MAX_TEXT: usize = 64 << 10;
/// The type of problem details (RFC 9457, 6.1).
const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");

/// The answer for an error.
pub(super) fn answer(error: ApiError) -> Response {
    let status =
        StatusCode::from_u16(error.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    of(status, error)
}

fn of(status: StatusCode, error: ApiError) -> Response {
    let problem = Problem::new(
        status.as_u16(),
        status.canonical_reason().unwrap_or("Error"),
        error,
    );
    let mut response = (status, axum::Json(problem)).into_response();
    response.headers_mut().insert(CONTENT_TYPE, MEDIA_TYPE);
    response
}

/// Puts an answer that is an error of the router's into the form of all.
pub(super) async fn describe(response: Response) -> Response {
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    if !is_error || response.headers().get(CONTENT_TYPE) == Some(&MEDIA_TYPE) {
        return response;
    }
    let (parts, body) = response.into_parts();
    let text = to_bytes(body, MAX_TEXT).await.unwrap_or_default();
    let code = match status {
        StatusCode::NOT_FOUND => ErrorCode::NotFound,
        _ if status.is_client_error() => ErrorCode::BadRequest,
        _ => ErrorCode::Internal,
    };
    let mut described = of(status, ApiError::new(code, sentence(status, &text)));
    // Other headers of the router stay, as which methods there are.
    for (name, value) in &parts.headers {
        if !described.headers().contains_key(name) {
            described.headers_mut().insert(name, value.clone());
        }
    }
    described
}

fn sentence(status: StatusCode, text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    match text.trim().trim_end_matches('.') {
        "" if status == StatusCode::METHOD_NOT_ALLOWED => {
            "There is such a call, with another method.".into()
        }
        "" => format!("{}.", status.canonical_reason().unwrap_or("It failed")),
        text => format!("{text}."),
    }
}

/// The name of a call, which no other one has: `post_shares`, `get_shares_share_ticket`.
fn name(method: &str, path: &str) -> String {
    let parts = path.split('/').skip(2); // Each begins with "/v1".
    let words = parts.map(|part| part.trim_matches(['{', '}']).replace('.', "_"));
    std::iter::once(method.to_owned())
        .chain(words)
        .collect::<Vec<_>>()
        .join("_")
}

/// The document of the API with what is true of every call: its errors, and words for every answer.
pub(super) fn complete(mut document: serde_json::Value) -> serde_json::Value {
    let problem = serde_json::json!({
        "description": "What went wrong: `code` is stable, `message` and `hint` are for people.",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    });
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    let operations = paths.flat_map(|(path, calls)| {
        let calls = calls.as_object_mut().into_iter().flatten();
        calls.map(move |(method, operation)| (name(method, path), operation))
    });
    for (name, operation) in operations {
        operation["operationId"] = name.into();
        let said = operation["summary"].as_str().map(str::to_owned);
        let Some(responses) = operation["responses"].as_object_mut() else {
            continue;
        };
        for (_, response) in responses.iter_mut() {
            let empty = response["description"].as_str().is_none_or(str::is_empty);
            if let (true, Some(said)) = (empty, &said) {
                response["description"] = said.as_str().into();
            }
        }
        for (_, response) in responses.iter_mut() {
            if let Some(stream) = response.pointer_mut(EVENT_STREAM) {
                let event = stream.take();
                *stream = serde_json::json!({
                    "type": "object",
                    "description": "Each event of the stream; its data are JSON.",
                    "required": ["data"],
                    "properties": {
                        "data": {
                            "type": "string", "contentMediaType": "application/json", "contentSchema": event,
                        },
                    },
                });
            }
        }
        responses.insert("default".into(), problem.clone());
    }
    unsigned(&mut document);
    document
}

/// The place of a stream's schema in an answer (RFC 6901).
const EVENT_STREAM: &str = "/content/text~1event-stream/schema";

/// Says of numbers that are never negative that they are unsigned: the formats `int32` and `int64`
/// end at half of what is taken and told.
fn unsigned(schema: &mut serde_json::Value) {
    match schema {
        serde_json::Value::Object(fields) => {
            let is_unsigned = fields.get("minimum").is_some_and(|least| *least == 0);
            let format = fields.get("format").and_then(|format| format.as_str());
            let greatest = match format.filter(|_| is_unsigned) {
                Some("int32") => Some(("uint32", u64::from(u32::MAX))),
                Some("int64") => Some(("uint64", u64::MAX)),
                _ => None,
            };
            if let Some((format, most)) = greatest {
                fields.insert("format".into(), format.into());
                fields.insert("maximum".into(), most.into());
            }
            fields.values_mut().for_each(unsigned);
        }
        serde_json::Value::Array(all) => all.iter_mut().for_each(unsigned),
        _ => {}
    }
}
