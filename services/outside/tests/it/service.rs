//! A service of somebody's own, as it should be and as it should not: what it does stands in the path that is asked.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// More than an answer may have.
const TOO_MUCH: usize = 2 << 20;

#[derive(Default)]
pub struct Heard {
    /// Heads and bodies, in their order.
    pub calls: Mutex<Vec<(String, String)>>,
    pub connections: AtomicUsize,
    /// Everything fails that would be well.
    pub is_ill: AtomicBool,
}

pub struct Service {
    pub origin: String,
    pub heard: Arc<Heard>,
}

impl Service {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let heard = Arc::<Heard>::default();
        let service = Self { origin: origin.clone(), heard: heard.clone() };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                heard.connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(stream, heard.clone(), origin.clone()));
            }
        });
        service
    }

    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    pub fn calls(&self) -> usize {
        self.heard.calls.lock().unwrap().len()
    }
}

/// Answers one call after the other on a connection.
async fn serve(mut stream: TcpStream, heard: Arc<Heard>, origin: String) {
    while let Some((head, body)) = read(&mut stream).await {
        let path = head.split(' ').nth(1).unwrap().to_owned();
        heard.calls.lock().unwrap().push((head, body));
        let path = if heard.is_ill.load(Ordering::Relaxed) { "/500" } else { path.as_str() };
        // A client that has hung up is none of the service's business.
        if answer(&mut stream, path, &origin).await.is_err() {
            return;
        }
    }
}

async fn read(stream: &mut TcpStream) -> Option<(String, String)> {
    let mut raw = Vec::new();
    loop {
        if let Some(end) = raw.windows(4).position(|four: &[u8]| four == b"\r\n\r\n") {
            let head = String::from_utf8(raw[..end].to_vec()).unwrap().to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            let length: usize = length.parse().unwrap();
            if raw.len() >= end + 4 + length {
                return Some((head, String::from_utf8(raw[end + 4..].to_vec()).unwrap()));
            }
        }
        if stream.read_buf(&mut raw).await.ok()? == 0 {
            return None;
        }
    }
}

async fn answer(stream: &mut TcpStream, path: &str, origin: &str) -> std::io::Result<()> {
    let items = |count: usize| {
        let item = |number: usize| format!(r#"{{"item_id": "i{number}", "score": {number}}}"#);
        format!(r#"{{"items": [{}]}}"#, (0..count).map(item).collect::<Vec<_>>().join(", "))
    };
    let ok = |body: String| format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let endless = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    match path {
        "/slow" | "/never" => std::future::pending().await,
        "/500" => stream.write_all(b"HTTP/1.1 500 Oh\r\ncontent-length: 6\r\n\r\nsecret").await,
        "/404" => stream.write_all(b"HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n").await,
        "/moved" => {
            let head = format!("HTTP/1.1 307 Moved\r\nlocation: {origin}/good\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(head.as_bytes()).await
        }
        "/rubbish" => stream.write_all(ok("<html>secret</html>".to_owned()).as_bytes()).await,
        "/no-http" => {
            stream.write_all(b"220 ready\r\n").await?;
            std::future::pending().await
        }
        "/infinite" => {
            stream.write_all(ok(r#"{"items": [{"item_id": "i1", "score": 1e400}]}"#.into()).as_bytes()).await
        }
        "/many" => stream.write_all(ok(items(1_001)).as_bytes()).await,
        "/long" => stream.write_all(ok("x".repeat(TOO_MUCH)).as_bytes()).await,
        "/endless" => {
            stream.write_all(endless.as_bytes()).await?;
            loop {
                stream.write_all(format!("{:x}\r\n{}\r\n", 1 << 14, " ".repeat(1 << 14)).as_bytes()).await?;
            }
        }
        "/drip" => {
            stream.write_all(endless.as_bytes()).await?;
            loop {
                stream.write_all(b"1\r\n \r\n").await?;
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        }
        "/heads" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n").await?;
            loop {
                stream.write_all(format!("x-more: {}\r\n", "x".repeat(1_000)).as_bytes()).await?;
            }
        }
        "/cut" => {
            stream.write_all(&ok(items(9)).as_bytes()[..80]).await?;
            stream.shutdown().await?;
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        "/shut" => Err(std::io::ErrorKind::BrokenPipe.into()),
        _ => stream.write_all(ok(items(3)).as_bytes()).await,
    }
}
