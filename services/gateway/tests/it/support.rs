//! A server with a tiny model of random weights, on a port of its own.

use std::{net::SocketAddr, sync::Arc};

use attune_api::{Scope, v1::inference_client::InferenceClient};
use attune_gateway::{
    DEFAULT_TENANT, Front, GatewayConfig, KeySpec, KeyStore, NewKey, Role, Services, TablesNow, TokenConfig, Tokens,
    Upstreams,
};
use attune_inference::{
    Inference, InferenceConfig, ModelInfo, ModelSpec, PrecisionChoice, Task,
    schedule::Limits,
    testing::{write_tiny_adapter, write_tiny_model},
};
use attune_store::{embedded, relational::Relational};
use tempfile::TempDir;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};
use tonic::{
    Request, Status,
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

use crate::raw::{Answer, Ask, read_answer};

pub const EMBEDDER: &str = "tiny";
pub const CLASSIFIER: &str = "tiny-sentiment";
/// Token ids of the tiny model are below this.
pub const VOCABULARY: u32 = 27;

/// A running server.
pub struct Server {
    pub address: SocketAddr,
    /// The admin key.
    pub key: String,
    pub keys: KeyStore,
    pub inference: Inference,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
    callers: Callers,
}

/// Keys in a store of their own.
pub async fn keys() -> (KeyStore, NewKey, TempDir) {
    let (rows, folder) = rows().await;
    let (keys, admin) = KeyStore::in_memory(rows, &DEFAULT_TENANT.parse().unwrap()).await.unwrap();
    (keys, admin, folder)
}

async fn rows() -> (Arc<dyn Relational>, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let rows = embedded::relational::open(&folder.path().join("relational.db")).await.unwrap();
    (Arc::new(rows), folder)
}

/// Who may call a server.
#[derive(Clone)]
struct Callers {
    keys: KeyStore,
    admin: String,
    tokens: Option<Tokens>,
    tables: Option<Arc<TablesNow>>,
    _stores: Arc<TempDir>,
}

impl Callers {
    async fn new(issuers: Vec<TokenConfig>) -> Self {
        let (rows, folder) = rows().await;
        let (keys, admin) = KeyStore::in_memory(Arc::clone(&rows), &DEFAULT_TENANT.parse().unwrap()).await.unwrap();
        let tokens = match issuers.is_empty() {
            true => None,
            false => Some(Tokens::open(issuers, rows).await.unwrap()),
        };
        Self { keys, admin: admin.secret, tokens, tables: None, _stores: Arc::new(folder) }
    }
}

/// Puts a key on every call.
#[derive(Clone)]
pub struct Key(Option<String>);

impl Interceptor for Key {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(key) = &self.0 {
            request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
        }
        Ok(request)
    }
}

pub type Client = InferenceClient<InterceptedService<Channel, Key>>;

/// An embedder and, by an adapter on the same weights, a classifier.
fn tiny(queue: Limits) -> Inference {
    let folder = tempfile::tempdir().unwrap();
    let (base, adapter) = (folder.path().join("tiny"), folder.path().join("adapter"));
    write_tiny_model(&base, 1).unwrap();
    write_tiny_adapter(&adapter, 2).unwrap();
    let spec = |name: &str, adapter| ModelSpec {
        name: name.to_owned(),
        aliases: Vec::new(),
        path: base.clone(),
        adapter,
        precision: None,
        max_tokens: None,
    };
    let models = vec![spec(EMBEDDER, None), spec(CLASSIFIER, Some(adapter))];
    let config =
        InferenceConfig { workers: Some(1), queue, precision: PrecisionChoice::F32, ..InferenceConfig::default() };
    Inference::start(config, models).unwrap()
}

impl Server {
    pub async fn start() -> Self {
        Self::with(GatewayConfig::default()).await
    }

    pub async fn with(config: GatewayConfig) -> Self {
        Self::run(config, tiny(Limits::default())).await
    }

    pub async fn with_short_queue() -> Self {
        Self::run(GatewayConfig::default(), tiny(Limits { queue_texts_max: 16, ..Limits::default() })).await
    }

    pub async fn with_tokens(tokens: TokenConfig) -> Self {
        Self::with_issuers(vec![tokens]).await
    }

    pub async fn with_issuers(issuers: Vec<TokenConfig>) -> Self {
        let callers = Callers::new(issuers).await;
        Self::serve(GatewayConfig::default(), tiny(Limits::default()), Services::default(), callers).await
    }

