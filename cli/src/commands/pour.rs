//! A file on its way to standard output, in order, while it is fetched.

use crate::failure;
use hither_api::{ApiError, Client, ClientError, ErrorCode};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::task::JoinHandle;

/// How writing ended.
#[derive(Debug)]
pub enum Poured {
    /// Everything was written.
    Whole,
    /// The reader had seen enough.
    Unread,
    /// The daemon broke off; it says why elsewhere, or has ended.
    BrokenOff,
    /// Standard output, or the daemon, failed.
    Failed(ApiError),
}

/// Bytes that were written so far, of all attempts.
pub type Written = Arc<AtomicU64>;

/// Begins to write what a transfer gives.
pub fn begin(client: &Client, transfer: &str, written: Written) -> JoinHandle<Poured> {
    let (client, path) = (client.clone(), format!("/v1/transfers/{transfer}/content"));
    tokio::spawn(async move { pour(&client, &path, &written).await })
}

async fn pour(client: &Client, path: &str, written: &AtomicU64) -> Poured {
    let mut content = match client.content(path).await {
        Ok(content) => content,
        Err(ClientError::Api(error)) => return Poured::Failed(error),
        Err(_) => return Poured::BrokenOff,
    };
    loop {
        let bytes = match content.next().await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Poured::Whole,
            Err(_) => return Poured::BrokenOff,
        };
        let length = bytes.len() as u64;
        // The reader of standard output may take any time.
        let wrote = tokio::task::spawn_blocking(move || {
            let mut stdout = io::stdout().lock();
            stdout.write_all(&bytes)?;
            stdout.flush()
        });
        match wrote.await.map_err(io::Error::other).flatten() {
            Ok(()) => {
                written.fetch_add(length, Ordering::Relaxed);
            }
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Poured::Unread,
            Err(error) => {
                return Poured::Failed(
                    failure::io(ErrorCode::NotWritable, "Standard output", &error)
                        .with_hint("Run the same command again."),
                );
            }
        }
    }
}
