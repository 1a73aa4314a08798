//! gRPC by hand: one message in, one out, over HTTP/2. What comes back is bytes, so that a test can look for what should
//! not be in them.

use std::net::SocketAddr;

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use prost::Message;
use tokio::runtime::Runtime;
use tonic::Code;

/// Bytes before each message: whether it is compressed, and its length.
const FRAME_BYTES: usize = 5;

/// A client of one server.
pub struct Rpc {
    runtime: Runtime,
    client: Client<HttpConnector, Full<Bytes>>,
    address: SocketAddr,
}

/// What came back.
#[derive(Debug)]
pub struct Said {
    pub code: Code,
    /// Of the status, as the header has it.
    pub detail: String,
    /// The message, if there is one.
    pub message: Bytes,
}

impl Said {
    /// The message of an answer; panics where there is none.
    pub fn ok<M: Message + Default>(&self) -> M {
        assert_eq!(self.code, Code::Ok, "{}", self.detail);
        M::decode(self.message.clone()).unwrap()
    }

    pub fn contains(&self, mark: &str) -> bool {
        self.message.windows(mark.len()).any(|window| window == mark.as_bytes()) || self.detail.contains(mark)
    }
}

impl Rpc {
    pub fn new(address: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
        Self { runtime, client, address }
    }

    /// Calls `/package.Service/Method`.
    pub fn call(&self, method: &str, key: &str, message: &impl Message) -> Said {
        self.send(method, key, &message.encode_to_vec())
    }

    /// The same with a message that is encoded already.
    pub fn send(&self, method: &str, key: &str, message: &[u8]) -> Said {
        let mut frame = BytesMut::with_capacity(FRAME_BYTES + message.len());
        frame.put_u8(0);
        frame.put_u32(message.len() as u32);
        frame.put_slice(message);
        let request = http::Request::post(format!("http://{}{method}", self.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("authorization", format!("Bearer {key}"))
            .body(Full::new(frame.freeze()))
            .unwrap();
        self.runtime.block_on(async {
            let (parts, body) = self.client.request(request).await.unwrap().into_parts();
            let body = body.collect().await.unwrap();
            let trailers = body.trailers().cloned().unwrap_or_default();
            let said = |name: &str| {
                let value = trailers.get(name).or_else(|| parts.headers.get(name));
                value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            };
            let code = said("grpc-status").and_then(|code| code.parse::<i32>().ok());
            let mut bytes = body.to_bytes();
            let message = if bytes.len() > FRAME_BYTES { bytes.split_off(FRAME_BYTES) } else { Bytes::new() };
            let code = Code::from_i32(code.unwrap_or_else(|| panic!("{method}: no status, HTTP {}", parts.status)));
            Said { code, detail: said("grpc-message").unwrap_or_default(), message }
        })
    }
}
