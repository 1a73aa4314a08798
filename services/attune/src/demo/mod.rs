//! `attune demo`: a server on this machine alone, a walk through what it can do, and then the server for you.
//!
//! The walk is an ordinary client: everything it shows went over the port, through the key, the queue and the batcher.

mod catalogue;
mod chart;
mod crowd;
mod experiment;
mod lists;
mod walk;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use attune_load::texts::bench_texts;
use attune_sentiment::data::Corpus;
use clap::Args;
use tokio::sync::oneshot;

use self::crowd::Crowd;
use self::lists::Shop;
use crate::client::{self, Rest};
use crate::config::{Config, ServerFlags, Tls};
use crate::serve::{self, Server};
use crate::term::{Style, styled};
use crate::{films, logging, texts};

/// What can be typed after `attune demo`.
#[derive(Debug, Args)]
#[command(after_help = "\
Needs the models: attune models pull. The server listens on this machine alone,
with a key for this run; on another port where the usual one is taken.

Examples:
  attune demo
  attune demo --once --precision int8")]
pub struct Options {
    /// Flags of the server.
    #[command(flatten)]
    pub flags: ServerFlags,
    /// End after the walk
    #[arg(long)]
    once: bool,
}

/// Milliseconds that a store may take for one call.
const STORE_MS_MAX: u64 = 60_000;
/// Port of the demo where the configured one is taken.
const ANY_PORT: &str = "127.0.0.1:0";

/// Starts a server, walks through it and, unless asked to end, stays up until Ctrl-C.
///
/// # Errors
/// The models are missing, the server cannot start, or an answer is not what the walk expects.
pub fn run(config: &Config, options: &Options) -> Result<()> {
    let mut config = config.clone();
    // The walk is what should be read; what goes wrong still shows.
    if config.log == Config::default().log {
        config.log = "warn".into();
    }
    // The walk asks by address, on this machine, and a certificate is for a name.
    config.server.tls = Tls::default();
    // On a busy machine a demo should be slow, not refuse.
    config.inference.queue_wait_ms_max = u64::from(u32::MAX);
    config.recommendation.sources_ms_max = u64::from(u32::MAX);
    config.stores.relational_ms_max = STORE_MS_MAX;
    config.stores.search_ms_max = STORE_MS_MAX;
    config.stores.documents_ms_max = STORE_MS_MAX;
    let texts = bench_texts(&texts::folder(&config), walk::TEXTS)?;
    let corpus = Corpus::read(&texts::folder(&config))?;
    let runtime = serve::runtime()?;
    runtime.block_on(async {
        let traces = logging::init(&config)?;
        if tokio::net::TcpListener::bind(&config.server.listen).await.is_err() {
            config.server.listen = ANY_PORT.into();
        }
        let server = Server::prepare(&config, true).await?;
        serve::report(&config, &server);
        let key = server.key.as_ref().context("a demo has a key")?.secret.clone();
        let url = format!("http://{}", server.address);
        let (database, folder) = (films::path(&config), serve::demo_folder(&config, server.address));
        let told = serve::stop_signal()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        let walk = async {
            walk::run(&url, &key, &texts, &corpus).await?;
            through_the_shop(&url, &key, &database, &folder).await?;
            if !options.once {
                how_to_call(&url, &key);
                std::future::pending::<()>().await;
            }
            anyhow::Ok(())
        };
        let walked = tokio::select! {
            walked = walk => walked,
            () = told => Ok(()),
        };
        // Wherever the walk ended, the server stops as it should.
        let _ = stop.send(());
        serving.await??;
        traces.flush().await;
        walked
    })
}

/// The films, and what people make of them.
async fn through_the_shop(url: &str, key: &str, database: &Path, folder: &Path) -> Result<()> {
    let films = films::read(database).await?;
    catalogue::run(url, key, &films, folder).await?;
    let mut shop = Shop { rest: Rest::new(url, key), crowd: Crowd::of(&films)?, sent: BTreeMap::new() };
    lists::run(&mut shop, client::keyed(url, key).await?).await?;
    experiment::run(&mut shop).await?;
    chart::run(&shop).await
}

fn how_to_call(url: &str, key: &str) {
    let json = "-H 'content-type: application/json'";
    say!("\n{}\n", styled(Style::Bold, "It is yours now. Copy and paste:"));
    say!("  export ATTUNE_KEY={key}\n");
    say!(
        "  curl {url}/v1/embeddings -H \"authorization: Bearer $ATTUNE_KEY\" {json} \\\n       \
         -d '{{\"model\": \"all-MiniLM-L6-v2\", \"input\": \"A man is eating food.\"}}'\n"
    );
    say!(
        "  curl {url}/v1/sentiment -H \"authorization: Bearer $ATTUNE_KEY\" {json} \\\n       \
         -d '{{\"inputs\": [\"What a wonderful film.\", \"It broke after a day.\"]}}'\n"
    );
    say!(
        "  curl {url}/v1/recommend -H \"authorization: Bearer $ATTUNE_KEY\" {json} \\\n       \
         -d '{{\"user_id\": \"zoe\", \"k\": 5, \"explain\": true}}'\n"
    );
    say!(
        "  curl '{url}/v1/items:search?q=a+sad+love+story&mode=semantic&k=3' \\\n       \
         -H \"authorization: Bearer $ATTUNE_KEY\"\n"
    );
    say!("  curl {url}/v1/models -H \"authorization: Bearer $ATTUNE_KEY\"\n");
    say!("  {}   every route, offline", styled(Style::Cyan, format!("{url}/docs")));
    say!("\nCtrl-C stops it.");
}
