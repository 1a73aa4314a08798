//! TLS of the port, with certificates that may be renewed while it is open.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio_rustls::TlsAcceptor;

use crate::metrics;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Where certificate and key are, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, the server's own certificate first.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Files that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("TLS cannot be offered with {path}: {why} (server.tls)")]
pub struct TlsError {
    path: PathBuf,
    why: String,
}

/// What is offered to clients that connect now. Cheap to clone.
#[derive(Clone)]
pub struct Tls {
    files: TlsFiles,
    current: Arc<RwLock<Arc<ServerConfig>>>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// They cannot be read, or are no certificate with its key.
    pub fn open(files: TlsFiles) -> Result<Self, TlsError> {
        let config = read(&files)?;
        Ok(Self { files, current: Arc::new(RwLock::new(Arc::new(config))) })
    }

    /// For one connection.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)).into()
    }

    /// Reads the files again whenever they change, until it is dropped. Files that are not good, as while they are being
    /// written, change nothing; connections that are open stay as they are.
    pub(crate) async fn keep_current(self) {
        let mut watch = Watch::new(self);
        loop {
            metrics::certificate_is_stale(watch.wrong.is_some());
            tokio::time::sleep(LOOK).await;
            match watch.look() {
                None => {}
                Some(News::Renewed) => tracing::info!("the certificate was read again"),
                Some(News::Wrong(error)) => tracing::warn!(%error, "the certificate stays as it is"),
            }
        }
    }
}

/// Looks after the files of a certificate.
struct Watch {
    tls: Tls,
    /// As they were when they were last good.
    seen: [Option<SystemTime>; 2],
    /// What is wrong with those that are there now.
    wrong: Option<String>,
}

/// What has become of the files.
#[derive(Debug, PartialEq, Eq)]
enum News {
    /// What is in them is offered from now on.
    Renewed,
    /// They cannot be used.
    Wrong(String),
}

impl Watch {
    fn new(tls: Tls) -> Self {
        Self { seen: changed(&tls.files), tls, wrong: None }
    }

    /// Reads files that are others than those in use, as often as it is asked: certificate and key are not written at
    /// once, and the second may come with the time of the first. What is wrong with them is news once.
    fn look(&mut self) -> Option<News> {
        let now = changed(&self.tls.files);
        if now == self.seen {
            self.wrong = None;
            return None;
        }
        match read(&self.tls.files) {
            Ok(config) => {
                *self.tls.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
                (self.seen, self.wrong) = (now, None);
                Some(News::Renewed)
            }
            Err(error) => {
                let wrong = error.to_string();
                let is_known = self.wrong.replace(wrong.clone()).is_some_and(|known| known == wrong);
                (!is_known).then_some(News::Wrong(wrong))
            }
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

/// When the files were written last.
fn changed(files: &TlsFiles) -> [Option<SystemTime>; 2] {
    [&files.certificate, &files.key].map(|path| std::fs::metadata(path).and_then(|file| file.modified()).ok())
}

fn read(files: &TlsFiles) -> Result<ServerConfig, TlsError> {
    let chain = CertificateDer::pem_file_iter(&files.certificate).and_then(Iterator::collect);
    let chain: Vec<_> = chain.map_err(|error| failed(&files.certificate, error))?;
    if chain.is_empty() {
        return Err(failed(&files.certificate, "it has no certificate in PEM"));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| failed(&files.key, error))?;
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| failed(&files.certificate, error))?;
    let config = builder.with_no_client_auth().with_single_cert(chain, key);
    let mut config = config.map_err(|error| failed(&files.certificate, error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn failed(path: &Path, why: impl ToString) -> TlsError {
    TlsError { path: path.to_owned(), why: why.to_string() }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Puts the certificate of one pair of tests and the key of another there, written at some second.
    fn put(files: &TlsFiles, certificate: &str, key: &str, second: u64) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/certificates");
        let from = [format!("{certificate}.pem"), format!("{key}.key")];
        for (from, to) in from.iter().zip([&files.certificate, &files.key]) {
            fs::write(to, fs::read(folder.join(from)).unwrap()).unwrap();
            let written = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
            fs::File::options().write(true).open(to).unwrap().set_modified(written).unwrap();
        }
    }

    #[test]
    fn what_is_wrong_with_a_certificate_is_news_once() {
        let folder = tempfile::tempdir().unwrap();
        let files = TlsFiles { certificate: folder.path().join("chain.pem"), key: folder.path().join("key.pem") };
        put(&files, "one", "one", 1);
        let mut watch = Watch::new(Tls::open(files.clone()).unwrap());
        assert_eq!(watch.look(), None);

        put(&files, "two", "one", 2);
        assert!(matches!(watch.look(), Some(News::Wrong(why)) if why.contains("server.tls")));
        assert!((0..3).all(|_| watch.look().is_none()) && watch.wrong.is_some());
        fs::remove_file(&files.key).unwrap();
        assert!(matches!(watch.look(), Some(News::Wrong(why)) if why.contains("key.pem")), "another reason");

        put(&files, "one", "one", 1);
        assert_eq!((watch.look(), &watch.wrong), (None, &None), "what is in use is back");
        put(&files, "two", "two", 3);
        assert_eq!((watch.look(), &watch.wrong), (Some(News::Renewed), &None));
        assert_eq!(watch.look(), None);
    }
}
