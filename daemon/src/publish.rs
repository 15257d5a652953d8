//! Publishing: paths become a share, or a new version of the share that they are already.
//!
//! Order matters: manifest file, chunk map and record are durable before the share is announced or
//! its ticket given.

use crate::groups::Groups;
use crate::library::Library;
use crate::mail::MailService;
use crate::records::{GroupShareRecord, LeftOutRecord, PartRecord, ShareRecord, WatchRecord};
use crate::store_upload::StoreUploadService;
use crate::tickets::Tickets;
use crate::watch::Watches;
use crate::{failure, mail, piped};
use hither_api::{ApiError, Done, ErrorCode, Event, Phase, ShareRequest, TicketNote};
use hither_carrier::Identity;
use hither_content::{
    Before, DomainSecret, Holding, ImportError, ImportOptions, Imported, Layout, ManifestFile,
    Notes, Parts, Patterns, Place, Previous, RootId, Stamps, VersionInputs, import_at,
    seal_version,
};
use hither_proto::{DeviceId, EntryName, ShareId, ShareSecret, SignedHead, display_name};
use hither_swarm::{Share, Swarm, Version};
use hither_util::clock::unix_millis;
use hither_util::hex::Hex;
use hither_util::tasks::Tasks;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc;

/// The service that publishes shares.
pub(crate) struct Publisher {
    pub device: DeviceId,
    pub identity: Arc<Identity>,
    pub swarm: Arc<Swarm>,
    pub library: Arc<Library>,
    pub tickets: Arc<Tickets>,
    pub groups: Arc<Groups>,
    pub watches: Arc<Watches>,
    pub store_uploads: Arc<StoreUploadService>,
    pub mail: Arc<MailService>,
    pub tasks: Tasks,
}

/// Something beneath an exposed folder that another device asked for.
#[derive(Debug, Clone)]
pub(crate) struct Exposed {
    /// The name of the exposed folder.
    pub exposure: String,
    /// Its place.
    pub place: Place,
    /// The thing that has to be there.
    pub id: RootId,
}

/// The thing that is published.
#[derive(Clone, Copy)]
enum What<'a> {
    /// Things that the user of this device names.
    Named,
    /// The next version of a share.
    Next(ShareId),
    /// Something beneath an exposed folder.
    Exposed(&'a Exposed),
}

/// Of what a version leaves out so much is remembered in words.
const MAX_LEFT_OUT: usize = 20;
/// Names that a warning has; all are in `list --json`.
const TOLD_NAMES: usize = 5;

/// Cancels the work when dropped: the command that requested it is gone.
pub(crate) struct Cancel(pub(crate) Arc<AtomicBool>);

