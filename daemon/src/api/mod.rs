//! The local API: HTTP/JSON and server-sent events on a Unix socket, for the same user only.
//!
//! Each file has the calls about one service, and its handlers get the handle of that service as
//! their state; `work.rs` has the long calls, which answer with events; `door.rs` is the socket.
//! Invariant: a connection from another user id is closed before a byte is read.

mod asks;
mod catalogue;
mod codes;
mod config;
mod door;
mod drive;
mod events;
mod giving;
mod groups;
mod mail;
mod nearby;
mod pages;
mod paths;
mod problem;
mod receive;
mod relays;
mod shares;
mod status;
mod transfers;
mod visitors;
mod work;

use crate::app::App;
use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
pub(crate) use door::Door;
pub(crate) use events::EventSources;
use hither_api::{ApiError, ErrorCode};
use std::io;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi;

/// The description that `GET /v1/openapi.json` gives, made from the code.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Hither local API",
        description = "What the hither command line speaks to hitherd over its Unix socket."
    ),
    paths(
        status::status,
        status::shutdown,
        status::doctor,
        status::log,
        status::acknowledge,
        shares::shares,
        shares::unshare,
        shares::ticket,
        transfers::transfers,
        transfers::transfer,
        transfers::accept,
        transfers::content,
        transfers::pause,
        transfers::resume,
        transfers::cancel,
        transfers::why,
        transfers::clear,
        giving::giving,
        giving::events,
        giving::clear,
        work::share,
        work::upload,
        work::fetch,
        work::listing,
        work::events,
        work::view,
        relays::relays,
        relays::join,
        relays::leave,
        relays::invite,
        relays::wake,
        relays::set_wake,
        nearby::devices,
        nearby::forget,
        nearby::remove,
        nearby::rename,
        nearby::show,
        nearby::set_visible,
        nearby::answer,
        nearby::events,
        mail::send,
        mail::sent,
        mail::outbox,
        mail::take_back,
        mail::inbox,
        mail::message,
        mail::mark_read,
        mail::save,
        mail::delete,
        mail::events,
        visitors::list,
        visitors::create,
        visitors::end,
        receive::info,
        receive::set,
        receive::decide,
        asks::list,
        asks::ask,
        asks::show,
        asks::cancel,
        asks::events,
        asks::all_events,
        asks::answer,
        asks::candidates,
        asks::refuse,
        asks::grants,
        asks::allow,
        asks::revoke,
        events::events,
        drive::exposures,
        drive::expose,
        drive::end,
        drive::list,
        drive::uploads,
        drive::upload,
        drive::show,
        drive::cancel,
        drive::events,
        catalogue::list,
        catalogue::find,
        config::list,
        config::set,
        config::unset,
        config::reload,
        codes::show,
        codes::enter,
        codes::answer,
        groups::list,
        groups::create,
        groups::search,
        groups::join,
        groups::leave,
        groups::members,
        groups::decide,
        groups::policy,
        pages::list,
        pages::open,
        pages::end,
        pages::dashboard,
        paths::complete,
    ),
    components(schemas(hither_api::Event, hither_api::Problem))
)]
struct Description;

/// A failed call.
pub(crate) struct Failure(ApiError);

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        problem::answer(self.0)
    }
}

/// The answer of a call.
type Answer<T> = Result<axum::Json<T>, Failure>;

/// Serves the API until `stop`; answers that were begun by then are finished.
pub(crate) async fn serve(app: App, listener: Door, stop: CancellationToken) -> io::Result<()> {
    let dashboard = Arc::clone(&app.dashboard);
    let calls = router(app);
    dashboard.serve(calls.clone());
    let calls = calls
        .fallback(async || Failure(ApiError::new(ErrorCode::NotFound, "There is no such call.")));
    axum::serve(listener, calls)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
}

