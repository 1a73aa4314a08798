//! Where a bucket is, and what its client is told.

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{self, BehaviorVersion, Region};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use url::Url;

use crate::objects::check::failure;
use crate::{ErrorKind, StoreError};

/// Where the bucket is, and how it is used.
#[derive(Clone)]
pub struct S3Options {
    /// The bucket, which is made if it is not there.
    pub bucket: String,
    /// What all keys begin with; empty for nothing.
    pub prefix: String,
    /// The server, where it is not Amazon's.
    pub endpoint: Option<String>,
    /// Its region.
    pub region: String,
    /// The access key's id and secret, and the session's token if it has one.
    pub credentials: (String, String, Option<String>),
    /// The bucket is the first part of the path, and not of the host's name.
    pub path_style: bool,
    /// Longest that one try of a call may take to be answered.
    pub timeout: Duration,
    /// Tries of a call, the first one counted.
    pub attempts: u32,
}

impl S3Options {
    /// The defaults for a bucket.
    pub fn new(bucket: impl Into<String>, id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            prefix: String::new(),
            endpoint: None,
            region: "us-east-1".to_owned(),
            credentials: (id.into(), secret.into(), None),
            path_style: false,
            timeout: Duration::from_secs(30),
            attempts: 4,
        }
    }

    /// What `s3://[ID:SECRET@]BUCKET[/PREFIX][?endpoint=URL&region=NAME&path_style=true]` says, and the defaults for the
    /// rest. Without an access key it is that of the environment: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and
    /// `AWS_SESSION_TOKEN`.
    ///
    /// # Errors
    /// `Invalid`, without what it says: there may be a secret in it. `Denied` where there is no access key.
    pub fn from_uri(uri: &str) -> Result<Self, StoreError> {
        let wrong = |detail: &str| failure("open", ErrorKind::Invalid, detail);
        let form = "this is not s3://[ID:SECRET@]BUCKET[/PREFIX][?endpoint=URL&region=NAME&path_style=true]";
        let url = Url::parse(uri).ok().filter(|url| url.scheme() == "s3").ok_or_else(|| wrong(form))?;
        let bucket = url.host_str().ok_or_else(|| wrong(form))?;
        let plain = |text: &str| crate::network::unescaped(text).ok_or_else(|| wrong(form));
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let (id, secret) = match url.password() {
            Some(secret) => (Some(plain(url.username())?), Some(plain(secret)?)),
            None => (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY")),
        };
        let (Some(id), Some(secret)) = (id, secret) else {
            let detail = "S3 needs an access key: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";
            return Err(failure("open", ErrorKind::Denied, detail));
        };
        let mut options = Self::new(bucket, id, secret);
        options.credentials.2 = variable("AWS_SESSION_TOKEN").filter(|_| url.password().is_none());
        options.prefix = plain(url.path())?.trim_matches('/').to_owned();
        for (name, value) in url.query_pairs() {
            match (&*name, &*value) {
                ("endpoint", endpoint) => options.endpoint = Some(endpoint.to_owned()),
                ("region", region) => options.region = region.to_owned(),
                ("path_style", "true") => options.path_style = true,
                ("path_style", "false") => options.path_style = false,
                _ => return Err(wrong(&format!("s3:// has no parameter {name:?} of that value"))),
            }
        }
        Ok(options)
    }

    /// A client.
    pub(super) fn client(&self) -> Client {
        let http =
            aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
        let (id, secret, token) = self.credentials.clone();
        let timeouts = TimeoutConfig::builder().connect_timeout(self.timeout).operation_attempt_timeout(self.timeout);
        let mut config = config::Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(self.region.clone()))
            .credentials_provider(Credentials::new(id, secret, token, None, "attune"))
            .http_client(http)
            .force_path_style(self.path_style)
            .timeout_config(timeouts.build())
            .retry_config(RetryConfig::standard().with_max_attempts(self.attempts));
        if let Some(endpoint) = &self.endpoint {
            config = config.endpoint_url(endpoint);
        }
        Client::from_conf(config.build())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_says_where_the_bucket_is() {
        let uri = "s3://id:s%2Fcrt@shop/lake/one?endpoint=http://127.0.0.1:9&region=eu-central-1&path_style=true";
        let options = S3Options::from_uri(uri).unwrap();
        assert_eq!((options.bucket.as_str(), options.prefix.as_str()), ("shop", "lake/one"));
        assert_eq!(options.credentials, ("id".to_owned(), "s/crt".to_owned(), None));
        assert_eq!(options.endpoint.as_deref(), Some("http://127.0.0.1:9"));
        assert!(options.path_style && options.region == "eu-central-1");
        for wrong in ["file:x", "s3://id:secret@", "s3://id:secret@b?path_style=secret", "s3://id:secret@b?x=1"] {
            let error = S3Options::from_uri(wrong).err().unwrap();
            assert!(error.kind == ErrorKind::Invalid && !error.detail.contains("secret"), "{error}");
        }
    }
}