impl Drop for Cancel {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Publishes paths and sends the ticket to the devices that the request names; they are found
/// before anything is read. Events go to `events`, the last one is `done` or `error`.
pub(crate) async fn share(
    publisher: &Arc<Publisher>,
    request: ShareRequest,
    events: mpsc::UnboundedSender<Event>,
    cancel: Arc<AtomicBool>,
) {
    let last = match publish_and_send(publisher, request, &events, cancel).await {
        Ok(done) => Event::Done(done),
        Err(error) => Event::Error(error),
    };
    let _ = events.send(last); // The listener may be gone; what was published stays published.
}

async fn publish_and_send(
    publisher: &Arc<Publisher>,
    request: ShareRequest,
    events: &mpsc::UnboundedSender<Event>,
    cancel: Arc<AtomicBool>,
) -> Result<Done, ApiError> {
    let readers = mail::readers(&publisher.mail, &request.to).await?;
    let request = ShareRequest {
        to: readers.iter().map(|reader| reader.device_id()).collect(),
        ..request
    };
    let (of, progress) = (Arc::clone(publisher), events.clone());
    let work = tokio::task::spawn_blocking(move || publish(&of, &request, &progress, &cancel));
    let mut done = work.await.map_err(failure::internal)??;
    if let Done::Shared {
        ticket,
        name,
        files,
        bytes,
        sent,
        ..
    } = &mut done
    {
        let note = TicketNote {
            ticket: ticket.clone(),
            name: name.clone(),
            files: *files,
            bytes: *bytes,
        };
        *sent = mail::send_ticket(&publisher.mail, &readers, &note).await;
    }
    Ok(done)
}

/// Publishes paths; what it does meanwhile goes to `events`. Blocks: call it on a blocking thread.
pub(crate) fn publish(
    publisher: &Arc<Publisher>,
    request: &ShareRequest,
    events: &mpsc::UnboundedSender<Event>,
    cancel: &AtomicBool,
) -> Result<Done, ApiError> {
    let (share, done) = try_publish(publisher, What::Named, request, events, cancel)?;
    if request.watch {
        crate::watch::begin(publisher, share.id);
    } else if !request.offer {
        publisher.watches.stop(share.id);
    }
    if let Some(upload) = publisher.store_uploads.upload_info(&share) {
        let _ = events.send(Event::Upload(upload));
    }
    Ok(done)
}

/// Publishes what lies beneath an exposed folder, and nothing else than what was opened there. It is
/// never the share that this device's user makes of the same path, so that it can end with the
/// exposure. What cannot be shared is left out. Blocks like [`publish`].
///
/// Errors: something else is at its place now, another file system is mounted in it, or it cannot
/// be shared.
pub(crate) fn publish_exposed(
    publisher: &Arc<Publisher>,
    exposed: &Exposed,
    watch: bool,
    events: &mpsc::UnboundedSender<Event>,
    cancel: &AtomicBool,
) -> Result<(Arc<Share>, Done), ApiError> {
    let request = ShareRequest {
        paths: vec![exposed.place.path()],
        skip_unsharable: true,
        watch: watch || watched_before(publisher, exposed),
        ..ShareRequest::default()
    };
    let what = What::Exposed(exposed);
    let (share, done) = try_publish(publisher, what, &request, events, cancel)?;
    if request.watch {
        crate::watch::begin(publisher, share.id);
    }
    Ok((share, done))
}

/// Returns whether somebody asked for it to be watched before: that stays as long as the exposure.
fn watched_before(publisher: &Publisher, exposed: &Exposed) -> bool {
    let path = [exposed.place.path()];
    publisher.library.share_records().iter().any(|(_, record)| {
        record.exposed.as_ref() == Some(&exposed.exposure)
            && record.watch.is_some()
            && record.paths() == path
    })
}

/// Publishes what changed in a share as its next version. Blocks like [`publish`]. Fails with
/// [`ErrorCode::NotFound`] when the share has ended meanwhile.
pub(crate) fn renew(
    publisher: &Arc<Publisher>,
    share: ShareId,
    request: &ShareRequest,
    cancel: &AtomicBool,
) -> Result<(), ApiError> {
    let (nobody, _) = mpsc::unbounded_channel();
    try_publish(publisher, What::Next(share), request, &nobody, cancel).map(|_| ())
}

fn try_publish(
    publisher: &Arc<Publisher>,
    what: What<'_>,
    request: &ShareRequest,
    events: &mpsc::UnboundedSender<Event>,
    cancel: &AtomicBool,
) -> Result<(Arc<Share>, Done), ApiError> {
    // The share that this must be a version of.
    let only = match what {
        What::Next(share) => Some(share),
        What::Named | What::Exposed(_) => None,
    };
    let renewed = only.and_then(|only| publisher.library.share_record(only));
    let places = match (&renewed, what) {
        // They were resolved when it was shared; what they lead to now is no matter of words.
        (Some(record), _) => parts(record),
        (None, What::Exposed(exposed)) => exposed.place.clone().into(),
        (None, _) => resolve_all(&request.paths)?,
    };
    if request.piped {
        piped::check(&publisher.library, &places)?;
    }
    let paths: Vec<PathBuf> = places.iter().map(Place::path).collect();
    let name = request
        .name
        .as_deref()
        .map(parse_name)
        .transpose()?
        .or_else(|| name_of_several(&paths));
    // One publication at a time: they compete for the same disk and cores, and two of one path
    // would race.
    let _turn = publisher.library.publishing.lock();
    let mut source = source(publisher, what, request)?;
    let earlier = find_earlier(publisher, &paths, name.as_ref(), &source);
    // Shared again without a word about it, it does not show what was left out before.
    let before = earlier.as_ref().map(|(_, record)| record.exclude.clone());
    source.exclude = request.exclude.clone().or(before).unwrap_or_default();
    let request = &as_before(request, earlier.as_ref().map(|(_, record)| record));
    if only.is_none() {
        let now = (publisher.library.time.millis() + 500) / 1000;
        let record = earlier.as_ref().map(|(_, record)| record);
        source.expires = expires(request, record, now);
        source.offered = offered(request, record);
    }
    let patterns = Patterns::parse(&source.exclude).map_err(|error| failure::pattern(&error))?;
    let ended = || ApiError::new(ErrorCode::NotFound, "The share has ended.");
    if only.is_some_and(|only| earlier.as_ref().is_none_or(|(share, _)| share.id != only)) {
        return Err(ended());
    }
    let domain = match earlier
        .as_ref()
        .and_then(|(_, record)| record.domain.as_ref())
    {
        Some(domain) => stored_domain(&domain.0)?,
        None => match source.domain.clone() {
            Some(domain) => domain,
            None => DomainSecret::random().map_err(failure::internal)?,
        },
    };
    let before = earlier.as_ref().and_then(|(share, _)| share.current());
    let stamps = before
        .as_ref()
        .map(|version| version.holding().stamps().clone());
    let manifest = before.as_ref().map(|version| version.manifest());
    let report = |progress: hither_content::ImportProgress| {
        let _ = events.send(Event::Progress {
            phase: Phase::Reading,
            bytes: progress.bytes,
            total: progress.total_bytes,
            files: progress.files,
            rate: 0,
            remaining: None,
            devices: 0,
        });
    };
    let own = publisher.library.own.look();
    let roots = renewed.as_ref().map(ShareRecord::roots).unwrap_or_default();
    // Nobody requested a new version: the shared files must still be there.
    let shared = renewed.as_ref().zip(manifest.as_ref());
    let options = ImportOptions {
        before: shared.map(|(record, manifest)| Before {
            roots: &roots,
            mounts: &record.mounts,
            manifest,
        }),
        patterns: Some(&patterns),
        own: Some(&own),
        kept: request.piped,
        name,
        skip_unshareable: request.skip_unsharable,
        previous: manifest
            .as_ref()
            .zip(stamps.as_ref())
            .map(|(manifest, stamps)| Previous { manifest, stamps }),
        progress: &report,
        cancel,
    };
    let imported = import_at(&places, &domain, &options).map_err(|e| failure::import(&e))?;
    check_exposed(what, &source, &imported)?;
    warn(&imported, events);
    warn_of_names(&imported, events);
    if let Some((share, record)) = &earlier
        && before
            .as_ref()
            .is_some_and(|b| *b.manifest() == *imported.manifest)
    {
        let done = unchanged(publisher, share, record, request, &source, &imported)?;
        return Ok((Arc::clone(share), leaves_out(done, &imported)));
    }
    if only.is_some_and(|only| publisher.swarm.shares().get(only).is_none()) {
        return Err(ended());
    }
    let share = match earlier {
        Some((share, _)) => share,
        None => Arc::new(Share::new(new_secret()?, publisher.device)),
    };
    let version = share.next_number();
    let group = source.group.clone();
    let done = store(
        publisher,
        &share,
        request,
        &Source {
            domain: Some(domain),
            ..source
        },
        &imported,
        version,
    )?;
    if let Some(group) = group {
        end_older(publisher, share.id, &paths, &group);
    }
    Ok((share, leaves_out(done, &imported)))
}

/// Adds how many entries patterns left out.
fn leaves_out(mut done: Done, imported: &Imported) -> Done {
    if let Done::Shared { excluded, .. } = &mut done {
        *excluded = imported.excluded;
    }
    done
}

/// Checks that what was read is what was opened beneath the exposed folder, and of one file system;
/// that goes for later versions too, whose roots are compared as those of any share.
fn check_exposed(what: What<'_>, source: &Source, imported: &Imported) -> Result<(), ApiError> {
    if source.exposed.is_none() {
        return Ok(());
    }
    if let What::Exposed(exposed) = what {
        let same = |root: &RootId| root.is_same(&exposed.id);
        if imported.roots.len() != 1 || !imported.roots.iter().all(same) {
            let message = "Something else is at its place now.";
            return Err(ApiError::new(ErrorCode::Changing, message));
        }
    }
    if !imported.mounts.is_empty() {
        let message = "Another file system is mounted in it, which is not exposed with it.";
        return Err(ApiError::new(ErrorCode::Unsharable, message));
    }
    Ok(())
}

/// Ends what was the same share for the same group before somebody left it: it has another ticket
/// now.
fn end_older(publisher: &Publisher, new: ShareId, paths: &[PathBuf], group: &GroupShareRecord) {
    let Some(name) = publisher
        .library
        .share_record(new)
        .map(|record| record.name)
    else {
        return;
    };
    for (share, record) in publisher.library.share_records() {
        let older = record
            .group
            .as_ref()
            .is_some_and(|of| of.group == group.group && of.generation < group.generation);
        if older && share.id != new && record.name == name && record.paths() == paths {
            // It stays: that is a second share of the same name, the older of the two.
            if let Err(error) = publisher.library.unshare(&share) {
                tracing::warn!(%error, "an older share for a group could not be ended");
            }
        }
    }
}

/// With whom a share is shared, and where it dedupes.
struct Source {
    /// When the share ends, seconds of [`Library::time`].
    expires: Option<u64>,
    group: Option<GroupShareRecord>,
    /// The name of the exposed folder that it is in.
    exposed: Option<String>,
    /// The group's; absent: a share of its own has one of its own.
    domain: Option<DomainSecret>,
    /// Patterns of what is left out.
    exclude: Vec<String>,
    /// The devices that it is only sent to.
    offered: Vec<String>,
}

/// Time that an offer stands, seconds: as long as the letter that brings it waits for its reader.
const OFFER: u64 = 30 * 86_400;

/// A share that was there before, and is now only sent, stays shared as it is.
fn as_before(request: &ShareRequest, earlier: Option<&ShareRecord>) -> ShareRequest {
    let mut request = request.clone();
    if let Some(record) = earlier.filter(|record| request.offer && record.offered.is_empty()) {
        (request.no_upload, request.no_list) = (record.no_upload, record.no_list);
        (request.once, request.watch) = (record.once, record.watch.is_some());
    }
    request
}

/// When it ends, seconds of [`Library::time`]: shared again without a word about it, as before.
fn expires(request: &ShareRequest, earlier: Option<&ShareRecord>, now: u64) -> Option<u64> {
    let wanted = match request.keep_seconds {
        Some(0) => return None,
        None if request.offer && earlier.is_none_or(|one| !one.offered.is_empty()) => Some(OFFER),
        wanted => wanted,
    };
    match wanted {
        Some(keep) => Some(now + keep.min(u64::from(u32::MAX))),
        // The end of an offer was not the user's wish.
        None => earlier.filter(|one| one.offered.is_empty())?.expires,
    }
}

/// The devices that it is only sent to, those of before among them; none of what the user shares.
fn offered(request: &ShareRequest, earlier: Option<&ShareRecord>) -> Vec<String> {
    if !request.offer || earlier.is_some_and(|record| record.offered.is_empty()) {
        return Vec::new();
    }
    let mut all = earlier
        .map(|record| record.offered.clone())
        .unwrap_or_default();
    for device in &request.to {
        if !all.contains(device) {
            all.push(device.clone());
        }
    }
    all
}

/// A share of a group keeps the generation with which it was made as long as it changes by itself;
/// shared anew after somebody has left, it becomes another share, which that one knows nothing of.
fn source(
    publisher: &Publisher,
    what: What<'_>,
    request: &ShareRequest,
) -> Result<Source, ApiError> {
    if let What::Next(only) = what
        && let Some(record) = publisher.library.share_record(only)
    {
        return Ok(Source {
            expires: record.expires,
            group: record.group,
            exposed: record.exposed,
            domain: None,
            exclude: Vec::new(),
            offered: record.offered,
        });
    }
    let exposed = match what {
        What::Exposed(exposed) => Some(exposed.exposure.clone()),
        What::Named | What::Next(_) => None,
    };
    let Some(wanted) = &request.group else {
        return Ok(Source {
            expires: None,
            group: None,
            exposed,
            domain: None,
            exclude: Vec::new(),
            offered: Vec::new(),
        });
    };
    let (group, generation, domain) = publisher.groups.domain(wanted, &publisher.device)?;
    Ok(Source {
        expires: None,
        group: Some(GroupShareRecord {
            group: group.to_string(),
            generation,
        }),
        exposed,
        domain: Some(domain),
        exclude: Vec::new(),
        offered: Vec::new(),
    })
}

/// Returns what paths from a user lead to, each once, in the order of their names.
fn resolve_all(paths: &[PathBuf]) -> Result<Parts, ApiError> {
    let mut places = paths
        .iter()
        .map(|path| resolve(path))
        .collect::<Result<Vec<_>, _>>()?;
    places.sort_by(|a, b| (&a.name, &a.parent).cmp(&(&b.name, &b.parent)));
    places.dedup();
    Parts::new(places)
        .ok_or_else(|| ApiError::new(ErrorCode::BadRequest, "There is no path to share."))
}

/// Returns the name of a share of several paths unless its user says otherwise: that of the folder
/// that all of them are in, else their number. One path has a name of its own.
fn name_of_several(paths: &[PathBuf]) -> Option<EntryName> {
    let [first, _, ..] = paths else { return None };
    let folder = first
        .parent()
        .filter(|parent| paths.iter().all(|path| path.parent() == Some(parent)));
    let name = folder
        .and_then(Path::file_name)
        .and_then(|name| EntryName::parse(name.to_str()?).ok());
    name.or_else(|| EntryName::parse(&format!("{} items", paths.len())).ok())
}

/// Returns what a path from a user leads to, by the file system and not by its text, with names
/// that can be stored.
fn resolve(path: &Path) -> Result<Place, ApiError> {
    let refuse = |code, what: String| Err(ApiError::new(code, what));
    let shown = display_name(&path.to_string_lossy());
    if !path.is_absolute() {
        return refuse(
            ErrorCode::BadRequest,
            format!("The path must be absolute: {shown}."),
        );
    }
    let place = Place::resolve(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => failure::import(&ImportError::NotFound {
            path: path.to_owned(),
        }),
        _ => failure::import(&ImportError::Read {
            path: shown.clone(),
            source: error.into(),
        }),
    })?;
    if place.path().to_str().is_none() {
        return refuse(
            ErrorCode::Unsharable,
            format!("The path is not valid UTF-8: {shown}."),
        );
    }
    if place.name == "." {
        return refuse(
            ErrorCode::BadRequest,
            "The root of a file system cannot be shared as a whole.".into(),
        );
    }
    Ok(place)
}

