//! The Hither daemon. `hither` starts it when it is not running.

fn main() -> std::process::ExitCode {
    hither_daemon::run()
}
