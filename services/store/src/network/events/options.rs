//! Where Kafka is, and what its clients are told.

use std::time::Duration;

use rdkafka::config::ClientConfig;

use crate::events::Settings;
use crate::events::check::failure;
use crate::{ErrorKind, StoreError};

/// Where Kafka is, and how it is used.
#[derive(Clone)]
pub struct KafkaOptions {
    /// `HOST:PORT`, or several of them with commas between.
    pub brokers: String,
    /// Name and password for SASL PLAIN, where the brokers ask for them.
    pub credentials: Option<(String, String)>,
    /// What the names of all topics and groups begin with.
    pub prefix: String,
    /// What topics are made with.
    pub settings: Settings,
    /// Longest that a call waits for the brokers.
    pub timeout: Duration,
}

impl KafkaOptions {
    /// The defaults for these brokers.
    pub fn new(brokers: impl Into<String>) -> Self {
        Self {
            brokers: brokers.into(),
            credentials: None,
            prefix: "attune".to_owned(),
            settings: Settings::default(),
            timeout: Duration::from_secs(30),
        }
    }
}

impl KafkaOptions {
    /// What `kafka://[NAME:PASSWORD@]HOST:PORT[,HOST:PORT...][?prefix=NAME]` says, and the defaults for the rest.
    ///
    /// # Errors
    /// `Invalid`, without what it says: there may be a password in it.
    pub fn from_uri(uri: &str) -> Result<Self, StoreError> {
        let wrong = || {
            let detail = "this is not kafka://[NAME:PASSWORD@]HOST:PORT[,HOST:PORT...][?prefix=NAME]";
            failure("open", ErrorKind::Invalid, detail)
        };
        // Not by a parser of URLs: they know one host.
        let rest = uri.strip_prefix("kafka://").ok_or_else(wrong)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (user, brokers) = rest.rsplit_once('@').map_or((None, rest), |(user, brokers)| (Some(user), brokers));
        let brokers = brokers.trim_end_matches('/');
        if brokers.is_empty() || brokers.contains(['/', ' ']) {
            return Err(wrong());
        }
        let mut options = Self::new(brokers);
        if let Some(user) = user {
            let (name, password) = user.split_once(':').ok_or_else(wrong)?;
            let plain = |text| crate::network::unescaped(text).ok_or_else(wrong);
            options.credentials = Some((plain(name)?, plain(password)?));
        }
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "prefix" => options.prefix = value.into_owned(),
                _ => return Err(failure("open", ErrorKind::Invalid, format!("kafka:// has no parameter {name:?}"))),
            }
        }
        Ok(options)
    }
}

/// What every client is made with.
pub(super) fn client_config(options: &KafkaOptions) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &options.brokers).set("client.id", "attune");
    config.set("socket.keepalive.enable", "true").set("reconnect.backoff.max.ms", "1000");
    config.set("socket.timeout.ms", options.timeout.as_millis().clamp(1_000, 300_000).to_string());
    // A topic that was made a moment ago is looked for soon.
    config.set("topic.metadata.refresh.fast.interval.ms", "50");
    if let Some((name, password)) = &options.credentials {
        config.set("security.protocol", "SASL_PLAINTEXT").set("sasl.mechanisms", "PLAIN");
        config.set("sasl.username", name).set("sasl.password", password);
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_says_where_kafka_is() {
        let options = KafkaOptions::from_uri("kafka://me:s%40crt@a:1,b:2/?prefix=shop").unwrap();
        assert_eq!(options.brokers, "a:1,b:2");
        assert_eq!(options.credentials, Some(("me".to_owned(), "s@crt".to_owned())));
        assert_eq!(options.prefix, "shop");
        for wrong in ["redis://a", "kafka://", "kafka://a b", "kafka://secret@a:1", "kafka://a:1?x=1"] {
            let error = KafkaOptions::from_uri(wrong).err().unwrap();
            assert!(error.kind == ErrorKind::Invalid && !error.detail.contains("secret"), "{error}");
        }
    }
}
