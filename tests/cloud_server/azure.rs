//! Azure Blob Storage: blocks for large objects, listings with an inclusive start, deletes by the batch.

use std::{
    collections::HashMap,
    fmt::Write,
    sync::{Mutex, PoisonError},
};

use super::{
    Bytes, IntoResponse, Response, StatusCode, Store, header,
    wire::{self, Asked},
};

const PAGE_OBJECTS: usize = 5000;
const BOUNDARY: &str = "batch-of-answers";

/// Blocks that are not yet part of an object, by its key and their names.
#[derive(Debug, Default)]
pub(super) struct Blocks(Mutex<HashMap<(String, String), Bytes>>);

impl Blocks {
    fn with<T>(&self, work: impl FnOnce(&mut HashMap<(String, String), Bytes>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

pub(super) fn answer(store: &Store, asked: &Asked) -> Option<Response> {
    Some(match (asked.method.as_str(), asked.query("comp")) {
        ("GET", Some("list")) => list(store, asked),
        ("GET" | "HEAD", None) => store.read(asked),
        ("PUT", None) => put(store, asked),
        ("PUT", Some("block")) => {
            let block = (asked.key.clone(), asked.query("blockid")?.to_owned());
            store.blocks.with(|blocks| blocks.insert(block, asked.body.clone()));
            StatusCode::CREATED.into_response()
        }
        ("PUT", Some("blocklist")) => put_blocks(store, asked),
        ("POST", Some("batch")) => delete_many(store, asked)?,
        _ => return None,
    })
}

fn put(store: &Store, asked: &Asked) -> Response {
    let only_new = asked.header("if-none-match") == Some("*");
    match store.put(asked, only_new) {
        Some(object) => (StatusCode::CREATED, wire::headers_of(&object)).into_response(),
        None => wire::error(StatusCode::CONFLICT, "BlobAlreadyExists"),
    }
}

fn put_blocks(store: &Store, asked: &Asked) -> Response {
    let told = String::from_utf8_lossy(&asked.body);
    let names: Vec<&str> = ["Latest", "Uncommitted"].iter().flat_map(|tag| wire::tagged(&told, tag)).collect();
    let body = store.blocks.with(|blocks| {
        let mut body = Vec::new();
        for name in names {
            body.extend_from_slice(blocks.get(&(asked.key.clone(), name.to_owned()))?);
        }
        blocks.retain(|(key, _), _| *key != asked.key);
        Some(Bytes::from(body))
    });
    match body.and_then(|body| store.objects.put(&asked.key, body, false)) {
        Some(object) => (StatusCode::CREATED, wire::headers_of(&object)).into_response(),
        None => wire::error(StatusCode::BAD_REQUEST, "InvalidBlockList"),
    }
}

fn list(store: &Store, asked: &Asked) -> Response {
    let (prefix, delimiter) = (asked.query("prefix").unwrap_or(""), asked.query("delimiter"));
    let max = asked.query("maxresults").and_then(|max| max.parse().ok()).unwrap_or(PAGE_OBJECTS).min(PAGE_OBJECTS);
    let (marker, from) = (asked.query("marker").unwrap_or(""), asked.query("startFrom").unwrap_or(""));
    let mut page = store.objects.list(prefix, marker.max(from), delimiter, max);
    // A start is part of the listing, where S3's is not.
    if let (true, Some(first)) = (marker.is_empty() && from.starts_with(prefix), store.objects.get(from)) {
        page.objects.insert(0, (from.to_owned(), first));
    }
    let mut xml = "<?xml version=\"1.0\"?><EnumerationResults><Blobs>".to_owned();
    for (key, object) in &page.objects {
        let _ = write!(
            xml,
            "<Blob><Name>{}</Name><Properties><Last-Modified>{}</Last-Modified><Content-Length>{}</Content-Length>\
             <Content-Type>application/octet-stream</Content-Type><Etag>{}</Etag></Properties></Blob>",
            wire::escaped(key),
            wire::http_date(object),
            object.body.len(),
            object.e_tag
        );
    }
    for folder in &page.folders {
        let _ = write!(xml, "<BlobPrefix><Name>{}</Name></BlobPrefix>", wire::escaped(folder));
    }
    let next = wire::escaped(page.next.as_deref().unwrap_or(""));
    wire::xml(format!("{xml}</Blobs><NextMarker>{next}</NextMarker></EnumerationResults>"))
}

/// A request of many parts, each of them a DELETE.
fn delete_many(store: &Store, asked: &Asked) -> Option<Response> {
    let told = std::str::from_utf8(&asked.body).ok()?;
    let mut body = String::new();
    for part in told.split("Content-ID: ").skip(1) {
        let (id, rest) = part.split_once("\r\n")?;
        let path = rest.split_once("DELETE /")?.1.split_once(" HTTP/1.1")?.0;
        let key = wire::unescaped(path.split_once('/')?.1, false);
        let status = if store.objects.get(&key).is_some() { "202 Accepted" } else { "404 The blob is not there" };
        store.objects.delete(&key);
        let _ = write!(
            body,
            "--{BOUNDARY}\r\nContent-Type: application/http\r\nContent-ID: {id}\r\n\r\nHTTP/1.1 {status}\r\nServer: test\r\n\r\n"
        );
    }
    let kind = format!("multipart/mixed; boundary={BOUNDARY}");
    Some((StatusCode::ACCEPTED, [(header::CONTENT_TYPE, kind)], format!("{body}--{BOUNDARY}--\r\n")).into_response())
}