fn parse_name(name: &str) -> Result<EntryName, ApiError> {
    EntryName::parse(name).map_err(|e| {
        ApiError::new(
            ErrorCode::BadRequest,
            format!("The name cannot be used: {e}."),
        )
    })
}

/// The share that this device made of the same paths under the same name, for the same group or
/// none, out of the same exposed folder or none.
fn find_earlier(
    publisher: &Publisher,
    paths: &[PathBuf],
    name: Option<&EntryName>,
    source: &Source,
) -> Option<(Arc<Share>, ShareRecord)> {
    let file_name = paths.first()?.file_name()?.to_str()?;
    let called = name.map_or(file_name, |n| n.as_str());
    publisher
        .library
        .share_records()
        .into_iter()
        .find_map(|(share, record)| {
            let same = record.domain.is_some()
                && record.group == source.group
                && record.exposed == source.exposed
                && record.paths() == paths
                && share
                    .current()
                    .is_some_and(|v| v.manifest().name().as_str() == called);
            same.then_some((share, record))
        })
}

fn stored_domain(bytes: &[u8]) -> Result<DomainSecret, ApiError> {
    let bytes = bytes
        .try_into()
        .map_err(|_| failure::internal("a stored secret has the wrong length"))?;
    Ok(DomainSecret::new(bytes))
}

