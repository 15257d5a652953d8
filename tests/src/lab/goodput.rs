//! Measures what a link really carries: a plain TCP connection from one device to another, in the
//! same minute as what is judged by it.

use super::device::Device;
use super::namespace::Namespace;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Instant;

/// Sends so many bytes from one device to another over TCP; bytes per second at the reader, from
/// the first byte on.
pub fn goodput(from: &Device, to: &Device, bytes: u64) -> f64 {
    let (reader, writer) = (to.network().handle(), from.network().handle());
    let address = to.cable.address().to_owned();
    let listener = thread::spawn(move || {
        Namespace::enter(&reader);
        TcpListener::bind((address.as_str(), 0)).unwrap()
    });
    let listener = listener.join().unwrap();
    let at = listener.local_addr().unwrap();
    let sending = thread::spawn(move || {
        Namespace::enter(&writer);
        let mut stream = TcpStream::connect(at).unwrap();
        let block = vec![0; 1 << 16];
        (0..bytes / (1 << 16)).for_each(|_| stream.write_all(&block).unwrap());
    });
    let (mut stream, _) = listener.accept().unwrap();
    let mut block = vec![0; 1 << 18];
    let mut got = stream.read(&mut block).unwrap() as u64;
    let (began, first) = (Instant::now(), got);
    while got < bytes {
        match stream.read(&mut block).unwrap() {
            0 => break,
            read => got += read as u64,
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    sending.join().unwrap();
    (got - first) as f64 / seconds
}
