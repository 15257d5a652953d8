//! The calls of the page.

use super::{Page, PageService, archive, download, shares, upload};
use crate::api::Failure;
use crate::browser;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::stream;
use hither_api::{ApiError, ErrorCode};
use serde::{Deserialize, Serialize};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc;

type Ctx = State<Arc<PageService>>;

/// Everything that browsers on the network may call.
pub(super) fn router(service: Arc<PageService>) -> Router {
    Router::new()
        .route("/", get(nothing))
        .route("/p/{token}", get(whole_path))
        .route("/p/{token}/", get(html))
        .route("/p/{token}/api/page", get(page))
        .route("/p/{token}/api/shares/{share}", get(share))
        .route("/p/{token}/files/{share}/{entry}", get(file))
        .route("/p/{token}/zip/{share}", get(zip))
        .route(
            "/p/{token}/api/upload",
            post(take_file).layer(DefaultBodyLimit::disable()),
        )
        .route("/p/{token}/api/text", post(take_text))
        .fallback(get(browser::asset))
        .layer(axum::middleware::from_fn(browser::guard))
        .with_state(service)
}

/// The path of a page that was typed without its last stroke.
async fn whole_path(Path(token): Path<String>) -> Response {
    // Percent signs and the like are no part of a token.
    match token.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        true => Redirect::permanent(&format!("/p/{token}/")).into_response(),
        false => StatusCode::NOT_FOUND.into_response(),
    }
}

/// The page itself, which asks for what it shows; the same for every word.
async fn html(headers: HeaderMap) -> Response {
    browser::file("lan.html", &headers)
}

/// The answer to whoever knows of no page.
async fn nothing() -> Response {
    (StatusCode::NOT_FOUND, "There is no page here.\n").into_response()
}

fn open(service: &PageService, token: &str) -> Result<Arc<Page>, Failure> {
    service.find(token).ok_or_else(|| {
        ApiError::new(ErrorCode::NotFound, "This page has ended.")
            .with_hint("Whoever opened it can open another: hither page")
            .into()
    })
}

/// The answer where all places are taken.
fn busy() -> Failure {
    ApiError::new(
        ErrorCode::OverQuota,
        "Others are being served; there is no place free.",
    )
    .with_hint("Try again in a moment.")
    .into()
}

fn missing(what: &str) -> Failure {
    ApiError::new(
        ErrorCode::NotFound,
        format!("{what} is not here (any more)."),
    )
    .with_hint("Look at this page anew.")
    .into()
}

/// The page as its browser is told of it.
#[derive(Debug, Serialize)]
struct PageView {
    device: String,
    expires_s: u64,
    may_upload: bool,
    shares: Vec<shares::Listed>,
}

async fn page(State(service): Ctx, Path(token): Path<String>) -> Result<Json<PageView>, Failure> {
    let page = open(&service, &token)?;
    let of = Arc::clone(&service);
    let one = Arc::clone(&page);
    let listed = tokio::task::spawn_blocking(move || shares::list(&of.library, &one));
    Ok(Json(PageView {
        device: service.name.as_str().to_owned(),
        expires_s: page.left().as_secs(),
        may_upload: page.upload,
        shares: listed.await.map_err(crate::failure::internal)?,
    }))
}

async fn share(
    State(service): Ctx,
    Path((token, share)): Path<(String, String)>,
) -> Result<Response, Failure> {
    let page = open(&service, &token)?;
    let (record, version) =
        shares::find(&service.library, &page, &share).ok_or_else(|| missing("That share"))?;
    let listing = service.listing.of(&share, &record, &version).await?;
    Ok(([(CONTENT_TYPE, "application/json")], listing).into_response())
}

#[derive(Debug, Deserialize)]
struct Shown {
    /// The browser shows it instead of keeping it.
    inline: Option<String>,
}

async fn file(
    State(service): Ctx,
    Path((token, share, entry)): Path<(String, String, u32)>,
    Query(shown): Query<Shown>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let page = open(&service, &token)?;
    let (_, version) =
        shares::find(&service.library, &page, &share).ok_or_else(|| missing("That share"))?;
    let file = shares::ShownFile::find(version.holding(), entry);
    let file = file.ok_or_else(|| missing("That file"))?;
    let (inline, ended) = (shown.inline.is_some(), page.ended.clone());
    Ok(download::answer(file, &version.head, &headers, inline, ended).await?)
}

#[derive(Debug, Deserialize)]
struct Part {
    /// The folder that is wanted; absent: everything.
    entry: Option<u32>,
}

async fn zip(
    State(service): Ctx,
    Path((token, share)): Path<(String, String)>,
    Query(part): Query<Part>,
) -> Result<Response, Failure> {
    let page = open(&service, &token)?;
    let (_, version) =
        shares::find(&service.library, &page, &share).ok_or_else(|| missing("That share"))?;
    let (manifest, top) = (version.manifest(), part.entry.unwrap_or(0));
    let entry = manifest.entries().get(top as usize);
    let name = entry.ok_or_else(|| missing("That folder"))?.name.as_str();
    let name = format!("{name}.zip");
    let places = Arc::clone(&service.archives);
    let place = places.try_acquire_owned().map_err(|_| busy())?;
    let (to, from) = mpsc::channel(archive::WAITING);
    let (ended, whole) = (page.ended.clone(), Arc::new(AtomicBool::new(false)));
    let sent = archive::Sent {
        pieces: to,
        whole: Arc::clone(&whole),
    };
    tokio::task::spawn_blocking(move || {
        archive::write(&version.holding(), top, sent, &ended);
        drop(place);
    });
    // An archive that broke off must not end as one that is whole.
    let pieces = stream::unfold(Some((from, whole)), |state| async move {
        let (mut from, whole) = state?;
        match from.recv().await {
            Some(piece) => Some((Ok(piece), Some((from, whole)))),
            None if whole.load(Ordering::Acquire) => None,
            None => Some((Err(io::Error::other("the archive broke off")), None)),
        }
    });
    let headers = [
        (CONTENT_TYPE, "application/zip".to_owned()),
        (CONTENT_DISPOSITION, download::disposition(false, &name)),
    ];
    Ok((headers, Body::from_stream(pieces)).into_response())
}

#[derive(Debug, Deserialize)]
struct Called {
    name: String,
}

/// Returns whether something may be sent by this page.
fn takes(page: &Page) -> Result<(), Failure> {
    match page.upload {
        true => Ok(()),
        false => Err(ApiError::new(ErrorCode::Refused, "Nothing can be sent by this page.").into()),
    }
}

async fn take_file(
    State(service): Ctx,
    Path(token): Path<String>,
    Query(called): Query<Called>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Failure> {
    let page = open(&service, &token)?;
    takes(&page)?;
    let length = headers
        .get(CONTENT_LENGTH)
        .and_then(|it| it.to_str().ok()?.parse().ok());
    let body = request.into_body().into_data_stream();
    let taken = upload::file(&service, &page, &called.name, length, body).await?;
    Ok((StatusCode::CREATED, Json(taken)).into_response())
}

async fn take_text(
    State(service): Ctx,
    Path(token): Path<String>,
    request: Request,
) -> Result<StatusCode, Failure> {
    // Before anything of it is read.
    let page = open(&service, &token)?;
    takes(&page)?;
    let body = upload::read(request.into_body(), upload::MAX_TEXT).await?;
    let text = String::from_utf8(body.to_vec())
        .map_err(|_| ApiError::new(ErrorCode::BadRequest, "That is no text in UTF-8."))?;
    upload::text(&service, &page, text).await?;
    Ok(StatusCode::CREATED)
}
