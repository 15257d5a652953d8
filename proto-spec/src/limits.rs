//! Every bound of the protocol in one place. A value beyond its bound is refused by the parser that
//! meets it.

/// Version of the link protocol spoken by this build ([`crate::wire::Open::protocol`]).
///
/// Version 1 bound proofs to a connection and a side alone, so that whoever got one could send it
/// back on a stream of the same connection. It is refused.
pub const PROTOCOL: u32 = 2;
/// Longest frame accepted before the other side has proven that it may talk to us, bytes.
pub const MAX_FRAME_UNPROVEN: usize = 1024;
/// Longest frame accepted afterwards, bytes (an announcement of a badly fragmented million-chunk
/// share fits).
pub const MAX_FRAME: usize = 1024 * 1024;
/// Longest plaintext chunk, bytes: four times the largest average (4 MiB).
pub const MAX_CHUNK: u32 = 16 * 1024 * 1024;
/// What AES-256-GCM adds to a chunk, bytes.
pub const CHUNK_TAG: u32 = 16;
/// Longest encrypted root, bytes.
pub const MAX_ROOT: u32 = 4 * 1024 * 1024;
/// Longest plaintext manifest, bytes.
pub const MAX_MANIFEST: u64 = 512 * 1024 * 1024;
/// Most entries (files, folders, symlinks) in one share.
pub const MAX_ENTRIES: u64 = 4_000_000;
/// Most data chunks in one share.
pub const MAX_CHUNKS: u64 = 4_194_304;
/// Largest share, plaintext bytes (64 TiB).
pub const MAX_SHARE: u64 = 1 << 46;
/// Deepest nesting of folders in a share.
pub const MAX_DEPTH: u32 = 128;
/// Longest name of one entry, bytes (what Linux, macOS and Windows file systems take).
pub const MAX_NAME: usize = 255;
/// Longest symlink target, bytes.
pub const MAX_TARGET: usize = 4095;
/// Most ranges in one want, announcement or delta.
pub const MAX_RANGES: usize = 65_536;
/// Most positions one want may name.
pub const MAX_WANT: u32 = 65_536;
/// Most ranges in the claims of one device on one share.
pub const MAX_CLAIMS: usize = 256;
/// Highest price of data, billionths of a unit of currency for each GiB: a million units.
pub const MAX_PRICE: u64 = 1_000_000_000_000_000;
/// Longest device name, bytes.
pub const MAX_DEVICE_NAME: usize = 64;
/// Most address hints in a ticket.
pub const MAX_HINTS: usize = 8;
/// Most relays in a ticket.
pub const MAX_TICKET_RELAYS: usize = 2;
/// Longest ticket, characters. Bech32m's checksum is defined up to 1,023; a ticket with eight IPv6
/// hints and a pin has 423, the rest is for relays.
pub const MAX_TICKET: usize = 1000;

/// Most addresses of one kind (UDP, TCP) in a [`crate::RelayAddress`].
pub const MAX_ADDRESSES: usize = 8;
/// Longest host name, bytes (RFC 1035, section 2.3.4, without the final dot).
pub const MAX_HOST: usize = 253;
/// Longest `host:port`, bytes.
pub const MAX_HOST_PORT: usize = MAX_HOST + 8;
/// Longest relay URL, characters: a longest `host:port`, a key, an invitation and what stands
/// between them.
pub const MAX_RELAY_URL: usize = 400;
/// Most holders in an [`crate::Message::Elsewhere`].
pub const MAX_HOLDERS: usize = 16;
/// Most candidates in a [`crate::Candidates`].
pub const MAX_CANDIDATES: usize = 8;
/// Most bytes of padding in a [`crate::Candidates`].
pub const MAX_CANDIDATES_PADDING: usize = 16 * 1024;
/// Longest answer to a lookup, bytes: [`MAX_HOLDERS`] with every address they may have.
pub const MAX_FRAME_LOOKUP: usize = 128 * 1024;