    /// One whose segments are on a GPU.
    pub async fn with_tables(tables: Arc<TablesNow>) -> Self {
        let callers = Callers { tables: Some(tables), ..Callers::new(Vec::new()).await };
        Self::serve(GatewayConfig::default(), tiny(Limits::default()), Services::default(), callers).await
    }

    async fn run(config: GatewayConfig, inference: Inference) -> Self {
        Self::serve(config, inference, Services::default(), Callers::new(Vec::new()).await).await
    }

    /// Another server, with the keys of this one.
    pub async fn beside(&self) -> Self {
        Self::serve(GatewayConfig::default(), tiny(Limits::default()), Services::default(), self.callers.clone()).await
    }

    /// A gateway before servers with the same keys. It has no models of its own.
    pub async fn before(replicas: &[&Self], config: GatewayConfig) -> Self {
        let addresses = replicas.iter().map(|replica| replica.address.to_string()).collect();
        let upstreams = Upstreams::new([(Role::Inference, addresses)].into()).unwrap();
        let callers = match replicas.first() {
            Some(replica) => replica.callers.clone(),
            None => Callers::new(Vec::new()).await,
        };
        let none = Inference::start(InferenceConfig::default(), Vec::new()).unwrap();
        Self::serve(config, none, Services { upstreams, ..Services::default() }, callers).await
    }

    async fn serve(config: GatewayConfig, inference: Inference, services: Services, callers: Callers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async { _ = stopped.await };
        let Callers { keys, admin, tokens, tables, .. } = callers.clone();
        let front = Front { keys: keys.clone(), tokens, shared: None, tables };
        let serve = attune_gateway::serve(listener, config, inference.clone(), front, services, shutdown);
        let task = tokio::spawn(async move { _ = serve.await.expect("the server serves") });
        Self { address, key: admin, keys, inference, stop: Some(stop), task, callers }
    }

    /// Tells the server to drain.
    pub fn stop(&mut self) {
        let _ = self.stop.take().expect("stopped once").send(());
    }

    /// Ends it at once, with all its connections.
    pub async fn kill(&mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }

    /// Waits until it has.
    pub async fn stopped(&mut self) {
        (&mut self.task).await.unwrap();
    }

    /// Width of the tiny model's embeddings.
    pub fn dimensions(&self) -> usize {
        let models = self.inference.models();
        let dimensions = |model: &ModelInfo| match model.task {
            Task::Embed { dimensions } => Some(dimensions),
            Task::Classify { .. } => None,
        };
        models.iter().find_map(dimensions).unwrap()
    }

    /// A new key with these scopes.
    pub async fn key_with(&self, scopes: &[Scope]) -> String {
        let tenant = DEFAULT_TENANT.parse().unwrap();
        self.keys.create("test", &tenant, KeySpec::new("of a test", scopes)).await.unwrap().secret
    }

    /// A new tenant, and an admin key of it.
    pub async fn tenant(&self, name: &str) -> String {
        let made = self.ask(Ask::put(&format!("/v1/tenants/{name}"), r#"{"title":"of a test"}"#)).await;
        assert_eq!(made.status, 201, "{}", made.json());
        let spec = KeySpec::new("of a test", &[Scope::Admin]);
        self.keys.create("test", &name.parse().unwrap(), spec).await.unwrap().secret
    }

    /// Sends `ask` with the admin key.
    pub async fn ask(&self, ask: Ask) -> Answer {
        ask.key(&self.key).send(self.address).await
    }

    /// Posts JSON without saying how long it is.
    pub async fn ask_chunked(&self, path: &str, body: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let (mut reader, mut writer) = stream.split();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n",
            self.key
        );
        let write = async {
            writer.write_all(head.as_bytes()).await?;
            for piece in body.as_bytes().chunks(64 << 10) {
                writer.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await?;
                writer.write_all(piece).await?;
                writer.write_all(b"\r\n").await?;
            }
            writer.write_all(b"0\r\n\r\n").await
        };
        let (answer, _) = tokio::join!(read_answer(&mut reader), write);
        answer.expect("an answer")
    }

    /// A gRPC client with the admin key.
    pub async fn client(&self) -> Client {
        self.client_with(Some(&self.key)).await
    }

    pub async fn client_with(&self, key: Option<&str>) -> Client {
        InferenceClient::with_interceptor(self.channel().await, Key(key.map(str::to_owned)))
    }

    pub async fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    /// A plain request is answered as ever.
    pub async fn still_serves(&self) {
        let answer = self.ask(Ask::post("/v1/sentiment", r#"{"inputs":["still there?"]}"#)).await;
        assert_eq!(answer.status, 200, "{}", answer.json());
    }
}
