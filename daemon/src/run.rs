//! The daemon's life from first to last line.

use crate::api::Door;
use crate::app::App;
use crate::{api, instance};
use hither_api::{Config, Paths};
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};

/// Threads for work that blocks: uploads being read (the engine's slots), imports, checkpoints.
const BLOCKING_THREADS: usize = 64;

/// How long answers of the local API may take once the daemon stops.
const LAST_ANSWERS: std::time::Duration = std::time::Duration::from_secs(2);

const USAGE: &str = "\
hitherd, the Hither daemon. `hither up` starts it in the background.

Usage: hitherd [--foreground]

  --foreground  log to standard error instead of the log file
  --version     print the version
  --help        print this

Its files are in $HITHER_HOME, or in the XDG folders. See also: hither config
";

/// Runs the daemon until it is told to stop. The status is 0 when it stopped in order,
/// [`hither_api::ALREADY_RUNNING`] when another one runs with the same data.
pub fn run() -> ExitCode {
    let mut foreground = false;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--foreground" => foreground = true,
            "--version" => return say(&format!("hitherd {}", env!("CARGO_PKG_VERSION")), 0),
            "--help" | "-h" => return say(USAGE.trim_end(), 0),
            other => {
                complain(&format!(
                    "hitherd: there is no option {other:?}. Try --help."
                ));
                return ExitCode::from(2);
            }
        }
    }
    match try_run(foreground) {
        Ok(Ended::InOrder) => ExitCode::SUCCESS,
        Ok(Ended::OtherRuns) => {
            complain("hitherd: another daemon is running with the same data");
            ExitCode::from(hither_api::ALREADY_RUNNING)
        }
        Err(error) => {
            complain(&format!("hitherd: {error}"));
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stdout, reason = "the daemon's own --help and --version")]
fn say(text: &str, status: u8) -> ExitCode {
    println!("{text}");
    ExitCode::from(status)
}

/// Prints why the daemon ended, for the user who started it; nobody may be listening any more.
fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// How the daemon ended, when nothing failed.
enum Ended {
    InOrder,
    /// It was not needed: another one has the lock.
    OtherRuns,
}

fn try_run(foreground: bool) -> Result<Ended, String> {
    let paths = Paths::from_env().map_err(|e| e.to_string())?;
    let config = Config::load(&paths.config).map_err(|e| e.to_string())?;
    let at = |path: &std::path::Path| {
        let path = path.display().to_string();
        move |e: std::io::Error| format!("{path}: {e}")
    };
    hither_content::raise_open_files();
    let warnings = crate::ownership::examine(&paths)?;
    hither_util::private_fs::create_folder(&paths.data).map_err(at(&paths.data))?;
    let Some(_lock) = instance::lock(&paths.lock()).map_err(at(&paths.lock()))? else {
        return Ok(Ended::OtherRuns);
    };
    instance::start_log(&paths.log(), &config.log, foreground).map_err(at(&paths.log()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .map_err(|e| format!("the runtime does not start: {e}"))?;
    let result = runtime.block_on(serve(paths, config, warnings));
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    result.map(|()| Ended::InOrder)
}

async fn serve(paths: Paths, config: Config, warnings: Vec<String>) -> Result<(), String> {
    let (app, inputs) = {
        let paths = paths.clone();
        // Opening the store and checking the shares' files blocks; the sockets need the runtime:
        // both are here.
        tokio::task::spawn_blocking(move || App::start(paths, config))
            .await
            .map_err(|e| e.to_string())?
            .map_err(|e| e.message)?
    };
    let diagnostics = Arc::clone(&app.diagnostics);
    let unknown = diagnostics.config.unknown.clone();
    warnings
        .into_iter()
        .chain(unknown)
        .for_each(|warning| diagnostics.warnings.add(warning));
    let listener =
        Door::open(&paths).map_err(|e| format!("the socket for commands cannot be made: {e}"))?;
    let discovery = app.run(inputs);
    tracing::info!(device = %diagnostics.device, port = app.swarm.endpoint().port(), "the daemon runs");
    let mut terminate = signal(SignalKind::terminate()).map_err(|e| e.to_string())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| e.to_string())?;
    let stop = diagnostics.tasks.token.clone();
    let mut serving = std::pin::pin!(api::serve(app.clone(), listener, stop.clone()));
    // A word to stop also ends the serving: either may be seen first, and what has ended is not
    // waited for again.
    let served = tokio::select! {
        result = &mut serving => {
            result.map_err(|e| format!("the local API ended: {e}"))?;
            true
        }
        _ = terminate.recv() => false,
        _ = interrupt.recv() => false,
        () = stop.cancelled() => false,
    };
    tracing::info!("the daemon stops");
    let stopping = async {
        if let Some(discovery) = discovery {
            discovery.shutdown().await;
        }
        app.stop().await;
    };
    // Answers that are on their way, the ends of transfers among them, still go out.
    let answering = async { served || tokio::time::timeout(LAST_ANSWERS, serving).await.is_ok() };
    let ((), answered) = tokio::join!(stopping, answering);
    if !answered {
        tracing::info!("somebody was still listening to the local API");
    }
    if let Err(error) = Door::remove(&paths) {
        tracing::warn!(%error, "the socket stays behind");
    }
    Ok(())
}
