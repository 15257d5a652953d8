//! Calls about groups.

use super::Answer;
use crate::groups;
use crate::groups::GroupService;
use axum::Json;
use axum::extract::{Path, State};
use hither_api::{
    CreateGroup, DecideGroup, FoundGroup, GroupInfo, GroupMemberInfo, JoinGroup, SearchGroups,
    SetGroupPolicy,
};
use std::sync::Arc;

type Ctx = State<Arc<GroupService>>;

/// The groups of this device, and those that it requested to join.
#[utoipa::path(get, path = "/v1/groups", responses((status = 200, body = [GroupInfo])))]
pub(super) async fn list(State(service): Ctx) -> Json<Vec<GroupInfo>> {
    Json(groups::list(&service).await)
}

/// Makes a group.
#[utoipa::path(post, path = "/v1/groups", request_body = CreateGroup, responses((status = 200, body = GroupInfo)))]
pub(super) async fn create(
    State(service): Ctx,
    Json(request): Json<CreateGroup>,
) -> Answer<GroupInfo> {
    Ok(Json(groups::create(&service, &request).await?))
}

/// Groups that can be found by their names, at every relay.
#[utoipa::path(post, path = "/v1/groups/search", request_body = SearchGroups, responses((status = 200, body = [FoundGroup])))]
pub(super) async fn search(
    State(service): Ctx,
    Json(request): Json<SearchGroups>,
) -> Answer<Vec<FoundGroup>> {
    Ok(Json(groups::search(&service, &request.text).await?))
}

/// Asks to join a group; answers when it was let in, or after a few seconds.
#[utoipa::path(post, path = "/v1/groups/join", request_body = JoinGroup, responses((status = 200, body = GroupInfo)))]
pub(super) async fn join(State(service): Ctx, Json(request): Json<JoinGroup>) -> Answer<GroupInfo> {
    Ok(Json(groups::join(&service, &request).await?))
}

/// Leaves a group, or gives up asking.
#[utoipa::path(delete, path = "/v1/groups/{group}", params(("group" = String, Path)), responses((status = 200, body = GroupInfo)))]
pub(super) async fn leave(State(service): Ctx, Path(group): Path<String>) -> Answer<GroupInfo> {
    Ok(Json(groups::leave(&service, &group).await?))
}

/// The members of a group, and who asks to become one.
#[utoipa::path(get, path = "/v1/groups/{group}/members", params(("group" = String, Path)), responses((status = 200, body = [GroupMemberInfo])))]
pub(super) async fn members(
    State(service): Ctx,
    Path(group): Path<String>,
) -> Answer<Vec<GroupMemberInfo>> {
    Ok(Json(groups::members(&service, &group).await?))
}

/// Approves, refuses, removes or promotes a device.
#[utoipa::path(post, path = "/v1/groups/{group}/devices", request_body = DecideGroup, params(("group" = String, Path)), responses((status = 200, body = GroupInfo)))]
pub(super) async fn decide(
    State(service): Ctx,
    Path(group): Path<String>,
    Json(request): Json<DecideGroup>,
) -> Answer<GroupInfo> {
    Ok(Json(groups::decide(&service, &group, &request).await?))
}

/// Says who may join from now on.
#[utoipa::path(post, path = "/v1/groups/{group}/policy", request_body = SetGroupPolicy, params(("group" = String, Path)), responses((status = 200, body = GroupInfo)))]
pub(super) async fn policy(
    State(service): Ctx,
    Path(group): Path<String>,
    Json(request): Json<SetGroupPolicy>,
) -> Answer<GroupInfo> {
    Ok(Json(groups::set_policy(&service, &group, &request).await?))
}
