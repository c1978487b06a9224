//! The first request to a bucket, and what its failure means to a person: no bucket, no right, no road.

use std::error::Error;

use apiary_core::limits::FIRST_CONTACT_MAX;
use futures::TryStreamExt;
use object_store::{Error as StoreError, ObjectStore};

use crate::{
    bucket::Bucket,
    error::{BucketError, Result},
    layout,
    open::OpenedRemote,
    uri::Scheme,
};

/// Most of a store's own words that an error repeats.
const WORDS_MAX: usize = 300;

impl Bucket {
    /// Looks into the bucket, and says within five seconds whether it is there, answers, and lets us in. 1 LIST.
    pub async fn contact(&self) -> Result<()> {
        let Some(remote) = &self.opened.remote else {
            return self.list(layout::nodes_prefix(), None, 1).await.map(drop);
        };
        let folder = layout::path(layout::nodes_prefix())?;
        let mut listing = remote.impatient.list(Some(&folder));
        match tokio::time::timeout(FIRST_CONTACT_MAX, listing.try_next()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(explain(self.uri(), remote, error)),
            Err(_) => Err(unreachable(self.uri(), remote, format!("no answer in {} s", FIRST_CONTACT_MAX.as_secs()))),
        }
    }
}

/// Codes by which stores say that the bucket is not there; clients pass some of them on as errors without a name.
const NO_BUCKET: [&str; 3] = ["NoSuchBucket", "ContainerNotFound", "bucket does not exist"];

/// Codes by which stores say that they do not know us.
const NO_CREDENTIALS: [&str; 7] = [
    // The clients of Google and Azure pass on the status of a listing as text alone.
    "401 Unauthorized",
    "InvalidAccessKeyId",
    "NotSignedUp",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "AuthenticationFailed",
];

fn explain(uri: &str, remote: &OpenedRemote, error: StoreError) -> BucketError {
    let words = deepest(&error);
    let uri = uri.to_owned();
    let says = |codes: &[&str]| codes.iter().any(|code| words.contains(code));
    let why = shortened(&words);
    let denied = matches!(error, StoreError::PermissionDenied { .. }) || words.contains("403 Forbidden");
    match error {
        StoreError::NotFound { .. } => BucketError::NoBucket { uri, hint: how_to_make(remote) },
        _ if says(&NO_BUCKET) => BucketError::NoBucket { uri, hint: how_to_make(remote) },
        StoreError::Unauthenticated { .. } => BucketError::Credentials { uri, why, hint: how_to_sign(remote) },
        _ if says(&NO_CREDENTIALS) => BucketError::Credentials { uri, why, hint: how_to_sign(remote) },
        _ if denied && remote.has_credentials => {
            BucketError::Denied { operation: "listing", key: uri, source: Box::new(error) }
        }
        _ if !remote.has_credentials => {
            let why = format!("none are given ({why})");
            BucketError::Credentials { uri, why, hint: how_to_sign(remote) }
        }
        _ => unreachable(&uri, remote, why),
    }
}

fn unreachable(uri: &str, remote: &OpenedRemote, why: String) -> BucketError {
    let hint = match &remote.endpoint {
        Some(endpoint) => format!("check that the store runs at {endpoint} and that this machine can reach it"),
        None => "check the network, the region and, for a store that is not the cloud's own, endpoint=…".to_owned(),
    };
    BucketError::Unreachable { uri: uri.to_owned(), why, hint }
}

fn how_to_make(remote: &OpenedRemote) -> String {
    let bucket = &remote.bucket;
    match (remote.scheme, &remote.endpoint) {
        (Scheme::S3, Some(endpoint)) => format!("create it: aws s3 mb s3://{bucket} --endpoint-url {endpoint}"),
        (Scheme::S3, None) => format!("create it: aws s3 mb s3://{bucket}"),
        (Scheme::Gcs, _) => format!("create it: gcloud storage buckets create gs://{bucket}"),
        (Scheme::Azure, _) => format!("create it: az storage container create --name {bucket}"),
    }
}

fn how_to_sign(remote: &OpenedRemote) -> String {
    let how = match remote.scheme {
        Scheme::S3 => {
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or add ?access_key_id=…&secret_access_key=… to the uri"
        }
        Scheme::Gcs => "set GOOGLE_APPLICATION_CREDENTIALS, or add ?service_account=/path/to/key.json to the uri",
        Scheme::Azure => {
            "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or add ?account_name=…&account_key=… to the uri"
        }
    };
    how.to_owned()
}

/// The innermost cause: the outer ones repeat it with the request around it.
fn deepest(error: &StoreError) -> String {
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// A store's words for a message: of an XML body its code and its message alone.
fn shortened(words: &str) -> String {
    let inside = |tag: &str| {
        let (_, rest) = words.split_once(&format!("<{tag}>"))?;
        rest.split_once("</").map(|(text, _)| text)
    };
    let text = match (inside("Code"), inside("Message")) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        _ => words.to_owned(),
    };
    match text.char_indices().nth(WORDS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_xml_body_the_code_and_the_message_are_shown() {
        let body = "status 403: <?xml?><Error><Code>AccessDenied</Code><Message>no</Message><Id>7</Id></Error>";
        assert_eq!(shortened(body), "AccessDenied: no");
        assert_eq!(shortened("<Code>Odd</Code>"), "Odd");
        assert_eq!(shortened("connection refused"), "connection refused");
        assert_eq!(shortened(&"x".repeat(1000)).chars().count(), WORDS_MAX + 1);
    }
}
