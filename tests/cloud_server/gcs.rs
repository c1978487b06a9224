//! The XML interface of Google Cloud Storage: S3's shapes, its own condition (`x-goog-if-generation-match: 0`).

use std::fmt::Write;

use super::{
    IntoResponse, Method, Response, StatusCode, Store,
    wire::{self, Asked},
};

const PAGE_OBJECTS: usize = 1000;

pub(super) fn answer(store: &Store, asked: &Asked) -> Option<Response> {
    let upload = asked.query("uploadId");
    Some(match (asked.method.as_str(), upload) {
        ("GET", None) if asked.key.is_empty() => list(store, asked),
        ("GET" | "HEAD", None) => store.read(asked),
        ("PUT", Some(id)) => put_part(store, asked, id),
        ("PUT", None) => put(store, asked),
        ("POST", Some(id)) => complete(store, asked, id),
        ("POST", None) if asked.query.contains_key("uploads") => begin(store, asked),
        ("DELETE", Some(id)) => {
            store.objects.abort_upload(id);
            StatusCode::NO_CONTENT.into_response()
        }
        ("DELETE", None) => delete(store, asked),
        _ => return None,
    })
}

fn put(store: &Store, asked: &Asked) -> Response {
    let only_new = asked.header("x-goog-if-generation-match") == Some("0");
    match store.put(asked, only_new) {
        Some(object) => wire::headers_of(&object).into_response(),
        None => wire::error(StatusCode::PRECONDITION_FAILED, "PreconditionFailed"),
    }
}

fn delete(store: &Store, asked: &Asked) -> Response {
    if store.objects.get(&asked.key).is_none() {
        return wire::error(StatusCode::NOT_FOUND, "NoSuchKey");
    }
    store.objects.delete(&asked.key);
    StatusCode::NO_CONTENT.into_response()
}

fn list(store: &Store, asked: &Asked) -> Response {
    let after = asked.query("continuation-token").or_else(|| asked.query("start-after")).unwrap_or("");
    let max = asked.query("max-keys").and_then(|max| max.parse().ok()).unwrap_or(PAGE_OBJECTS).min(PAGE_OBJECTS);
    let page = store.objects.list(asked.query("prefix").unwrap_or(""), after, asked.query("delimiter"), max);
    let mut xml = "<?xml version=\"1.0\"?><ListBucketResult>".to_owned();
    for (key, object) in &page.objects {
        let _ = write!(
            xml,
            "<Contents><Key>{}</Key><Size>{}</Size><LastModified>{}</LastModified><ETag>{}</ETag></Contents>",
            wire::escaped(key),
            object.body.len(),
            wire::modified(object).format("%Y-%m-%dT%H:%M:%S%.3fZ"),
            object.e_tag
        );
    }
    for folder in &page.folders {
        let _ = write!(xml, "<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>", wire::escaped(folder));
    }
    if let Some(next) = &page.next {
        let _ = write!(xml, "<NextContinuationToken>{}</NextContinuationToken>", wire::escaped(next));
    }
    wire::xml(xml + "</ListBucketResult>")
}

fn begin(store: &Store, asked: &Asked) -> Response {
    debug_assert_eq!(asked.method, Method::POST);
    let id = store.objects.begin_upload();
    wire::xml(format!("<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"))
}

fn put_part(store: &Store, asked: &Asked, id: &str) -> Response {
    let number = asked.query("partNumber").and_then(|number| number.parse().ok());
    match number.map(|number| (number, store.objects.put_part(id, number, asked.body.clone()))) {
        Some((number, true)) => [("etag", format!("part-{number}"))].into_response(),
        _ => wire::error(StatusCode::NOT_FOUND, "NoSuchUpload"),
    }
}

fn complete(store: &Store, asked: &Asked, id: &str) -> Response {
    let told = String::from_utf8_lossy(&asked.body);
    let numbers: Vec<i32> = wire::tagged(&told, "PartNumber").iter().filter_map(|number| number.parse().ok()).collect();
    let Some(body) = store.objects.end_upload(id, &numbers) else {
        return wire::error(StatusCode::NOT_FOUND, "NoSuchUpload");
    };
    let Some(object) = store.objects.put(&asked.key, body, false) else {
        return wire::error(StatusCode::PRECONDITION_FAILED, "PreconditionFailed");
    };
    let xml = format!("<CompleteMultipartUploadResult><ETag>{}</ETag></CompleteMultipartUploadResult>", object.e_tag);
    (wire::headers_of(&object), xml).into_response()
}
