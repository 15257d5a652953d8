//! The sub-commands as they are written on the command line.

use super::client::Client;
use super::error::{AdminError, Code};
use super::show::Show;
use super::types::{
    Backup, Check, Checked, Collected, Devices, Invite, Invited, Revoke, Revoked, Saved, Stats,
    Users,
};
use super::work::blocking;
use super::{offline, work};
use crate::config::{Config, Folder};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// A sub-command.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Make an invitation for devices of one user
    Invite {
        /// How many devices may use it
        #[arg(long, value_name = "N", default_value_t = 10)]
        uses: u32,
        /// How long it is valid
        #[arg(long, value_name = "TIME", default_value = "24h", value_parser = humantime::parse_duration)]
        expires: Duration,
        /// For more devices of this user; otherwise they become a new user's
        #[arg(long, value_name = "ID")]
        user: Option<String>,
        /// A note about the new user
        #[arg(long, value_name = "TEXT", default_value = "", conflicts_with = "user")]
        label: String,
    },
    /// List users
    Users,
    /// List devices
    Devices {
        /// Of this user only
        #[arg(long, value_name = "ID")]
        user: Option<String>,
    },
    /// Revoke a device, or all devices of a user: it may do nothing here any more
    #[command(group = clap::ArgGroup::new("whom").required(true))]
    Revoke {
        /// The device
        #[arg(value_name = "DEVICE", group = "whom")]
        device: Option<String>,
        /// All devices of this user
        #[arg(long, value_name = "ID", group = "whom")]
        user: Option<String>,
    },
    /// Show what the relay holds and how it is
    Stats,
    /// Give back the space of what is no longer kept, now
    Gc,
    /// Read and verify every chunk (the relay may be running, or not)
    Check {
        /// Forget what is damaged, so that it is uploaded again
        #[arg(long)]
        repair: bool,
    },
    /// Save everything into a new folder (the relay may be running, or not)
    Backup {
        /// The folder, which must not exist yet
        #[arg(value_name = "DIR")]
        to: PathBuf,
    },
    /// Bring a backup back into an empty data folder (the relay must not be running)
    Restore {
        /// The folder of the backup
        #[arg(value_name = "DIR")]
        from: PathBuf,
    },
}

/// Runs a sub-command.
pub fn run(command: Command, config: &Config, json: bool) -> ExitCode {
    let show = Show::new(json);
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            return show.failed(&AdminError::io("The program could not be started", &error));
        }
    };
    match runtime.block_on(perform(command, config, &show)) {
        Ok(exit) => exit,
        Err(error) => show.failed(&error),
    }
}

async fn perform(command: Command, config: &Config, show: &Show) -> Result<ExitCode, AdminError> {
    let client = Client::new(Folder::of(config).socket());
    match command {
        Command::Invite {
            uses,
            expires,
            user,
            label,
        } => {
            let invite = Invite {
                uses,
                valid_s: expires.as_secs(),
                user,
                label,
            };
            show.invited(&client.post::<Invited>("/v1/invitations", &invite).await?);
        }
        Command::Users => users(&client, show).await?,
        Command::Devices { user } => devices(&client, user.as_deref(), show).await?,
        Command::Revoke { device, user } => {
            let whom = match (device, user) {
                (Some(device), None) => Revoke::Device(device),
                (None, Some(user)) => Revoke::User(user),
                _ => {
                    return Err(AdminError::new(
                        Code::Usage,
                        "Name a device, or a user with --user.",
                    ));
                }
            };
            show.revoked(&client.post::<Revoked>("/v1/revoke", &whom).await?);
        }
        Command::Stats => show.stats(&client.get::<Stats>("/v1/stats").await?),
        Command::Gc => show.collected(&client.post::<Collected>("/v1/gc", &()).await?),
        Command::Check { repair } => return check(&client, config, repair, show).await,
        Command::Backup { to } => save(&client, config, to, show).await?,
        Command::Restore { from } => {
            let config = config.clone();
            let saved = blocking(move || offline::bring_back(&config, &from)).await?;
            show.saved("restored", &saved);
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn users(client: &Client, show: &Show) -> Result<(), AdminError> {
    let (mut after, mut count) = (None::<String>, 0);
    loop {
        let part = after
            .map(|after| format!("?after={after}"))
            .unwrap_or_default();
        let page = client.get::<Users>(&format!("/v1/users{part}")).await?;
        page.users.iter().for_each(|user| show.user(user));
        count += page.users.len();
        after = page.users.last().map(|user| user.user.clone());
        if !page.more || after.is_none() {
            show.end_of_list(count, "user");
            return Ok(());
        }
    }
}

async fn devices(client: &Client, user: Option<&str>, show: &Show) -> Result<(), AdminError> {
    // It becomes part of a request's address.
    user.map(work::parse_user).transpose()?;
    let (mut after, mut count) = (None::<String>, 0);
    loop {
        let of = user.map(|user| format!("user={user}&")).unwrap_or_default();
        let part = after
            .map(|after| format!("after={after}"))
            .unwrap_or_default();
        let page = client
            .get::<Devices>(&format!("/v1/devices?{of}{part}"))
            .await?;
        page.devices.iter().for_each(|device| show.device(device));
        count += page.devices.len();
        after = page.next;
        if after.is_none() {
            show.end_of_list(count, "device");
            return Ok(());
        }
    }
}

async fn check(
    client: &Client,
    config: &Config,
    repair: bool,
    show: &Show,
) -> Result<ExitCode, AdminError> {
    let checked = if client.is_running().await {
        client
            .post::<Checked>("/v1/check", &Check { repair })
            .await?
    } else {
        offline::check(config, repair).await?
    };
    show.checked(&checked, repair);
    // What was repaired is sound again, as far as this machine can do it.
    Ok(if checked.clean || repair {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(Code::Damaged.exit())
    })
}

async fn save(
    client: &Client,
    config: &Config,
    to: PathBuf,
    show: &Show,
) -> Result<(), AdminError> {
    let to = std::path::absolute(to)
        .map_err(|error| AdminError::io("The path cannot be used", &error))?;
    let saved = if client.is_running().await {
        client.post::<Saved>("/v1/backup", &Backup { to }).await?
    } else {
        let config = config.clone();
        blocking(move || offline::save(&config, &to)).await?
    };
    show.saved("saved", &saved);
    Ok(())
}
