//! Requests and answers, as both dialects have them.

use std::{collections::HashMap, ops::Range};

use axum::http::{HeaderName, HeaderValue, request::Parts};
use chrono::{DateTime, Utc};

use super::{Body, Bytes, HeaderMap, IntoResponse, Method, Object, Response, StatusCode, header};

/// One request, taken apart.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) query: HashMap<String, String>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Asked {
    pub(super) fn of(head: &Parts, body: Bytes) -> Self {
        let path = head.uri.path().trim_start_matches('/');
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let query = head.uri.query().unwrap_or("").split('&').filter(|pair| !pair.is_empty());
        let query = query.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        Self {
            method: head.method.clone(),
            bucket: unescaped(bucket, false),
            key: unescaped(key, false),
            query: query.map(|(name, value)| (unescaped(name, true), unescaped(value, true))).collect(),
            headers: head.headers.clone(),
            body,
        }
    }

    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// What of a body of `length` bytes is asked for; `None`: all.
    pub(super) fn range(&self, length: usize) -> Option<Range<usize>> {
        let range = self.header("x-ms-range").or_else(|| self.header("range"))?.strip_prefix("bytes=")?;
        let (from, to) = range.split_once('-')?;
        let Ok(from) = from.parse::<usize>() else {
            return Some(length.saturating_sub(to.parse().ok()?)..length);
        };
        Some(from..to.parse::<usize>().map_or(length, |to| (to + 1).min(length)))
    }
}

/// `%20` and, in queries, `+`.
pub(super) fn unescaped(text: &str, plus_is_space: bool) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = || u8::from_str_radix(std::str::from_utf8(after.get(..2)?).ok()?, 16).ok();
        match (first, (*first == b'%').then(hex).flatten()) {
            (_, Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
                continue;
            }
            (b'+', None) if plus_is_space => bytes.push(b' '),
            (other, None) => bytes.push(*other),
        }
        rest = after;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A text inside XML.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// What stands between the tags of that name, one after the other.
pub(super) fn tagged<'a>(xml: &'a str, tag: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    xml.split(&open).skip(1).filter_map(|rest| rest.split_once(&close)).map(|(inside, _)| inside).collect()
}

pub(super) fn modified(object: &Object) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(object.modified_ms).unwrap_or_default()
}

pub(super) fn http_date(object: &Object) -> String {
    modified(object).format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

pub(super) fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

pub(super) fn headers_of(object: &Object) -> HeaderMap {
    let mut headers = HeaderMap::new();
    set(&mut headers, header::ETAG, &format!("\"{}\"", object.e_tag));
    set(&mut headers, header::LAST_MODIFIED, &http_date(object));
    set(&mut headers, HeaderName::from_static("x-goog-generation"), "1");
    headers
}

/// The body of a GET; a HEAD has its length alone.
pub(super) fn body(method: &Method, bytes: Bytes) -> Body {
    if *method == Method::HEAD { Body::empty() } else { Body::from(bytes) }
}

pub(super) fn xml(body: String) -> Response {
    ([(header::CONTENT_TYPE, "application/xml")], body).into_response()
}

pub(super) fn error(status: StatusCode, code: &str) -> Response {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{code}</Message></Error>");
    (status, [(header::CONTENT_TYPE, "application/xml")], body).into_response()
}
