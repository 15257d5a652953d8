//! What a reader is told, frame by frame.

use super::StreamId;
use super::entry::{News, ToldUpTo};
use super::topic::Topic;
use hither_proto::limits::{MAX_INDEX_FRAME, MAX_INDEX_HOLDERS};
use hither_proto::{Announcement, DeviceId, IndexHolder, IndexMessage, IndexTopic};

/// What a range takes in a frame at most, and a holder beside its ranges and addresses.
const RANGE_BYTES: usize = 12;
const HOLDER_BYTES: usize = 160;
/// What a frame takes beside its holders: topic and those that are gone.
const FRAME_BYTES: usize = 64 + MAX_INDEX_HOLDERS * 36;

impl Topic {
    /// The next frame for a reader; `None`: it knows everything.
    pub(super) fn news(&mut self, stream: StreamId, topic: IndexTopic) -> Option<IndexMessage> {
        self.look(stream);
        let Self {
            subscriptions,
            entries,
            ..
        } = self;
        let reader = subscriptions.get_mut(&stream)?;
        let gone: Vec<DeviceId> = reader
            .gone
            .iter()
            .take(MAX_INDEX_HOLDERS)
            .copied()
            .collect();
        reader.gone.retain(|device| !gone.contains(device));
        let first = std::mem::take(&mut reader.first);
        let (mut holders, mut room) = (Vec::<IndexHolder>::new(), MAX_INDEX_FRAME - FRAME_BYTES);
        for (device, told) in &mut reader.view {
            let Some(entry) = entries.get(device) else {
                continue;
            };
            match entry.news(*told) {
                News::Nothing => {}
                // Alone in its frame: after what is gone, which may have been the same device.
                News::Change(change) if holders.is_empty() && gone.is_empty() && !first => {
                    *told = Some(entry.told());
                    return Some(IndexMessage::Changed {
                        topic,
                        device: *device,
                        change,
                    });
                }
                News::Change(_) => {}
                News::Full => {
                    let holder = entry.holder(*device, reader.site);
                    let size = size(&holder.holding, holder.sealed.len());
                    if holders.len() == MAX_INDEX_HOLDERS || size > room && !holders.is_empty() {
                        break;
                    }
                    room = room.saturating_sub(size);
                    holders.push(holder);
                    *told = Some(entry.told());
                }
            }
        }
        let nothing = !first && holders.is_empty() && gone.is_empty();
        (!nothing).then_some(IndexMessage::Holders {
            topic,
            first,
            holders,
            gone,
        })
    }

    /// Looks for further holders, if there may be some.
    fn look(&mut self, stream: StreamId) {
        let Some(reader) = self.subscriptions.get_mut(&stream) else {
            return;
        };
        if !std::mem::take(&mut reader.look) {
            return;
        }
        let picked = self
            .subscriptions
            .get(&stream)
            .map(|reader| self.pick(reader))
            .unwrap_or_default();
        let Some(reader) = self.subscriptions.get_mut(&stream) else {
            return;
        };
        for device in picked {
            if let Some(entry) = self.entries.get_mut(&device) {
                entry.viewers.insert(stream);
                // Back before it was said that it was gone: it is still one that the reader was
                // told of.
                let told = reader.gone.remove(&device).then_some(ToldUpTo::NOTHING);
                reader.view.insert(device, told);
            }
        }
    }
}

fn size(holding: &Announcement, sealed: usize) -> usize {
    HOLDER_BYTES + sealed + holding.held.as_slice().len() * RANGE_BYTES
}
