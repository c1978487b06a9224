//! From a storage uri to a store. The only file that knows the object store builders.
//!
//! A remote store is built twice: once to work with, patient, and once for the first contact, which must fail within
//! seconds and with the cause instead of trying again.

use std::{sync::Arc, time::Duration};

use apiary_core::Rng;
use object_store::{
    BackoffConfig, ClientConfigKey, ObjectStore, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut},
    azure::{AzureConfigKey, MicrosoftAzureBuilder},
    client::{HttpConnector, ReqwestConnector, SpawnedReqwestConnector},
    gcp::{GoogleCloudStorageBuilder, GoogleConfigKey},
    prefix::PrefixStore,
};
use url::Url;

use crate::{
    error::{BucketError, Result},
    local::{LocalStore, Place},
    near,
    uri::{self, Location, Remote, Scheme},
};

/// A store, and what there is to say about it.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) store: Arc<dyn ObjectStore>,
    /// The same store for the first contact, if it is behind a network.
    pub(crate) remote: Option<OpenedRemote>,
    /// Without credentials.
    pub(crate) uri: String,
    pub(crate) is_shared: bool,
    /// Whether a request is a system call at most.
    pub(crate) is_local: bool,
}

/// What the first contact needs to say what is wrong.
#[derive(Debug)]
pub(crate) struct OpenedRemote {
    pub(crate) impatient: Arc<dyn ObjectStore>,
    pub(crate) scheme: Scheme,
    pub(crate) bucket: String,
    pub(crate) endpoint: Option<String>,
    pub(crate) has_credentials: bool,
}

impl Opened {
    /// Whether LIST can begin at a key: not on S3's directory buckets, whose names end in this.
    pub(crate) fn list_is_ordered(&self) -> bool {
        let remote = self.remote.as_ref().filter(|remote| remote.scheme == Scheme::S3);
        remote.is_none_or(|remote| !remote.bucket.ends_with("--x-s3"))
    }

    /// A store from outside, for tests.
    pub(crate) fn given(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, remote: None, uri: "memory:".to_owned(), is_shared: false, is_local: true }
    }
}

/// How long to wait and how often to try.
struct Patience {
    connect: Duration,
    request: Duration,
    retries: usize,
    retry: Duration,
}

/// For work: a part of 8 MiB over a slow uplink takes most of a minute; a store that restarts is back in half.
const PATIENT: Patience = Patience {
    connect: Duration::from_secs(5),
    request: Duration::from_secs(60),
    retries: 5,
    retry: Duration::from_secs(30),
};

/// For the first contact: all of it fits into five seconds.
const IMPATIENT: Patience = Patience {
    connect: Duration::from_secs(3),
    request: Duration::from_secs(4),
    retries: 0,
    retry: Duration::from_secs(1),
};

impl Patience {
    fn retry(&self) -> RetryConfig {
        RetryConfig { backoff: BackoffConfig::default(), max_retries: self.retries, retry_timeout: self.retry }
    }

    fn client(&self) -> [(ClientConfigKey, String); 2] {
        let seconds = |wait: Duration| format!("{} seconds", wait.as_secs());
        [(ClientConfigKey::ConnectTimeout, seconds(self.connect)), (ClientConfigKey::Timeout, seconds(self.request))]
    }
}

/// Opens `uri`. A folder that is not there is made if `may_make`, else it is an error.
pub(crate) fn open(uri: &str, rng: &dyn Rng, may_make: bool) -> Result<Opened> {
    let home = std::env::var("HOME").ok();
    match uri::parse(uri, home.as_deref())? {
        Location::Folder(folder) => {
            let io = |source| BucketError::Io { operation: "use as a bucket the folder", path: folder.clone(), source };
            if !may_make && !folder.exists() {
                let place = std::path::absolute(&folder).unwrap_or_else(|_| folder.clone());
                return Err(BucketError::NoColony {
                    near: near::to_folder(&folder),
                    place: place.display().to_string(),
                });
            }
            let place = Place::open(&folder, rng.next_u64()).map_err(io)?;
            let uri = Url::from_file_path(place.root()).map_or_else(|()| uri.to_owned(), |url| url.to_string());
            let store = Arc::new(LocalStore::new(place));
            Ok(Opened { store, remote: None, uri, is_shared: true, is_local: true })
        }
        Location::Remote(remote) => open_remote(&remote),
    }
}

/// A store built by one of the builders.
struct Built {
    store: Arc<dyn ObjectStore>,
    endpoint: Option<String>,
    has_credentials: bool,
}

