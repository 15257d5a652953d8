//! Messages of the page to the core: one message in one buffer, little-endian.
//!
//! | kind | fields |
//! |---|---|
//! | 1 start | seed of the device's key (32), 1: open chunks here (1) |
//! | 2 endpoint | number (4), id of the relay (text): a pipe to that relay can be had |
//! | 3 open | share (4), ticket (text) |
//! | 4 pipe opened | pipe (4) |
//! | 5 pipe bytes | pipe (4), bytes |
//! | 6 pipe closed | pipe (4) |
//! | 7 answer | get (4), status (2), retry after, ms (4) |
//! | 8 answer's bytes | get (4), bytes |
//! | 9 answer's end | get (4), 1: all of it came (1) |
//! | 10 time | |
//! | 11 read | share (4), reading (4), entry (4), offset in the file (8) |
//! | 12 taken | share (4), reading (4), bytes that the page has taken (8) |
//! | 13 read no more | share (4), reading (4) |
//! | 14 close | share (4) |
//! | 15 back | the network, or the page, is back: everything is tried at once |
//! | 16 does not open | share (4): a chunk with the right id does not decrypt |
//! | 64 command | length of the JSON (4), JSON, bytes: what a device is to do (`device/command.rs`) |
//!
//! Numbers of shares and readings are the page's; those of pipes and gets are the core's.

/// A message of the page, parsed.
#[derive(Debug, PartialEq)]
#[allow(missing_docs, reason = "the table above")]
pub enum Input<'a> {
    Start {
        seed: [u8; 32],
        open_here: bool,
    },
    Endpoint {
        number: u32,
        relay: &'a str,
    },
    Open {
        share: u32,
        ticket: &'a str,
    },
    PipeOpened {
        pipe: u32,
    },
    PipeBytes {
        pipe: u32,
        bytes: &'a [u8],
    },
    PipeClosed {
        pipe: u32,
    },
    Answer {
        get: u32,
        status: u16,
        retry_after_ms: u32,
    },
    AnswerBytes {
        get: u32,
        bytes: &'a [u8],
    },
    AnswerEnd {
        get: u32,
        complete: bool,
    },
    Time,
    Read {
        share: u32,
        reading: u32,
        entry: u32,
        offset: u64,
    },
    Taken {
        share: u32,
        reading: u32,
        bytes: u64,
    },
    ReadNoMore {
        share: u32,
        reading: u32,
    },
    Close {
        share: u32,
    },
    Back,
    DoesNotOpen {
        share: u32,
    },
    #[cfg(feature = "device")]
    Command {
        json: &'a [u8],
        bytes: &'a [u8],
    },
}

impl<'a> Input<'a> {
    /// Parses a message; `None`: it is none.
    pub fn parse(message: &'a [u8]) -> Option<Self> {
        let mut fields = Fields(message);
        Some(match fields.u8()? {
            1 => Self::Start {
                seed: fields.array()?,
                open_here: fields.u8()? != 0,
            },
            2 => Self::Endpoint {
                number: fields.u32()?,
                relay: std::str::from_utf8(fields.0).ok()?,
            },
            3 => Self::Open {
                share: fields.u32()?,
                ticket: std::str::from_utf8(fields.0).ok()?,
            },
            4 => Self::PipeOpened {
                pipe: fields.u32()?,
            },
            5 => Self::PipeBytes {
                pipe: fields.u32()?,
                bytes: fields.0,
            },
            6 => Self::PipeClosed {
                pipe: fields.u32()?,
            },
            7 => Self::Answer {
                get: fields.u32()?,
                status: u16::from_le_bytes(fields.array()?),
                retry_after_ms: fields.u32()?,
            },
            8 => Self::AnswerBytes {
                get: fields.u32()?,
                bytes: fields.0,
            },
            9 => Self::AnswerEnd {
                get: fields.u32()?,
                complete: fields.u8()? != 0,
            },
            10 => Self::Time,
            11 => Self::Read {
                share: fields.u32()?,
                reading: fields.u32()?,
                entry: fields.u32()?,
                offset: u64::from_le_bytes(fields.array()?),
            },
            12 => Self::Taken {
                share: fields.u32()?,
                reading: fields.u32()?,
                bytes: u64::from_le_bytes(fields.array()?),
            },
            13 => Self::ReadNoMore {
                share: fields.u32()?,
                reading: fields.u32()?,
            },
            14 => Self::Close {
                share: fields.u32()?,
            },
            15 => Self::Back,
            16 => Self::DoesNotOpen {
                share: fields.u32()?,
            },
            #[cfg(feature = "device")]
            64 => {
                let length = fields.u32()? as usize;
                let (json, bytes) = fields.0.split_at_checked(length)?;
                Self::Command { json, bytes }
            }
            _ => return None,
        })
    }
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }
}
