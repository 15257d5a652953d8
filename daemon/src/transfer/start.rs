//! Beginning a transfer, going on with an old one, and taking all of them up again after a restart.

use super::end::discard;
use super::{Agreement, Control, Transfer, lock, run};
use crate::failure;
use crate::records::{Chosen, TransferRecord, TransferState};
use crate::transfer::TransferService;
use hither_api::{ApiError, CostMode, ErrorCode, Existing, NamesInfo, Naming, Phase};
use hither_content::{FetchTarget, PartialRef};
use hither_proto::{EntryName, Ticket};
use hither_util::clock::unix_seconds;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// The request of a user.
pub(crate) struct Request {
    pub ticket: Ticket,
    /// `None`: a single file is read in order, for standard output.
    pub folder: Option<PathBuf>,
    /// The name of a single file in that folder; of a share that is a folder, that of a folder to
    /// write into.
    pub named: Option<EntryName>,
    /// The part that is wanted; empty: everything.
    pub paths: Vec<String>,
    /// Only what is in it is asked about.
    pub listing: bool,
    /// Bytes of a single file for standard output that were read before.
    pub from: u64,
    pub existing: Existing,
    pub accept: bool,
    /// Stay for later versions.
    pub follow: bool,
    /// How readily paid sources are used; `None`: as configured.
    pub mode: Option<CostMode>,
    /// Most that it may cost.
    pub max_cost: Option<f64>,
    /// Permission bits that nothing written gets.
    pub umask: u32,
    /// The treatment of names that cannot be written; `None`: as before.
    pub names: Option<Naming>,
    /// Give up when no holder was reached for so long.
    pub wait: Option<Duration>,
}

/// Begins a transfer, or goes on with the one that the same request began before.
pub(crate) fn begin(
    service: &Arc<TransferService>,
    request: Request,
) -> Result<Arc<Transfer>, ApiError> {
    let share = service
        .swarm
        .shares()
        .get_or_insert(&request.ticket.secret, request.ticket.owner);
    if share.owner != request.ticket.owner {
        return Err(ApiError::new(
            ErrorCode::BadTicket,
            "The ticket names another owner than the share has.",
        ));
    }
    service
        .swarm
        .links()
        .hinted(request.ticket.owner, &request.ticket.hints);
    if let Some(running) = service.transfers.running(share.id) {
        return attach(&running, &request);
    }
    let transfer = match resumable(service, &request) {
        Some(transfer) => {
            rename_anew(service, &transfer, &request)?;
            transfer.update(service, |record| {
                record.state = TransferState::Active;
                choose_again(record, &request);
                record.follow = request.follow;
                (record.mode, record.max_cost) = (request.mode, request.max_cost);
                record.ended = None;
                record.reason = None;
            })?;
            transfer
        }
        None => {
            let record = new_record(service, &request)?;
            service
                .records
                .put_transfer(&record)
                .map_err(|e| failure::storage(&e))?;
            let transfer = Arc::new(Transfer::new(record, request.ticket, share));
            service.transfers.insert(Arc::clone(&transfer));
            transfer
        }
    };
    start(service, &transfer, request.wait);
    Ok(transfer)
}

/// Returns what the command that was run again says counts, but for what was chosen when a first
/// version was written.
fn choose_again(record: &mut TransferRecord, request: &Request) {
    // A target begun under an answer goes on so; the request alone says nothing then.
    let answered = record.partial.is_some() && request.existing == Existing::Fail;
    if (record.chosen.is_none() && !answered) || request.existing == Existing::Overwrite {
        record.existing = request.existing;
    }
    record.accepted = request.accept;
    record.umask = request.umask;
}

/// Another choice for names makes what was begun under the one before useless.
fn rename_anew(
    service: &TransferService,
    transfer: &Transfer,
    request: &Request,
) -> Result<(), ApiError> {
    let record = transfer.record();
    let Some(naming) = request.names.filter(|naming| *naming != record.naming) else {
        return Ok(());
    };
    if let Some(partial) = record
        .partial
        .as_ref()
        .and_then(|partial| PartialRef::decode(&partial.0).ok())
    {
        FetchTarget::discard_partial(&record.folder, &partial).map_err(|e| failure::write(&e))?;
    }
    service
        .records
        .clear_durable(&transfer.id)
        .map_err(|e| failure::storage(&e))?;
    transfer.update(service, |record| {
        (record.naming, record.partial, record.rules) = (naming, None, None)
    })
}

/// The same fetch is running already: its events are listened to by one more, who may have another
/// mind about its cost.
fn attach(running: &Arc<Transfer>, request: &Request) -> Result<Arc<Transfer>, ApiError> {
    let record = running.record();
    if same_target(request, &record) {
        if request.accept {
            running.control(Control::Accept(Agreement::Always));
        }
        if request.mode.is_some() || request.max_cost.is_some() {
            running.control(Control::Spend {
                mode: request.mode,
                max_cost: request.max_cost,
            });
        }
        return Ok(Arc::clone(running));
    }
    Err(ApiError::new(
        ErrorCode::AlreadyFetching,
        "This share is being fetched to another place at the moment.",
    )
    .with_hint("Wait for it (hither transfers --watch) or stop it (hither transfers cancel)."))
}

