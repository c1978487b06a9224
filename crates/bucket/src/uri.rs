//! Reading a storage uri: text in, facts out, no input or output. Credentials are taken out here and never shown.

use std::{fmt, path::PathBuf};

use apiary_core::suggest::nearest;
use url::{Url, form_urlencoded};

use crate::error::{BucketError, Result};

/// Where a bucket is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Location {
    /// A local folder, as written; it may be relative.
    Folder(PathBuf),
    /// A store behind a network.
    Remote(Remote),
}

/// Which kind of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    S3,
    Gcs,
    Azure,
}

/// A bucket in a store behind a network.
#[derive(PartialEq, Eq)]
pub(crate) struct Remote {
    pub(crate) scheme: Scheme,
    pub(crate) bucket: String,
    /// Without slashes at its ends; may be empty.
    pub(crate) prefix: String,
    /// Checked names, values as given.
    pub(crate) options: Vec<(&'static str, String)>,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown(None))
    }
}

/// An option of a uri, and whether it may be shown.
struct OptionName {
    name: &'static str,
    is_public: bool,
}

const fn public(name: &'static str) -> OptionName {
    OptionName { name, is_public: true }
}

const fn private(name: &'static str) -> OptionName {
    OptionName { name, is_public: false }
}

const S3_OPTIONS: &[OptionName] = &[
    public("endpoint"),
    public("region"),
    public("path_style"),
    public("allow_http"),
    private("access_key_id"),
    private("secret_access_key"),
    private("session_token"),
];

const GCS_OPTIONS: &[OptionName] =
    &[public("endpoint"), public("allow_http"), private("service_account"), private("service_account_key")];

const AZURE_OPTIONS: &[OptionName] = &[
    public("endpoint"),
    public("account_name"),
    public("allow_http"),
    public("use_emulator"),
    private("account_key"),
    private("sas_token"),
];

impl Scheme {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Gcs => "gs",
            Self::Azure => "az",
        }
    }

    fn of(name: &str) -> Option<Self> {
        [Self::S3, Self::Gcs, Self::Azure].into_iter().find(|scheme| scheme.name() == name)
    }

    fn options(self) -> &'static [OptionName] {
        match self {
            Self::S3 => S3_OPTIONS,
            Self::Gcs => GCS_OPTIONS,
            Self::Azure => AZURE_OPTIONS,
        }
    }
}

impl Remote {
    /// The value of an option, if it is given.
    pub(crate) fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().find(|(given, _)| *given == name).map(|(_, value)| value.as_str())
    }

    /// The uri without credentials; with `endpoint`, if that came from elsewhere.
    pub(crate) fn shown(&self, endpoint: Option<&str>) -> String {
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        let mut shown = format!("{}://{}{slash}{}", self.scheme.name(), self.bucket, self.prefix);
        let is_public = |name: &str| self.scheme.options().iter().any(|option| option.name == name && option.is_public);
        let given =
            self.options.iter().filter(|(name, _)| is_public(name)).map(|(name, value)| (*name, value.as_str()));
        let elsewhere = endpoint.filter(|_| self.option("endpoint").is_none()).map(|endpoint| ("endpoint", endpoint));
        for (i, (name, value)) in given.chain(elsewhere).enumerate() {
            shown += if i == 0 { "?" } else { "&" };
            shown += &format!("{name}={value}");
        }
        shown
    }
}

/// Reads `uri`; `home` stands for `~`.
pub(crate) fn parse(uri: &str, home: Option<&str>) -> Result<Location> {
    let uri = uri.trim();
    let Some((scheme, rest)) = uri.split_once(':').filter(|(scheme, _)| is_scheme(scheme)) else {
        return parse_path(uri, home);
    };
    match (Scheme::of(scheme), scheme) {
        (Some(scheme), _) => parse_remote(scheme, rest).map(Location::Remote),
        (None, "file") => parse_file(uri),
        (None, _) => {
            let other =
                [("gcs", "gs"), ("azure", "az"), ("abfs", "az"), ("abfss", "az"), ("s3a", "s3"), ("http", "s3")];
            let known = other.iter().find(|(name, _)| *name == scheme.trim_end_matches("s")).map(|(_, to)| *to);
            let near = known.or_else(|| nearest(scheme, ["file", "s3", "gs", "az"]));
            let hint = match near {
                Some("s3") if scheme.starts_with("http") => {
                    "for an S3-compatible store write s3://bucket?endpoint=http://host:port".to_owned()
                }
                Some(near) => format!("did you mean {near}://?"),
                None => {
                    "use file:///folder, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix".to_owned()
                }
            };
            Err(bad(uri, format!("there is no storage scheme '{scheme}'"), hint))
        }
    }
}