fn open_remote(remote: &Remote) -> Result<Opened> {
    let build = |patience| {
        let built = match remote.scheme {
            Scheme::S3 => s3(remote, patience),
            Scheme::Gcs => gcs(remote, patience),
            Scheme::Azure => azure(remote, patience),
        };
        built.map_err(|error| {
            let (why, hint) = explain(remote.scheme, &error);
            BucketError::Uri { uri: remote.shown(None), why, hint }
        })
    };
    let (work, first) = (build(&PATIENT)?, build(&IMPATIENT)?);
    let uri = remote.shown(work.endpoint.as_deref());
    let opened = OpenedRemote {
        impatient: rooted(first.store, &remote.prefix),
        scheme: remote.scheme,
        bucket: remote.bucket.clone(),
        endpoint: work.endpoint,
        has_credentials: work.has_credentials,
    };
    let store = rooted(work.store, &remote.prefix);
    Ok(Opened { store, remote: Some(opened), uri, is_shared: true, is_local: false })
}

/// Why no store can be built, and what to type. The builders know nothing of the uri and of the environment.
fn explain(scheme: Scheme, error: &object_store::Error) -> (String, String) {
    let (store, why) = match error {
        object_store::Error::Generic { store, source } => (*store, source.to_string()),
        other => ("", other.to_string()),
    };
    let (why, hint) = match (scheme, store) {
        // A word where a number, a time or yes or no belongs.
        (Scheme::S3, "Config") => (why, "check the uri's options, and AWS_… in the environment"),
        (Scheme::Gcs, "Config") => (why, "check the uri's options, and GOOGLE_… in the environment"),
        (Scheme::Azure, "Config") => (why, "check the uri's options, and AZURE_… in the environment"),
        (Scheme::S3, _) => (why, S3_KEY),
        (Scheme::Gcs, _) => (why, GCS_KEY),
        (Scheme::Azure, _) if why == "Account must be specified" => {
            ("it names no storage account".to_owned(), AZURE_ACCOUNT)
        }
        (Scheme::Azure, _) => (why, AZURE_KEY),
    };
    (why, hint.to_owned())
}

const S3_KEY: &str = "set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or add \
                      ?access_key_id=…&secret_access_key=… to the uri";
const GCS_KEY: &str = "set GOOGLE_APPLICATION_CREDENTIALS to the file of a key, or add \
                       ?service_account=/path/to/key.json to the uri";
const AZURE_ACCOUNT: &str = "set AZURE_STORAGE_ACCOUNT_NAME, or add ?account_name=… to the uri";
const AZURE_KEY: &str = "check AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY and AZURE_STORAGE_ENDPOINT, or \
                         ?account_name=…&account_key=…&endpoint=… of the uri";

fn rooted(store: Arc<dyn ObjectStore>, prefix: &str) -> Arc<dyn ObjectStore> {
    match object_store::path::Path::parse(prefix) {
        Ok(path) if !prefix.is_empty() => Arc::new(PrefixStore::new(store, path)),
        _ => store,
    }
}

/// Requests run on the runtime that opened the bucket, wherever they are asked for: connections are shared, and one
/// whose task sits behind a busy bee would hold up heartbeats.
#[derive(Debug)]
struct OwnThreads;

impl HttpConnector for OwnThreads {
    fn connect(&self, options: &object_store::ClientOptions) -> object_store::Result<object_store::client::HttpClient> {
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => SpawnedReqwestConnector::new(runtime).connect(options),
            Err(_) => ReqwestConnector::default().connect(options),
        }
    }
}

fn s3(remote: &Remote, patience: &Patience) -> object_store::Result<Built> {
    use AmazonS3ConfigKey as Name;
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(&remote.bucket).with_http_connector(OwnThreads);
    builder = builder.with_retry(patience.retry());
    // The environment must not turn off what everything stands on.
    builder = builder.with_conditional_put(S3ConditionalPut::ETagMatch);
    for (name, value) in patience.client() {
        builder = builder.with_config(Name::Client(name), value);
    }
    for (name, value) in &remote.options {
        builder = match *name {
            // The environment's AWS_ENDPOINT_URL_S3 would come before the plain one.
            "endpoint" => builder.with_config(Name::Endpoint, value).with_config(Name::S3Endpoint, value),
            "path_style" => builder.with_virtual_hosted_style_request(value == "false"),
            name => builder.with_config(name.parse()?, value),
        };
    }
    let endpoint = builder.get_config_value(&Name::S3Endpoint).or_else(|| builder.get_config_value(&Name::Endpoint));
    // Who writes http:// means it.
    if endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://")) {
        builder = builder.with_allow_http(true);
    }
    let sources = [
        Name::AccessKeyId,
        Name::WebIdentityTokenFile,
        Name::ContainerCredentialsRelativeUri,
        Name::ContainerCredentialsFullUri,
    ];
    let has_credentials = sources.iter().any(|source| builder.get_config_value(source).is_some());
    Ok(Built { store: Arc::new(builder.build()?), endpoint, has_credentials })
}