/// Returns whether a request is for where a transfer writes, however that is spelled.
fn same_target(request: &Request, record: &TransferRecord) -> bool {
    let named = |folder: &Path, name: Option<&str>| match name {
        Some(name) => folder.join(name),
        None => folder.to_owned(),
    };
    let resolved = |path: &PathBuf| std::fs::canonicalize(path).unwrap_or_else(|_| path.clone());
    if request.paths != record.paths || request.listing != record.listing {
        return false;
    }
    match &request.folder {
        Some(folder) => {
            let wanted = named(folder, request.named.as_ref().map(EntryName::as_str));
            let begun = named(&record.folder, record.named.as_deref());
            !record.spooled && (wanted == begun || resolved(&wanted) == resolved(&begun))
        }
        None => record.spooled || record.listing,
    }
}

fn resumable(service: &TransferService, request: &Request) -> Option<Arc<Transfer>> {
    service.transfers.all().into_iter().find(|transfer| {
        let record = transfer.record();
        transfer.ticket.secret == request.ticket.secret
            && transfer.ticket.pin == request.ticket.pin
            && !transfer.is_running()
            && record.state != TransferState::Done
            && same_target(request, &record)
    })
}

fn new_record(service: &TransferService, request: &Request) -> Result<TransferRecord, ApiError> {
    let mut random = [0u8; 4];
    getrandom::fill(&mut random).map_err(failure::internal)?;
    let id = hither_util::hex::encode(&random);
    let (folder, spooled) = match &request.folder {
        Some(folder) => (folder.clone(), false),
        None if request.listing => (service.paths.spool(), false),
        None => (service.paths.spool(), true),
    };
    Ok(TransferRecord {
        id,
        ticket: request.ticket.to_string(),
        share: request.ticket.share().to_string(),
        state: TransferState::Active,
        folder,
        spooled,
        existing: request.existing,
        named: request.named.as_ref().map(|name| name.as_str().to_owned()),
        paths: request.paths.clone(),
        listing: request.listing,
        from: request.from,
        accepted: request.accept,
        agreed: None,
        chosen: None,
        umask: request.umask,
        naming: request.names.unwrap_or_default(),
        rules: None,
        names: NamesInfo::default(),
        apart: false,
        follow: request.follow,
        placing: false,
        conflicts: Vec::new(),
        conflicts_more: 0,
        followed: None,
        mode: request.mode,
        max_cost: request.max_cost,
        priced: false,
        name: String::new(),
        path: String::new(),
        head: None,
        partial: None,
        started: unix_seconds(),
        ended: None,
        total: 0,
        seconds: 0.0,
        sources: Vec::new(),
        reason: None,
    })
}

/// Starts the task of a transfer that does not run.
pub(super) fn start(
    service: &Arc<TransferService>,
    transfer: &Arc<Transfer>,
    wait: Option<Duration>,
) {
    let (sender, control) = mpsc::unbounded_channel();
    *lock(&transfer.control) = Some(sender);
    lock(&transfer.told).clear();
    *lock(&transfer.counted_from) = (service.swarm.core().clock.now(), transfer.record().seconds);
    transfer.meter().phase = Phase::Connecting;
    service.tasks.spawn(run::run(
        Arc::clone(service),
        Arc::clone(transfer),
        control,
        wait,
    ));
}

/// Takes a paused or failed transfer up again.
pub(crate) fn resume(
    service: &Arc<TransferService>,
    transfer: &Arc<Transfer>,
) -> Result<(), ApiError> {
    if transfer.is_running() || transfer.record().state == TransferState::Done {
        return Ok(());
    }
    if service.transfers.running(transfer.share.id).is_some() {
        return Err(ApiError::new(
            ErrorCode::AlreadyFetching,
            "This share is being fetched already.",
        ));
    }
    transfer.update(service, |record| {
        record.state = TransferState::Active;
        record.ended = None;
        record.reason = None;
    })?;
    start(service, transfer, None);
    Ok(())
}

/// Records of before say only where the version followed is; and that any later one replaces what
/// is there, which nobody chose.
fn remember_choice(record: &mut TransferRecord) {
    let path = PathBuf::from(&record.path);
    if record.followed.is_some()
        && record.chosen.is_none()
        && let Some(name) = path.file_name()
    {
        let name = name.to_string_lossy().into_owned();
        record.chosen = Some(Chosen {
            title: record.name.clone(),
            name,
            folder: path.is_dir(),
        });
        record.existing = Existing::Fail;
    }
}

/// After a start of the service: loads every transfer, and goes on with those that were running.
pub(crate) fn resume_all(service: &Arc<TransferService>) -> Result<(), ApiError> {
    for (id, mut record) in service
        .records
        .transfers()
        .map_err(|e| failure::storage(&e))?
    {
        remember_choice(&mut record);
        let Ok(ticket) = record.ticket.parse::<Ticket>() else {
            tracing::warn!(
                transfer = id,
                "a transfer's ticket cannot be read; left alone"
            );
            continue;
        };
        let active = record.state == TransferState::Active;
        let share = service
            .swarm
            .shares()
            .get_or_insert(&ticket.secret, ticket.owner);
        service.swarm.links().hinted(ticket.owner, &ticket.hints);
        let transfer = Arc::new(Transfer::new(record, ticket, share));
        service.transfers.insert(Arc::clone(&transfer));
        // Its reader is gone.
        if transfer.record().spooled || transfer.is_listing() {
            discard(service, &transfer);
            continue;
        }
        if active {
            tracing::info!(transfer = id, "going on with a transfer");
            start(service, &transfer, None);
        }
    }
    Ok(())
}