fn new_secret() -> Result<ShareSecret, ApiError> {
    let mut secret = [0u8; ShareSecret::LEN];
    getrandom::fill(&mut secret).map_err(failure::internal)?;
    Ok(ShareSecret::new(secret))
}

fn warn(imported: &Imported, events: &mpsc::UnboundedSender<Event>) {
    for warning in &imported.skipped.first {
        tracing::warn!(
            path = warning.path,
            reason = warning.reason,
            "left out of a share"
        );
        let message = format!("{} is not shared because {}.", warning.path, warning.reason);
        let _ = events.send(Event::Warning { message });
    }
    let more = imported
        .skipped
        .total
        .saturating_sub(imported.skipped.first.len() as u64);
    if more > 0 {
        let _ = events.send(Event::Warning {
            message: format!("{more} more entries were left out."),
        });
    }
}

/// Warns, in one sentence, of names that some of those who fetch cannot write.
fn warn_of_names(imported: &Imported, events: &mpsc::UnboundedSender<Event>) {
    let Notes { first, total } = &imported.unportable;
    if *total == 0 {
        return;
    }
    tracing::info!(
        names = total,
        first = first.first().map(|note| &note.path),
        "not every system can write some names"
    );
    let named: Vec<String> = first
        .iter()
        .take(TOLD_NAMES)
        .map(|note| format!("{} ({})", note.path, note.reason))
        .collect();
    let more = match total.saturating_sub(named.len() as u64) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let message = format!(
        "Not every system can write these names; where one cannot, they are changed: {}{more}.",
        named.join(", ")
    );
    let _ = events.send(Event::Warning { message });
}

