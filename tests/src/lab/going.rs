//! A program of the lab that goes on in the network of a device until it is dropped.

use super::device::Device;
use super::namespace::Namespace;
use super::wait::PATIENCE;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use tokio_util::sync::CancellationToken;

/// The program. Dropping it stops it and passes on its panic, unless there is one already.
#[derive(Debug)]
pub(super) struct Going {
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Going {
    /// Starts `work` in the network of `place`; returns with what it says when it is ready.
    pub(super) fn start<T: Send + 'static>(
        place: &Device,
        work: impl FnOnce(Sender<T>, CancellationToken) + Send + 'static,
    ) -> (Self, T) {
        let (network, stop) = (place.network().handle(), CancellationToken::new());
        let (ready, is_ready) = channel();
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            Namespace::enter(&network);
            work(ready, stopped);
        });
        let said = is_ready.recv_timeout(PATIENCE).expect("it becomes ready");
        (
            Self {
                stop,
                thread: Some(thread),
            },
            said,
        )
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        self.stop.cancel();
        let ended = self.thread.take().unwrap().join();
        if let Err(why) = ended
            && !thread::panicking()
        {
            std::panic::resume_unwind(why);
        }
    }
}