/// Longest life of a token for chunks, milliseconds (one day).
pub const MAX_CHUNK_TOKEN_MS: u32 = 86_400_000;
/// Most positions in one request for chunks by GET.
pub const MAX_GET_POSITIONS: u32 = 4096;
/// Most bytes of ciphertext in one answer to such a request; one position is given whatever its
/// length.
pub const MAX_GET_BYTES: u64 = 64 * 1024 * 1024;
/// Longest text that says where a relay serves browsers, bytes.
pub const MAX_WEB: usize = 512;

/// Longest frame a relay accepts from who has not registered (or shown an invitation) yet, bytes.
pub const MAX_RELAY_FRAME_UNKNOWN: usize = 1024;
/// Longest frame between a device and a relay, bytes. [`MAX_DEVICES`] cards of full length fit,
/// with what else a [`crate::Welcome`] may hold.
pub const MAX_RELAY_FRAME: usize = 1024 * 1024 + 256 * 1024;
/// Most relays in an assignment or a move, stores in a welcome, measurements in a placement.
pub const MAX_RELAYS: usize = 16;
/// Most devices of one user.
pub const MAX_DEVICES: usize = 256;
/// Longest sealed device card, bytes.
pub const MAX_CARD: usize = 4096;
/// Longest sealed message to another device, bytes.
pub const MAX_MESSAGE: usize = 256 * 1024;
/// Longest summary of what a device that is not known yet offers, bytes.
pub const MAX_OFFER_SUMMARY: usize = 256;
/// Most records in one list of an upload.
pub const MAX_PUT_LIST: usize = 16_384;
/// Most ciphertext of one version of a share, root and manifest included, bytes: [`MAX_SHARE`] and
/// generous room for tags and manifest.
pub const MAX_CIPHERTEXT: u64 = 2 * MAX_SHARE;
/// Longest frame on a stream to the index, bytes.
pub const MAX_INDEX_FRAME: usize = 256 * 1024;
/// Most ranges in one announcement or delta to the index: three quarters of a longest frame, were
/// each of the longest kind.
pub const MAX_INDEX_RANGES: usize = 16_384;
/// One past the highest number that the index counts with: [`MAX_CHUNKS`] in extents.
pub const MAX_INDEX_POSITIONS: u32 = (MAX_CHUNKS / INDEX_EXTENT as u64) as u32;
/// Longest sealed addresses of a holder, bytes.
pub const MAX_INDEX_SEALED: usize = 1024;
/// Most holders, and most that are gone, in one message of the index.
pub const MAX_INDEX_HOLDERS: usize = 128;
/// Versions with more chunks than this are told to the index in extents.
pub const INDEX_EXTENTS_ABOVE: u32 = 100_000;
/// Positions in one extent.
pub const INDEX_EXTENT: u32 = 16;
/// Shortest and longest time between two signs of life that an index node may ask for,
/// milliseconds.
pub const INDEX_HEARTBEAT_MS: std::ops::RangeInclusive<u32> = 1_000..=600_000;
/// Shortest and longest time between two pings that a relay may ask for, milliseconds.
pub const RELAY_PING_MS: std::ops::RangeInclusive<u32> = 100..=600_000;
/// Longest wait that a relay may ask for, milliseconds (one hour); a longer one is cut.
pub const MAX_RETRY_MS: u32 = 3_600_000;

