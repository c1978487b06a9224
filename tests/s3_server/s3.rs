//! The S3 operations of the test store: from requests to [`Objects`] and back.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use apiary_faults::Op;
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use s3s::{
    S3, S3Request, S3Response, S3Result,
    dto::{
        AbortMultipartUploadInput, AbortMultipartUploadOutput, CommonPrefix, CompleteMultipartUploadInput,
        CompleteMultipartUploadOutput, CreateMultipartUploadInput, CreateMultipartUploadOutput, DeleteObjectInput,
        DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ETag, ETagCondition,
        GetObjectInput, GetObjectOutput, HeadBucketInput, HeadBucketOutput, HeadObjectInput, HeadObjectOutput,
        ListObjectsV2Input, ListObjectsV2Output, Object as Listed, PutObjectInput, PutObjectOutput, StreamingBlob,
        Timestamp, UploadPartInput, UploadPartOutput,
    },
    s3_error,
};

use super::{S3Options, faults::Faults};
use crate::objects::{Object, Objects, Requests};

/// Names in one page of a listing, as S3 has it.
const PAGE_MAX: usize = 1000;

/// How long a racy store waits between looking and writing.
const RACY_WAIT: Duration = Duration::from_millis(20);

/// The store behind the server.
#[derive(Debug)]
pub(super) struct Store {
    bucket: String,
    ignore_if_none_match: bool,
    racy: bool,
    objects: Objects,
    requests: Arc<Requests>,
    faults: Arc<Faults>,
}

impl Store {
    pub(super) fn new(options: &S3Options, requests: Arc<Requests>, faults: Arc<Faults>) -> Self {
        let S3Options { bucket, ignore_if_none_match, racy, .. } = options.clone();
        Self { bucket, ignore_if_none_match, racy, objects: Objects::default(), requests, faults }
    }

    fn in_bucket(&self, bucket: &str) -> S3Result<()> {
        if bucket == self.bucket { Ok(()) } else { Err(s3_error!(NoSuchBucket, "there is no bucket '{bucket}'")) }
    }

    fn find(&self, bucket: &str, key: &str) -> S3Result<Object> {
        self.in_bucket(bucket)?;
        Requests::add(&self.requests.gets);
        self.objects.get(key).ok_or_else(|| s3_error!(NoSuchKey, "there is no object '{key}'"))
    }

    /// Stores an object under its condition, honestly or not.
    async fn store(&self, key: &str, body: Bytes, if_none_match: Option<ETagCondition>) -> S3Result<Object> {
        let only_new = match if_none_match {
            None => false,
            Some(ETagCondition::Any) => !self.ignore_if_none_match,
            Some(ETagCondition::ETag(_)) => return Err(s3_error!(NotImplemented, "If-None-Match knows only '*'")),
        };
        let taken = || s3_error!(PreconditionFailed, "'{key}' is there already");
        if only_new && self.racy {
            if self.objects.get(key).is_some() {
                return Err(taken());
            }
            #[expect(clippy::disallowed_methods, reason = "a store of its own, with a fault of its own")]
            tokio::time::sleep(RACY_WAIT).await;
            return self.objects.put(key, body, false).ok_or_else(taken);
        }
        self.objects.put(key, body, only_new).ok_or_else(taken)
    }
}

/// A condition that the store would have to forget.
fn only_plain(has_condition: bool) -> S3Result<()> {
    if has_condition { Err(s3_error!(NotImplemented, "this condition is not known")) } else { Ok(()) }
}

async fn whole(body: Option<StreamingBlob>) -> S3Result<Bytes> {
    let Some(mut body) = body else { return Ok(Bytes::new()) };
    let mut whole = BytesMut::new();
    // A broken signature or a client that hangs up shows here.
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| s3_error!(IncompleteBody, "the body cannot be read: {error}"))?;
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

fn e_tag(object: &Object) -> Option<ETag> {
    Some(ETag::Strong(object.e_tag.clone()))
}

fn modified(object: &Object) -> Option<Timestamp> {
    let since = Duration::from_millis(u64::try_from(object.modified_ms).unwrap_or_default());
    Some(Timestamp::from(SystemTime::UNIX_EPOCH + since))
}

