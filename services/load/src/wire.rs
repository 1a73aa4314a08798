//! A wire that is longer than it looks: passes bytes on unchanged, answers each some time after it came. It makes one of
//! several servers slow without a change to it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Pieces of one direction of a connection that wait until they are due; with more the sender has to wait.
const PIECES_MAX: usize = 4_096;
const PIECE_BYTES: usize = 64 << 10;

/// The end of the wire at which clients connect. It is there until the process ends.
#[derive(Clone, Debug)]
pub struct Wire {
    /// Where clients connect.
    pub address: SocketAddr,
    delay_us: Arc<AtomicU64>,
}

impl Wire {
    /// A wire to a server, whose answers come back after `delay`.
    ///
    /// # Errors
    /// The system gives no port.
    pub fn to(server: SocketAddr, delay: Duration) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let wire = Self { address: listener.local_addr()?, delay_us: Arc::default() };
        wire.set_delay(delay);
        let delay_us = Arc::clone(&wire.delay_us);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A client that cannot be served meets a connection that ends, as behind any broken wire.
                let _ = join(client, server, &delay_us);
            }
        });
        Ok(wire)
    }

    /// From now on answers take so long.
    pub fn set_delay(&self, delay: Duration) {
        let delay_us = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        self.delay_us.store(delay_us, Ordering::Relaxed);
    }
}

fn join(client: TcpStream, server: SocketAddr, delay_us: &Arc<AtomicU64>) -> io::Result<()> {
    let server = TcpStream::connect(server)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    pump(client.try_clone()?, server.try_clone()?, Arc::default());
    pump(server, client, Arc::clone(delay_us));
    Ok(())
}

/// One direction: a thread reads and notes when, another writes when it is time. So pieces wait beside each other.
fn pump(mut from: TcpStream, mut to: TcpStream, delay_us: Arc<AtomicU64>) {
    let (sender, pieces) = mpsc::sync_channel::<(Instant, Vec<u8>)>(PIECES_MAX);
    thread::spawn(move || {
        let mut buffer = vec![0; PIECE_BYTES];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let due = Instant::now() + Duration::from_micros(delay_us.load(Ordering::Relaxed));
            if sender.send((due, buffer[..count].to_vec())).is_err() {
                break;
            }
        }
    });
    thread::spawn(move || {
        for (due, bytes) in pieces {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_pass_unchanged_and_answers_not_before_their_time() {
        let echo = TcpListener::bind("127.0.0.1:0").unwrap();
        let delay = Duration::from_millis(30);
        let wire = Wire::to(echo.local_addr().unwrap(), delay).unwrap();
        thread::spawn(move || {
            let (mut from, _) = echo.accept().unwrap();
            let mut to = from.try_clone().unwrap();
            io::copy(&mut from, &mut to).unwrap();
        });
        let mut client = TcpStream::connect(wire.address).unwrap();
        let sent: Vec<u8> = (0..=255).cycle().take(200_000).collect();
        let begun = Instant::now();
        let (mut writer, all) = (client.try_clone().unwrap(), sent.clone());
        thread::spawn(move || writer.write_all(&all).unwrap());
        let mut came = vec![0; sent.len()];
        client.read_exact(&mut came).unwrap();
        assert!(came == sent && begun.elapsed() >= delay);
    }

    #[test]
    fn a_server_that_is_away_ends_the_connection() {
        let away = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let wire = Wire::to(away, Duration::ZERO).unwrap();
        let mut client = TcpStream::connect(wire.address).unwrap();
        assert!(matches!(client.read(&mut [0]), Ok(0) | Err(_)));
    }
}