fn router(app: App) -> Router {
    Router::new()
        .route("/v1/status", get(status::status))
        .route("/v1/shutdown", post(status::shutdown))
        .route("/v1/doctor", get(status::doctor))
        .route("/v1/log", get(status::log))
        .route("/v1/losses/acknowledge", post(status::acknowledge))
        .route("/v1/shares", get(shares::shares).post(work::share))
        .route("/v1/shares/{share}", delete(shares::unshare))
        .route("/v1/shares/{share}/ticket", get(shares::ticket))
        .route("/v1/shares/{share}/upload", get(work::upload))
        .route("/v1/events", get(events::events))
        .route("/v1/config", get(config::list).post(config::set))
        .route("/v1/config/reload", post(config::reload))
        .route("/v1/config/{key}", delete(config::unset))
        .route("/v1/paths", get(paths::complete))
        .route("/v1/fetches", post(work::fetch))
        .route("/v1/listings", post(work::listing))
        .route(
            "/v1/transfers",
            get(transfers::transfers).delete(transfers::clear),
        )
        .route(
            "/v1/transfers/{transfer}",
            get(transfers::transfer).delete(transfers::cancel),
        )
        .route("/v1/transfers/{transfer}/accept", post(transfers::accept))
        .route("/v1/transfers/{transfer}/content", get(transfers::content))
        .route("/v1/transfers/{transfer}/pause", post(transfers::pause))
        .route("/v1/transfers/{transfer}/resume", post(transfers::resume))
        .route("/v1/transfers/{transfer}/why", get(transfers::why))
        .route("/v1/transfers/{transfer}/events", get(work::events))
        .route("/v1/transfers/{transfer}/view", get(work::view))
        .route("/v1/giving", get(giving::giving).delete(giving::clear))
        .route("/v1/giving/events", get(giving::events))
        .route("/v1/relays", get(relays::relays).post(relays::join))
        .route("/v1/relays/invite", post(relays::invite))
        .route("/v1/relays/wake", get(relays::wake).post(relays::set_wake))
        .route("/v1/relays/{relay}", delete(relays::leave))
        .route("/v1/devices", get(nearby::devices))
        .route("/v1/devices/forget", post(nearby::forget))
        .route("/v1/devices/remove", post(nearby::remove))
        .route("/v1/devices/rename", post(nearby::rename))
        .route("/v1/nearby", get(nearby::show).post(nearby::set_visible))
        .route("/v1/nearby/answer", post(nearby::answer))
        .route("/v1/nearby/events", get(nearby::events))
        .route("/v1/messages", post(mail::send))
        .route("/v1/messages/{message}", get(mail::sent))
        .route("/v1/outbox", get(mail::outbox))
        .route("/v1/outbox/{id}", delete(mail::take_back))
        .route("/v1/inbox", get(mail::inbox))
        .route("/v1/inbox/events", get(mail::events))
        .route(
            "/v1/inbox/links",
            get(visitors::list).post(visitors::create),
        )
        .route("/v1/inbox/links/{link}", delete(visitors::end))
        .route("/v1/inbox/{id}", get(mail::message).delete(mail::delete))
        .route("/v1/inbox/{id}/read", post(mail::mark_read))
        .route("/v1/inbox/{id}/save", post(mail::save))
        .route("/v1/inbox/{id}/decide", post(receive::decide))
        .route("/v1/receive", get(receive::info).post(receive::set))
        .route("/v1/asks", get(asks::list).post(asks::ask))
        .route("/v1/asks/events", get(asks::all_events))
        .route("/v1/asks/grants", get(asks::grants).post(asks::allow))
        .route("/v1/asks/grants/{grant}", delete(asks::revoke))
        .route("/v1/asks/{ask}", get(asks::show).delete(asks::cancel))
        .route("/v1/asks/{ask}/events", get(asks::events))
        .route("/v1/asks/{ask}/answer", post(asks::answer))
        .route("/v1/asks/{ask}/candidates", get(asks::candidates))
        .route("/v1/asks/{ask}/refuse", post(asks::refuse))
        .route("/v1/exposures", get(drive::exposures).post(drive::expose))
        .route("/v1/exposures/end", post(drive::end))
        .route("/v1/drive/list", post(drive::list))
        .route("/v1/drive/uploads", get(drive::uploads).post(drive::upload))
        .route(
            "/v1/drive/uploads/{upload}",
            get(drive::show).delete(drive::cancel),
        )
        .route("/v1/drive/uploads/{upload}/events", get(drive::events))
        .route("/v1/catalogue", get(catalogue::list))
        .route("/v1/catalogue/find", post(catalogue::find))
        .route("/v1/codes", post(codes::show))
        .route("/v1/codes/enter", post(codes::enter))
        .route("/v1/codes/{id}/answer", post(codes::answer))
        .route("/v1/groups", get(groups::list).post(groups::create))
        .route("/v1/groups/search", post(groups::search))
        .route("/v1/groups/join", post(groups::join))
        .route("/v1/groups/{group}", delete(groups::leave))
        .route("/v1/groups/{group}/members", get(groups::members))
        .route("/v1/groups/{group}/devices", post(groups::decide))
        .route("/v1/groups/{group}/policy", post(groups::policy))
        .route("/v1/pages", get(pages::list).post(pages::open))
        .route("/v1/pages/{page}", delete(pages::end))
        .route("/v1/dashboard", post(pages::dashboard))
        .route("/v1/openapi.json", get(|| async { axum::Json(document()) }))
        .layer(axum::middleware::map_response(problem::describe))
        .with_state(app)
}

/// The whole description.
fn document() -> serde_json::Value {
    problem::complete(serde_json::json!(Description::openapi()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_is_described() {
        let description = document();
        let calls: usize = description["paths"]
            .as_object()
            .unwrap()
            .values()
            .map(|p| p.as_object().unwrap().len())
            .sum();
        assert_eq!(calls, 100);
        assert!(description["components"]["schemas"]["Event"].is_object());
    }

    #[test]
    fn every_answer_has_words_every_call_its_errors_and_no_request_takes_unknown_fields() {
        let description = document();
        let mut names = std::collections::HashSet::new();
        let resolve = |schema: &serde_json::Value| {
            let name = schema["$ref"].as_str().unwrap().rsplit('/').next().unwrap();
            description["components"]["schemas"][name].clone()
        };
        for (path, calls) in description["paths"].as_object().unwrap() {
            for (method, call) in calls.as_object().unwrap() {
                let responses = call["responses"].as_object().unwrap();
                assert!(responses.contains_key("default"), "{method} {path}");
                let name = call["operationId"].as_str().unwrap();
                assert!(names.insert(name), "{name} is the name of two calls");
                for response in responses.values() {
                    let said = response["description"].as_str().unwrap();
                    assert!(!said.is_empty(), "{method} {path}");
                }
                let content = &call["requestBody"]["content"]["application/json"];
                if content.is_object() {
                    let closed = resolve(&content["schema"])["additionalProperties"] == false;
                    assert!(closed, "{method} {path} takes fields that it does not know");
                }
            }
        }
    }
}