fn is_scheme(text: &str) -> bool {
    // One letter would be a drive, not a scheme.
    text.len() > 1 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// An error that shows no more of the uri than is safe: what follows a question mark may be a secret.
fn bad(uri: &str, why: impl Into<String>, hint: impl Into<String>) -> BucketError {
    let shown = uri.split('?').next().unwrap_or_default();
    // What stands before an '@' is a user with a password.
    let shown = match (shown.find("://"), shown.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => format!("{}://…{}", &shown[..scheme], &shown[at..]),
        _ => shown.to_owned(),
    };
    BucketError::Uri { uri: shown, why: why.into(), hint: hint.into() }
}

fn parse_path(text: &str, home: Option<&str>) -> Result<Location> {
    let folder = |path: &str| Ok(Location::Folder(PathBuf::from(path)));
    if text.is_empty() {
        return Err(bad(text, "it is empty", "give a folder such as ./data, or a bucket such as s3://bucket/prefix"));
    }
    if text == "~" || text.starts_with("~/") {
        let home = home.ok_or_else(|| bad(text, "the home folder is not known", "write the whole path"))?;
        return folder(&format!("{home}{}", &text[1..]));
    }
    if text.starts_with('/') || matches!(text, "." | "..") || text.starts_with("./") || text.starts_with("../") {
        return folder(text);
    }
    // What follows a question mark may be a secret.
    let place = text.split('?').next().unwrap_or_default();
    let hint = format!("for a folder write ./{place}; for a bucket s3://{place}");
    Err(bad(text, "it is neither a path nor a uri", hint))
}

fn parse_file(uri: &str) -> Result<Location> {
    let hint = "write file:///folder with three slashes, or the path alone";
    if uri.contains(['?', '#']) {
        return Err(bad(uri, "a folder has no options", hint));
    }
    let path = Url::parse(uri).ok().and_then(|url| url.to_file_path().ok());
    path.map(Location::Folder).ok_or_else(|| bad(uri, "a file uri holds an absolute path", hint))
}

fn parse_remote(scheme: Scheme, rest: &str) -> Result<Remote> {
    let uri = format!("{}:{rest}", scheme.name());
    let name = scheme.name();
    let Some(rest) = rest.strip_prefix("//") else {
        return Err(bad(&uri, "two slashes are missing", format!("write {name}://bucket/prefix")));
    };
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
    if bucket.is_empty() {
        return Err(bad(&uri, "it names no bucket", format!("write {name}://bucket/prefix")));
    }
    if bucket.contains('@') {
        return Err(bad(&uri, "it holds a password", "give credentials as options or in the environment"));
    }
    if let Some((host, _)) = bucket.split_once(':') {
        let hint = format!("write {name}://bucket?endpoint=http://{bucket} if '{host}' is a machine");
        return Err(bad(&uri, "a bucket has no port", hint));
    }
    let prefix = prefix.trim_end_matches('/').to_owned();
    if !prefix.is_empty() && crate::layout::Key::parse(&prefix).is_err() {
        return Err(bad(&uri, "its prefix holds an empty part, '.' or '..'", "write a plain path after the bucket"));
    }
    let options = parse_options(scheme, &uri, query)?;
    Ok(Remote { scheme, bucket: bucket.to_owned(), prefix, options })
}

fn parse_options(scheme: Scheme, uri: &str, query: &str) -> Result<Vec<(&'static str, String)>> {
    let known = scheme.options();
    let mut options = Vec::new();
    // Secrets hold plus signs, which a form would read as spaces.
    for (name, value) in form_urlencoded::parse(query.replace('+', "%2B").as_bytes()) {
        let Some(option) = known.iter().find(|option| option.name == name) else {
            let hint = match nearest(&name, known.iter().map(|option| option.name)) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("known: {}", known.iter().map(|option| option.name).collect::<Vec<_>>().join(", ")),
            };
            return Err(bad(uri, format!("there is no option '{name}' for {}://", scheme.name()), hint));
        };
        if option.name == "endpoint" && !is_endpoint(&value) {
            let hint = "write endpoint=http://host:port or endpoint=https://host, credentials apart";
            return Err(bad(uri, "its endpoint is no web address", hint));
        }
        options.push((option.name, value.into_owned()));
    }
    Ok(options)
}

