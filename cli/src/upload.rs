//! Waiting for an upload.

use crate::session::Session;
use crate::show::{Progress, ProgressState};
use hither_api::{ApiError, Client, ClientError, Event, Phase, UploadInfo, UploadState};

/// Shows how the upload of a share goes on; returns how it stands when it is done.
///
/// Fails when nothing comes of it without somebody doing something: no relay, over quota, changed
/// files.
pub async fn wait(
    session: &Session<'_>,
    client: &Client,
    share: &str,
) -> Result<UploadInfo, ApiError> {
    let mut events = client.events(&format!("/v1/shares/{share}/upload")).await?;
    let mut progress = Progress::new(session.out);
    let mut told = String::new();
    while let Some(event) = events.next().await? {
        if !event.is_last() {
            session.out.json(&event);
        }
        match event {
            Event::Error(error) => return Err(error),
            Event::Upload(upload) if upload.state == UploadState::Uploaded => {
                drop(progress);
                if session.out.is_read_by_person() {
                    session
                        .out
                        .say("Uploaded: it can be fetched while this device is away.");
                }
                return Ok(upload);
            }
            Event::Upload(upload) => {
                progress.show(&standing(&upload));
                // Nobody sees a reason to wait in a bar that does not move.
                if upload.state == UploadState::Waiting
                    && upload.reason.is_some()
                    && upload.words != told
                {
                    progress.suspend(|| session.warn_people(&upload.words));
                    told = upload.words;
                }
            }
            _ => {}
        }
    }
    Err(ClientError::Broken("it stopped before the upload was complete".into()).into())
}

fn standing(upload: &UploadInfo) -> ProgressState {
    let UploadInfo { bytes, total, .. } = *upload;
    ProgressState {
        phase: Phase::Uploading,
        bytes,
        total,
        files: 0,
        rate: 0,
        remaining: None,
        devices: 0,
    }
}
