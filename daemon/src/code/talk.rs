//! The exchange on one stream, as both sides have it: messages within a time, then sealed ones.

use hither_carrier::code_seal::{CodeChannel, CodeSealError};
use hither_carrier::{FramingError, MessageReader, Stream, write_message};
use hither_proto::limits::MAX_CODE_SEALED;
use hither_proto::{CodeGift, CodeKeys, CodeMessage, CodeRefusal, CodeSide, Message, MessageError};
use std::time::Duration;
use tokio::time::timeout;

/// Longest wait for a step of the other side that needs nobody's thought: several round trips of a
/// satellite, and a slow computer.
pub(super) const STEP: Duration = Duration::from_secs(10);
/// Bytes that a frame adds to what is sealed in it; more than it does.
const FRAME: usize = 64;

/// Why an exchange broke off.
#[derive(Debug, thiserror::Error)]
pub(super) enum TalkError {
    #[error("the stream broke: {0}")]
    Stream(#[from] std::io::Error),
    #[error(transparent)]
    Frame(#[from] FramingError),
    #[error("the other device ended it")]
    Ended,
    #[error("the other device said nothing for {} s", STEP.as_secs())]
    Silent,
    #[error("the other device said something else than it should")]
    Unexpected,
    #[error("the other device refused")]
    Refused(CodeRefusal),
    #[error(transparent)]
    Sealed(#[from] CodeSealError),
    #[error("what the other device gave is malformed: {0}")]
    Gift(#[from] MessageError),
}

/// A stream about a code.
pub(super) struct Talk {
    pub(super) stream: Stream,
    reader: MessageReader,
}

impl Talk {
    pub(super) const fn new(stream: Stream, reader: MessageReader) -> Self {
        Self { stream, reader }
    }

    /// Says something.
    pub(super) async fn say(&mut self, message: CodeMessage) -> Result<(), TalkError> {
        let message = Message::Code(Box::new(message));
        timeout(STEP, write_message(&mut self.stream.send, &message))
            .await
            .map_err(|_| TalkError::Silent)??;
        Ok(())
    }

    /// Says that nothing comes of it, as the last word.
    pub(super) async fn refuse(mut self, refusal: CodeRefusal) {
        if self.say(CodeMessage::Refused(refusal)).await.is_ok() {
            let _ = timeout(STEP, self.stream.send.finish()).await;
        }
    }

    /// The other side's next message, whenever it comes. Cancel safe.
    async fn next(&mut self) -> Result<CodeMessage, TalkError> {
        match self.reader.next(&mut self.stream.recv).await? {
            Some(Message::Code(message)) => match *message {
                CodeMessage::Refused(refusal) => Err(TalkError::Refused(refusal)),
                message => Ok(message),
            },
            // The other side does not know what streams about codes are.
            Some(Message::Refused(_)) => Err(TalkError::Refused(CodeRefusal::Spent)),
            Some(_) => Err(TalkError::Unexpected),
            None => Err(TalkError::Ended),
        }
    }

    /// The other side's next message, which must come in time.
    pub(super) async fn hear(&mut self) -> Result<CodeMessage, TalkError> {
        timeout(STEP, self.next())
            .await
            .map_err(|_| TalkError::Silent)?
    }

    /// Goes on sealed: both have confirmed the keys.
    pub(super) fn sealed(
        mut self,
        keys: &CodeKeys,
        own: CodeSide,
    ) -> Result<SealedTalk, TalkError> {
        let channel = CodeChannel::new(keys, own)?;
        self.reader.set_max(MAX_CODE_SEALED + FRAME);
        Ok(SealedTalk {
            talk: self,
            channel,
        })
    }
}

/// The same once both have confirmed the keys.
pub(super) struct SealedTalk {
    talk: Talk,
    channel: CodeChannel,
}

impl SealedTalk {
    pub(super) async fn give(&mut self, gift: &CodeGift) -> Result<(), TalkError> {
        let sealed = self.channel.seal(&gift.encode())?;
        self.talk.say(CodeMessage::Sealed(sealed.into())).await
    }

    /// Gives something as the last word.
    pub(super) async fn give_last(mut self, gift: &CodeGift) -> Result<(), TalkError> {
        self.give(gift).await?;
        timeout(STEP, self.talk.stream.send.finish())
            .await
            .map_err(|_| TalkError::Silent)??;
        Ok(())
    }

    /// The other side's next gift, whenever it comes. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<CodeGift, TalkError> {
        let CodeMessage::Sealed(sealed) = self.talk.next().await? else {
            return Err(TalkError::Unexpected);
        };
        let gift = CodeGift::decode(&self.channel.open(&sealed)?)?;
        gift.ok_or(TalkError::Unexpected)
    }

    /// The other side's next gift, which must come within a time.
    pub(super) async fn take(&mut self, patience: Duration) -> Result<CodeGift, TalkError> {
        timeout(patience, self.next())
            .await
            .map_err(|_| TalkError::Silent)?
    }
}