/// Most members of a group.
pub const MAX_GROUP_MEMBERS: usize = 512;
/// Most devices that a group names as admins before they have joined.
pub const MAX_GROUP_NAMED: usize = 32;
/// Most devices on the allow-list of a group.
pub const MAX_GROUP_ALLOWED: usize = 256;
/// Most devices that a group remembers to have removed, the latest: only an admin lets them in
/// again.
pub const MAX_GROUP_REMOVED: usize = 512;
/// Most entries in the log of a group. Then nothing more can be written: make a new group.
pub const MAX_GROUP_LOG: u64 = 16_384;
/// Most bytes of all entries of a group's log together.
pub const MAX_GROUP_LOG_BYTES: u64 = 4 * 1024 * 1024;
/// Longest name of a group, bytes.
pub const MAX_GROUP_NAME: usize = 64;
/// Longest entry of a group's log, bytes: full lists of admins and of who is allowed.
pub const MAX_GROUP_ENTRY: usize = 12 * 1024;
/// Longest sealed secret of a group, request to join or refusal, bytes.
pub const MAX_GROUP_SEALED: usize = 1024;
/// Longest sealed note of a member, bytes.
pub const MAX_GROUP_NOTE: usize = 48 * 1024;
/// Most devices that a request to join is sealed for.
pub const MAX_GROUP_READERS: usize = 16;
/// Most requests to join that a group keeps.
pub const MAX_GROUP_ASKS: usize = 128;
/// Most groups that one device is a member of.
pub const MAX_GROUPS: usize = 64;
/// Most groups in the answer to a search.
pub const MAX_GROUP_FOUND: usize = 50;
/// Most changes of groups told with one message.
pub const MAX_GROUP_NEWS: usize = 256;
/// Most bytes of entries or notes in one answer.
pub const MAX_GROUP_PAGE: usize = 512 * 1024;
/// Length of the digest of a note, bytes.
pub const GROUP_DIGEST: usize = 16;

/// Longest reason of a request, bytes.
pub const MAX_ASK_REASON: usize = 256;
/// Longest pattern for the name of what is asked for, bytes.
pub const MAX_ASK_PATTERN: usize = 255;
/// Longest time for which a request may be answered, seconds: 30 days.
pub const MAX_ASK_VALID: u32 = 30 * 86_400;
/// Longest recording that may be asked for, seconds.
pub const MAX_ASK_SECONDS: u32 = 600;
/// Longest text of an answer, bytes.
pub const MAX_ANSWER_TEXT: usize = 128 * 1024;
/// Most things in an answer.
pub const MAX_ANSWER_THINGS: usize = 64;
/// Most bytes of all things in a letter together.
pub const MAX_ANSWER_CONTENT: usize = 192 * 1024;
/// Longest small picture of a thing, bytes.
pub const MAX_THUMBNAIL: usize = 32 * 1024;
/// Longest media type, bytes.
pub const MAX_MEDIA_TYPE: usize = 127;
/// How long a code is good, seconds: long enough to say three words on the telephone and to type
/// them, too short to be noted down.
pub const CODE_SECONDS: u64 = 600;
/// Longest sealed message on a stream about a code, bytes: [`MAX_DEVICES`] names and
/// [`MAX_RELAYS`] invitations fit.
pub const MAX_CODE_SEALED: usize = 64 * 1024;
/// Most nameplates that a device announces on its network, and that are remembered of one.
pub const MAX_NAMEPLATES: usize = 4;
/// Most devices of other users that a device names to a relay.
pub const MAX_CONTACTS: usize = 1024;
/// Most devices that read shares of one device from stores and of which its relay keeps how far each
/// is until the device knows of it; the one heard of longest ago makes room.
pub const MAX_STORE_FETCHES: usize = 256;
/// Most devices that one invitation of a device is good for.
pub const MAX_INVITED: u32 = 16;
/// Longest time that an invitation of a device is good, seconds: a week.
pub const MAX_INVITED_SECONDS: u32 = 7 * 86_400;
/// Longest time that an invitation for visitors is good, seconds: a year.
pub const MAX_VISITORS_SECONDS: u32 = 365 * 86_400;
/// Most visitors that may come with one invitation.
pub const MAX_VISITORS: u32 = 256;
/// Longest address at which a device is woken, bytes.
pub const MAX_WAKE_URL: usize = 2048;
/// Longest address for mail, bytes (RFC 5321, section 4.5.3.1.3, without the brackets).
pub const MAX_MAIL_ADDRESS: usize = 254;

/// Most names of a path below an exposed folder, the folder's own included.
pub const MAX_DRIVE_DEPTH: usize = 64;
/// Most entries of a folder in one letter.
pub const MAX_DRIVE_ENTRIES: usize = 500;
