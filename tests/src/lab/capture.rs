//! Somebody who listens on the network.

use super::namespace::Namespace;
use super::wait::PATIENCE;
use socket2::{Domain, Socket, Type};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// `ETH_P_ALL` of linux/if_ether.h, in the order of the network.
const EVERY_PROTOCOL: i32 = 0x0003_u16.to_be() as i32;

/// Every packet that went over the switch, or through one device's interfaces, one after the other.
#[derive(Debug)]
pub struct Capture {
    stop: Arc<AtomicBool>,
    listener: JoinHandle<Vec<u8>>,
}

impl Capture {
    /// Listens when this returns: in the network given, else in the one of the caller.
    pub(super) fn start(network: Option<File>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let (ready, is_ready) = channel();
        let listener = thread::spawn(move || {
            if let Some(network) = network {
                Namespace::enter(&network);
            }
            let socket = Socket::new(Domain::PACKET, Type::RAW, Some(EVERY_PROTOCOL.into()));
            let socket = socket.expect("a packet socket");
            socket.set_recv_buffer_size(64 << 20).unwrap();
            socket
                .set_read_timeout(Some(Duration::from_millis(50)))
                .unwrap();
            ready.send(()).unwrap();
            listen(&socket, &stopped)
        });
        is_ready.recv_timeout(PATIENCE).expect("somebody listens");
        Self { stop, listener }
    }

    /// Ends it; gives everything that was heard.
    pub fn finish(self) -> Vec<u8> {
        self.stop.store(true, Ordering::Relaxed);
        self.listener.join().unwrap()
    }
}

fn listen(mut socket: &Socket, stop: &AtomicBool) -> Vec<u8> {
    let (mut heard, mut packet) = (Vec::new(), vec![0; 1 << 17]);
    loop {
        match socket.read(&mut packet) {
            Ok(length) => heard.extend_from_slice(&packet[..length]),
            // Only when nothing more is to come: what was sent before the end is heard too.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if stop.load(Ordering::Relaxed) {
                    return heard;
                }
            }
            Err(error) => panic!("listening: {error}"),
        }
    }
}