/// Returns what is remembered of notes on a version.
fn remembered(notes: &Notes) -> LeftOutRecord {
    let first = notes.first.iter().take(MAX_LEFT_OUT);
    let first = first
        .map(|note| (note.path.clone(), note.reason.clone()))
        .collect();
    LeftOutRecord {
        first,
        total: notes.total,
    }
}

/// Nothing changed since it was shared: the same version and ticket, with the new options.
fn unchanged(
    publisher: &Arc<Publisher>,
    share: &Arc<Share>,
    record: &ShareRecord,
    request: &ShareRequest,
    source: &Source,
    imported: &Imported,
) -> Result<Done, ApiError> {
    let Some(version) = share.current() else {
        return Err(failure::internal("a share without a version"));
    };
    let before = record;
    let record = ShareRecord {
        left_out: remembered(&imported.skipped),
        unportable: remembered(&imported.unportable),
        roots: imported.roots.iter().map(|root| (*root).into()).collect(),
        mounts: imported.mounts.clone(),
        no_upload: request.no_upload,
        no_list: request.no_list,
        expires: source.expires,
        watch: request.watch.then_some(WatchRecord {
            skip_unsharable: request.skip_unsharable,
        }),
        once: request.once,
        offered: source.offered.clone(),
        piped: request.piped,
        exclude: source.exclude.clone(),
        ..record.clone()
    };
    if record == *before && imported.stamps == *version.holding().stamps() {
        // Nothing is written: a watched folder may hold the very disk that it would be written to.
        publisher.library.hold_whole(share.id, &version);
        return Ok(done(publisher, share, &version));
    }
    write_stamps(publisher, share, version.number(), &imported.stamps)?;
    publisher
        .library
        .records
        .put_share(&share.id.to_string(), &record)
        .map_err(|e| failure::storage(&e))?;
    publisher.library.set_share_record(share.id, record);
    let layout = Arc::clone(version.holding().layout());
    version.set_holding(Holding::new(
        &publisher.library.handles,
        imported.place.clone(),
        layout,
        imported.stamps.clone(),
    ));
    publisher.library.hold_whole(share.id, &version);
    publisher.library.shared_anew(share.id);
    publisher.groups.wake();
    Ok(done(publisher, share, &version))
}