#[async_trait]
impl S3 for Store {
    async fn head_bucket(&self, request: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.in_bucket(&request.input.bucket)?;
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let input = request.input;
        self.in_bucket(&input.bucket)?;
        only_plain(input.if_match.is_some())?;
        Requests::add(&self.requests.puts);
        let body = whole(input.body).await?;
        let met = self.faults.meet(if input.if_none_match.is_some() { Op::Create } else { Op::Put }, &input.key);
        met.before().await?;
        let object = self.store(&input.key, body, input.if_none_match).await?;
        met.after().await?;
        Ok(S3Response::new(PutObjectOutput { e_tag: e_tag(&object), ..Default::default() }))
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = request.input;
        only_plain(input.if_match.is_some() || input.if_none_match.is_some())?;
        let met = self.faults.meet(Op::Get, &input.key);
        met.before().await?;
        let object = self.find(&input.bucket, &input.key)?;
        let size = object.body.len();
        let (body, content_range) = match input.range {
            None => (object.body.clone(), None),
            Some(range) => {
                let range =
                    range.check(size as u64).map_err(|_| s3_error!(InvalidRange, "'{}' ends before", input.key))?;
                let content_range = format!("bytes {}-{}/{size}", range.start, range.end - 1);
                (object.body.slice(range.start as usize..range.end as usize), Some(content_range))
            }
        };
        Ok(S3Response::new(GetObjectOutput {
            content_length: i64::try_from(body.len()).ok(),
            body: Some(met.body(body)),
            content_range,
            e_tag: e_tag(&object),
            last_modified: modified(&object),
            ..Default::default()
        }))
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let object = self.find(&request.input.bucket, &request.input.key)?;
        Ok(S3Response::new(HeadObjectOutput {
            content_length: i64::try_from(object.body.len()).ok(),
            e_tag: e_tag(&object),
            last_modified: modified(&object),
            ..Default::default()
        }))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        self.in_bucket(&input.bucket)?;
        Requests::add(&self.requests.lists);
        self.faults.meet(Op::List, input.prefix.as_deref().unwrap_or_default()).before().await?;
        let prefix = input.prefix.unwrap_or_default();
        let after = input.continuation_token.clone().or_else(|| input.start_after.clone()).unwrap_or_default();
        let max = input.max_keys.and_then(|max| usize::try_from(max).ok()).map_or(PAGE_MAX, |max| max.min(PAGE_MAX));
        let page = self.objects.list(&prefix, &after, input.delimiter.as_deref(), max);
        let count = page.objects.len() + page.folders.len();
        let listed = |(key, object): (String, Object)| Listed {
            e_tag: e_tag(&object),
            last_modified: modified(&object),
            size: i64::try_from(object.body.len()).ok(),
            key: Some(key),
            ..Default::default()
        };
        let folders = page.folders.into_iter().map(|folder| CommonPrefix { prefix: Some(folder) }).collect();
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: Some(prefix),
            delimiter: input.delimiter,
            start_after: input.start_after,
            continuation_token: input.continuation_token,
            max_keys: i32::try_from(max).ok(),
            key_count: i32::try_from(count).ok(),
            is_truncated: Some(page.next.is_some()),
            next_continuation_token: page.next,
            contents: Some(page.objects.into_iter().map(listed).collect()),
            common_prefixes: Some(folders),
            ..Default::default()
        }))
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.in_bucket(&request.input.bucket)?;
        Requests::add(&self.requests.deletes);
        let met = self.faults.meet(Op::Delete, &request.input.key);
        met.before().await?;
        self.objects.delete(&request.input.key);
        met.after().await?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        self.in_bucket(&request.input.bucket)?;
        Requests::add(&self.requests.deletes);
        let delete = |key: String| {
            self.objects.delete(&key);
            DeletedObject { key: Some(key), ..Default::default() }
        };
        let deleted = request.input.delete.objects.into_iter().map(|object| delete(object.key)).collect();
        Ok(S3Response::new(DeleteObjectsOutput { deleted: Some(deleted), ..Default::default() }))
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = request.input;
        self.in_bucket(&input.bucket)?;
        Ok(S3Response::new(CreateMultipartUploadOutput {
            upload_id: Some(self.objects.begin_upload()),
            bucket: Some(input.bucket),
            key: Some(input.key),
            ..Default::default()
        }))
    }

    async fn upload_part(&self, request: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let input = request.input;
        self.in_bucket(&input.bucket)?;
        Requests::add(&self.requests.puts);
        let body = whole(input.body).await?;
        self.faults.meet(Op::Part, &input.key).before().await?;
        if !self.objects.put_part(&input.upload_id, input.part_number, body) {
            return Err(s3_error!(NoSuchUpload, "there is no upload '{}'", input.upload_id));
        }
        let e_tag = Some(ETag::Strong(format!("{}-{}", input.upload_id, input.part_number)));
        Ok(S3Response::new(UploadPartOutput { e_tag, ..Default::default() }))
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = request.input;
        self.in_bucket(&input.bucket)?;
        only_plain(input.if_match.is_some())?;
        let met = self.faults.meet(Op::Complete, &input.key);
        met.before().await?;
        let parts = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let numbers: Vec<i32> = parts.into_iter().filter_map(|part| part.part_number).collect();
        let body = self.objects.end_upload(&input.upload_id, &numbers);
        let body = body.ok_or_else(|| s3_error!(NoSuchUpload, "the upload, or a part of it, is not there"))?;
        let object = self.store(&input.key, body, input.if_none_match).await?;
        met.after().await?;
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: e_tag(&object),
            ..Default::default()
        }))
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.in_bucket(&request.input.bucket)?;
        self.objects.abort_upload(&request.input.upload_id);
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }
}