fn gcs(remote: &Remote, patience: &Patience) -> object_store::Result<Built> {
    use GoogleConfigKey as Name;
    let mut builder =
        GoogleCloudStorageBuilder::from_env().with_bucket_name(&remote.bucket).with_http_connector(OwnThreads);
    builder = builder.with_retry(patience.retry());
    for (name, value) in patience.client() {
        builder = builder.with_config(Name::Client(name), value);
    }
    let endpoint = remote.option("endpoint").map(str::to_owned);
    for (name, value) in &remote.options {
        builder = match *name {
            "endpoint" if value.starts_with("http://") => {
                builder.with_config(Name::Client(ClientConfigKey::AllowHttp), "true").with_config(Name::BaseUrl, value)
            }
            "endpoint" => builder.with_config(Name::BaseUrl, value),
            name => builder.with_config(name.parse()?, value),
        };
    }
    let sources = [Name::ServiceAccount, Name::ServiceAccountKey, Name::ApplicationCredentials];
    let has_credentials = sources.iter().any(|source| builder.get_config_value(source).is_some());
    Ok(Built { store: Arc::new(builder.build()?), endpoint, has_credentials })
}

fn azure(remote: &Remote, patience: &Patience) -> object_store::Result<Built> {
    use AzureConfigKey as Name;
    let mut builder =
        MicrosoftAzureBuilder::from_env().with_container_name(&remote.bucket).with_http_connector(OwnThreads);
    builder = builder.with_retry(patience.retry());
    for (name, value) in patience.client() {
        builder = builder.with_config(Name::Client(name), value);
    }
    for (name, value) in &remote.options {
        builder = builder.with_config(name.parse()?, value);
    }
    let endpoint = builder.get_config_value(&Name::Endpoint);
    if endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://")) {
        builder = builder.with_config(Name::Client(ClientConfigKey::AllowHttp), "true");
    }
    let sources = [Name::AccessKey, Name::SasKey, Name::Token, Name::ClientSecret, Name::FederatedTokenFile];
    let has_credentials = sources.iter().any(|source| builder.get_config_value(source).is_some());
    Ok(Built { store: Arc::new(builder.build()?), endpoint, has_credentials })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said, with builders that know nothing of this machine's environment.
    fn said<T: std::fmt::Debug>(scheme: Scheme, built: object_store::Result<T>) -> String {
        let (why, hint) = explain(scheme, &built.unwrap_err());
        format!("{why}; {hint}")
    }

    #[test]
    fn a_store_that_cannot_be_built_says_which_variables_and_options_to_set() {
        use {AmazonS3ConfigKey as S3Name, AzureConfigKey as AzureName, GoogleConfigKey as GcsName};
        let s3 = || AmazonS3Builder::new().with_bucket_name("b");
        let gcs = || GoogleCloudStorageBuilder::new().with_bucket_name("b");
        let azure = || MicrosoftAzureBuilder::new().with_container_name("c");
        let ours = || azure().with_account("bees");
        let perhaps = || (ClientConfigKey::AllowHttp, "perhaps");
        let not_bool = "failed to parse \"perhaps\" as boolean; check the uri's options, and";
        let table = [
            (said(Scheme::S3, s3().with_access_key_id("k").build()), format!("Missing SecretAccessKey; {S3_KEY}")),
            (said(Scheme::S3, s3().with_secret_access_key("s").build()), format!("Missing AccessKeyId; {S3_KEY}")),
            (
                said(Scheme::S3, s3().with_config(S3Name::Client(perhaps().0), perhaps().1).build()),
                format!("{not_bool} AWS_… in the environment"),
            ),
            (
                said(Scheme::Gcs, gcs().with_service_account_path("/nowhere/key.json").build()),
                format!(
                    "GCP credential error: Unable to open service account file from /nowhere/key.json: \
                     No such file or directory (os error 2); {GCS_KEY}"
                ),
            ),
            (
                said(Scheme::Gcs, gcs().with_config(GcsName::Client(perhaps().0), perhaps().1).build()),
                format!("{not_bool} GOOGLE_… in the environment"),
            ),
            (said(Scheme::Azure, azure().build()), format!("it names no storage account; {AZURE_ACCOUNT}")),
            (
                said(Scheme::Azure, ours().with_config(AzureName::Client(perhaps().0), perhaps().1).build()),
                format!("{not_bool} AZURE_… in the environment"),
            ),
        ];
        for (said, expected) in table {
            assert_eq!(said, expected);
        }
        let said = said(Scheme::Azure, ours().with_access_key("s3cret!").build());
        assert!(said.ends_with(AZURE_KEY) && !said.contains("s3cret"), "{said}");
    }

    #[test]
    fn a_store_that_cannot_be_built_is_named_without_its_secrets() {
        let uris = [
            ("s3://b/p?allow_http=perhaps&access_key_id=k&secret_access_key=s3cret", "AWS_… in the environment"),
            ("gs://b/p?service_account_key=s3cret", "GOOGLE_APPLICATION_CREDENTIALS"),
            ("az://c/p?account_name=a&account_key=s3cret!", "AZURE_STORAGE_ACCOUNT_KEY"),
        ];
        for (uri, advice) in uris {
            let error = open(uri, &apiary_core::SeededRng::new(1), false).unwrap_err();
            let said = format!("{error} {error:?}");
            assert!(said.contains(&uri[..8]) && error.hint().unwrap().contains(advice), "{said}");
            assert!(!said.contains("s3cret"), "{said}");
        }
    }
}