fn write_stamps(
    publisher: &Publisher,
    share: &Share,
    version: u64,
    stamps: &Stamps,
) -> Result<(), ApiError> {
    publisher
        .library
        .write_stamps(share.id, version, stamps)
        .map_err(failure::internal)
}

/// Seals a version, makes all of it durable, then announces it.
fn store(
    publisher: &Arc<Publisher>,
    share: &Arc<Share>,
    request: &ShareRequest,
    source: &Source,
    imported: &Imported,
    number: u64,
) -> Result<Done, ApiError> {
    let Some(domain) = &source.domain else {
        return Err(failure::internal("a share without a domain"));
    };
    let mut salt = [0u8; 16];
    getrandom::fill(&mut salt).map_err(failure::internal)?;
    let inputs = VersionInputs {
        secret: &share.secret,
        domain,
        version: number,
        salt,
        published_ms: unix_millis(),
    };
    let sealed = seal_version(&imported.manifest, &inputs).map_err(failure::internal)?;
    let head = SignedHead::sign(sealed.head.clone(), |message| {
        publisher.identity.sign(message)
    });
    let file =
        ManifestFile::create_complete(&publisher.library.manifest_path(share.id, number), &sealed);
    let file = file.map_err(failure::internal)?;
    write_stamps(publisher, share, number, &imported.stamps)?;
    let chunks = imported.manifest.chunks();
    let holding = publisher
        .library
        .chunk_map
        .add(share.id, number, chunks)
        .map_err(|e| failure::storage(&e))?;
    let record = ShareRecord {
        secret: Hex(share.secret.expose().to_vec()),
        owner: share.owner.to_string(),
        domain: Some(Hex(domain.expose().to_vec())),
        head: Hex(head.to_unchecked().encode()),
        name: imported.manifest.name().to_string(),
        parent: imported.place.first().parent.clone(),
        file_name: imported.place.first().name.to_string_lossy().into_owned(),
        more: imported.place.iter().skip(1).map(part).collect(),
        holding: holding.0,
        files: imported.manifest.files(),
        no_upload: request.no_upload,
        no_list: request.no_list,
        expires: source.expires,
        watch: request.watch.then_some(WatchRecord {
            skip_unsharable: request.skip_unsharable,
        }),
        group: source.group.clone(),
        exposed: source.exposed.clone(),
        left_out: remembered(&imported.skipped),
        unportable: remembered(&imported.unportable),
        roots: imported.roots.iter().map(|root| (*root).into()).collect(),
        mounts: imported.mounts.clone(),
        once: request.once,
        offered: source.offered.clone(),
        piped: request.piped,
        exclude: source.exclude.clone(),
    };
    publisher
        .library
        .records
        .put_share(&share.id.to_string(), &record)
        .map_err(|e| failure::storage(&e))?;
    let layout = Layout::new(Arc::clone(&imported.manifest));
    let live = Holding::new(
        &publisher.library.handles,
        imported.place.clone(),
        layout,
        imported.stamps.clone(),
    );
    let version = Arc::new(Version::new(head, Arc::new(file), live));
    publisher.library.announce(share, &version, record);
    tracing::info!(share = ?share.id, version = number, chunks = chunks.len(), "published");
    Ok(done(publisher, share, &version))
}

fn done(publisher: &Publisher, share: &Share, version: &Version) -> Done {
    let manifest = version.manifest();
    Done::Shared {
        share: share.id.to_string(),
        ticket: publisher.tickets.ticket(share).to_string(),
        name: manifest.name().to_string(),
        version: version.number(),
        files: manifest.files(),
        bytes: manifest.bytes(),
        chunks: manifest.chunks().len() as u64,
        excluded: 0,
        sent: Vec::new(),
        code: None,
        link: None,
    }
}

fn part(place: &Place) -> PartRecord {
    PartRecord {
        parent: place.parent.clone(),
        file_name: place.name.to_string_lossy().into_owned(),
    }
}

/// Returns the parts of a record's share on this device.
pub(crate) fn parts(record: &ShareRecord) -> Parts {
    let first = Place {
        parent: record.parent.clone(),
        name: record.file_name.clone().into(),
    };
    let more = record.more.iter().map(|p| Place {
        parent: p.parent.clone(),
        name: p.file_name.clone().into(),
    });
    let all = std::iter::once(first.clone()).chain(more).collect();
    Parts::new(all).unwrap_or_else(|| first.into())
}
