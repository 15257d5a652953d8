//! Calls about groups.

use super::Answer;
use crate::daemon::Daemon;
use crate::groups;
use axum::Json;
use axum::extract::{Path, State};
use hither_api::{
    CreateGroup, DecideGroup, FoundGroup, GroupInfo, GroupMemberInfo, JoinGroup, SearchGroups,
    SetGroupPolicy,
};
use std::sync::Arc;

type Ctx = State<Arc<Daemon>>;

/// The groups of this device, and those that it asked to join.
#[utoipa::path(get, path = "/v1/groups", responses((status = 200, body = [GroupInfo])))]
pub(super) async fn list(State(daemon): Ctx) -> Json<Vec<GroupInfo>> {
    Json(groups::list(&daemon).await)
}

/// Makes a group.
#[utoipa::path(post, path = "/v1/groups", request_body = CreateGroup, responses((status = 200, body = GroupInfo)))]
pub(super) async fn create(
    State(daemon): Ctx,
    Json(request): Json<CreateGroup>,
) -> Answer<GroupInfo> {
    Ok(Json(groups::create(&daemon, &request).await?))
}

/// Groups that can be found by their names, at every relay.
#[utoipa::path(post, path = "/v1/groups/search", request_body = SearchGroups, responses((status = 200, body = [FoundGroup])))]
pub(super) async fn search(
    State(daemon): Ctx,
    Json(request): Json<SearchGroups>,
) -> Answer<Vec<FoundGroup>> {
    Ok(Json(groups::search(&daemon, &request.text).await?))
}

/// Asks to join a group; answers when it was let in, or after a few seconds.
#[utoipa::path(post, path = "/v1/groups/join", request_body = JoinGroup, responses((status = 200, body = GroupInfo)))]
pub(super) async fn join(State(daemon): Ctx, Json(request): Json<JoinGroup>) -> Answer<GroupInfo> {
    Ok(Json(groups::join(&daemon, &request).await?))
}

/// Leaves a group, or gives up asking.
#[utoipa::path(delete, path = "/v1/groups/{group}", params(("group" = String, Path)), responses((status = 200, body = GroupInfo)))]
pub(super) async fn leave(State(daemon): Ctx, Path(group): Path<String>) -> Answer<GroupInfo> {
    Ok(Json(groups::leave(&daemon, &group).await?))
}

/// The members of a group, and who asks to become one.
#[utoipa::path(get, path = "/v1/groups/{group}/members", params(("group" = String, Path)), responses((status = 200, body = [GroupMemberInfo])))]
pub(super) async fn members(
    State(daemon): Ctx,
    Path(group): Path<String>,
) -> Answer<Vec<GroupMemberInfo>> {
    Ok(Json(groups::members(&daemon, &group).await?))
}

/// Approves, refuses, removes or promotes a device.
#[utoipa::path(post, path = "/v1/groups/{group}/devices", request_body = DecideGroup, params(("group" = String, Path)), responses((status = 200, body = GroupInfo)))]
pub(super) async fn decide(
    State(daemon): Ctx,
    Path(group): Path<String>,
    Json(request): Json<DecideGroup>,
) -> Answer<GroupInfo> {
    Ok(Json(groups::decide(&daemon, &group, &request).await?))
}

/// Says who may join from now on.
#[utoipa::path(post, path = "/v1/groups/{group}/policy", request_body = SetGroupPolicy, params(("group" = String, Path)), responses((status = 200, body = GroupInfo)))]
pub(super) async fn policy(
    State(daemon): Ctx,
    Path(group): Path<String>,
    Json(request): Json<SetGroupPolicy>,
) -> Answer<GroupInfo> {
    Ok(Json(groups::set_policy(&daemon, &group, &request).await?))
}