fn is_endpoint(text: &str) -> bool {
    let plain = |url: &Url| url.username().is_empty() && url.password().is_none() && url.has_host();
    Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && plain(&url))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(uri: &str) -> Remote {
        match parse(uri, None) {
            Ok(Location::Remote(remote)) => remote,
            other => panic!("{uri}: {other:?}"),
        }
    }

    #[test]
    fn folders_are_written_in_many_ways() {
        let table = [
            ("/data", "/data"),
            ("./data", "./data"),
            ("../data", "../data"),
            (".", "."),
            ("~", "/home/bee"),
            ("~/data", "/home/bee/data"),
            ("file:///data/x", "/data/x"),
            ("file:///my%20data", "/my data"),
            ("file://localhost/data", "/data"),
            (" /data ", "/data"),
        ];
        for (uri, path) in table {
            assert_eq!(parse(uri, Some("/home/bee")).unwrap(), Location::Folder(path.into()), "{uri}");
        }
    }

    #[test]
    fn buckets_have_a_prefix_and_options() {
        let table = [
            ("s3://b", "b", "", "s3://b"),
            ("s3://b/", "b", "", "s3://b"),
            ("s3://b/p/q/", "b", "p/q", "s3://b/p/q"),
            ("gs://b/my prefix", "b", "my prefix", "gs://b/my prefix"),
            ("az://c/p?account_name=a&account_key=secret", "c", "p", "az://c/p?account_name=a"),
            (
                "s3://b/p?endpoint=http://127.0.0.1:9000&region=eu&access_key_id=k&secret_access_key=secret+/=",
                "b",
                "p",
                "s3://b/p?endpoint=http://127.0.0.1:9000&region=eu",
            ),
        ];
        for (uri, bucket, prefix, shown) in table {
            let remote = remote(uri);
            assert_eq!((remote.bucket.as_str(), remote.prefix.as_str()), (bucket, prefix), "{uri}");
            assert_eq!(remote.shown(None), shown);
            assert!(!format!("{remote:?}").contains("secret"));
        }
        assert_eq!(remote("s3://b?secret_access_key=a+/%2B=").option("secret_access_key"), Some("a+/+="));
        assert_eq!(remote("s3://b").shown(Some("http://m")), "s3://b?endpoint=http://m");
    }

    #[test]
    fn what_cannot_be_used_says_what_to_write() {
        let table = [
            ("", "it is empty"),
            ("data", "./data"),
            ("memory:", "no storage scheme 'memory'"),
            ("gcs://b", "did you mean gs://"),
            ("s3a://b", "did you mean s3://"),
            ("ftp://b", "file:///folder"),
            ("https://host/b", "s3://bucket?endpoint="),
            ("file://data", "three slashes"),
            ("file:///data?x=1", "no options"),
            ("s3:b", "two slashes"),
            ("s3://", "names no bucket"),
            ("s3://b:9000/x", "endpoint=http://b:9000"),
            ("s3://b/../x", "prefix"),
            ("s3://b?regoin=x", "did you mean region?"),
            ("s3://b?endpoint=127.0.0.1:9000", "no web address"),
            ("~/x", "home folder"),
        ];
        for (uri, expected) in table {
            let error = parse(uri, None).unwrap_err();
            let text = format!("{error} {}", error.hint().unwrap());
            assert!(text.contains(expected), "{uri}: {text}");
        }
    }

    #[test]
    fn errors_show_no_secret() {
        for uri in ["s3://key:secret@b/x", "s3://b?secret_access_key=secret&x=1", "s3://b?endpoint=http://u:secret@h"] {
            let error = parse(uri, None).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("secret@") && !format!("{error:?}").contains("=secret"));
        }
    }

    #[test]
    fn any_text_as_a_uri_is_one_or_an_error_without_its_secrets() {
        let uris = [
            "s3://b/p/q?endpoint=http://127.0.0.1:9000&region=eu&access_key_id=k&secret_access_key=hunter2",
            "az://c/p?account_name=a&account_key=hunter2",
            "gs://b/my prefix",
            "file:///data/x",
            "~/data",
        ];
        let samples = uris.map(|uri| uri.as_bytes().to_vec());
        apiary_faults::mutate::drive("uri", &samples, |data| {
            let Ok(text) = std::str::from_utf8(data) else { return };
            let Err(error) = parse(text, Some("/home/bee")) else { return };
            // A secret that a person puts into the place is part of a name; behind a question mark it is not shown.
            let is_named = text.split('?').next().is_some_and(|place| place.contains("hunter2"));
            let shown = format!("{error} {error:?}");
            assert!(is_named || shown.contains("no option") || !shown.contains("_key=hunter2"), "{shown}");
        });
    }
}
