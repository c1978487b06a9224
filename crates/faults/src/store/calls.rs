//! The calls of an [`ObjectStore`], each as it would be on a store that works; what goes wrong is decided in
//! [`FaultStore::call`].

use async_trait::async_trait;
use futures::{
    FutureExt, StreamExt,
    future::ready,
    stream::{self, BoxStream},
};
use object_store::{
    CopyMode, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, path::Path,
};

use super::{FaultStore, Weakness, YieldOnce};
use crate::{
    fault::{Fault, Op},
    upload::FaultyUpload,
};

#[async_trait]
impl ObjectStore for FaultStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let create = opts.mode == PutMode::Create;
        let begun = self.begin(if create { Op::Create } else { Op::Put }, location, payload.content_length());
        let weakness = self.state().weakness.filter(|_| create);
        let put = async {
            if weakness == Some(Weakness::ChecksThenWrites) {
                if self.inner.head(location).await.is_ok() {
                    return Err(Error::AlreadyExists { path: location.to_string(), source: "it is there".into() });
                }
                YieldOnce::default().await;
            }
            let opts = if weakness.is_some() { PutOptions { mode: PutMode::Overwrite, ..opts } } else { opts };
            let is_new = self.is_new(location, create).await;
            let put = self.inner.put_opts(location, payload.clone(), opts).await?;
            self.came(location, is_new);
            Ok(put)
        };
        self.call(begun, location, Some(&payload), put).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let inner = self.inner.put_multipart_opts(location, opts).await?;
        Ok(Box::new(FaultyUpload { store: self.clone(), inner, location: location.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let begun = self.begin(Op::Get, location, 0);
        let get = async {
            let head = options.head;
            let found = self.inner.get_opts(location, options).await?;
            if head || !matches!(begun.fault, Some(Fault::Truncated | Fault::Flipped)) {
                return Ok(found);
            }
            let (meta, range, attributes) = (found.meta.clone(), found.range.clone(), found.attributes.clone());
            let body = self.broken(begun.fault, found.bytes().await?);
            let payload = GetResultPayload::Stream(stream::once(ready(Ok(body))).boxed());
            Ok(GetResult { payload, meta, range, attributes })
        };
        self.call(begun, location, None, get).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let delete = move |location: Result<Path>| {
            let store = store.clone();
            async move {
                let location = location?;
                let begun = store.begin(Op::Delete, &location, 0);
                let delete = async {
                    let was = store.inner.head(&location).await.ok();
                    store.inner.delete(&location).await?;
                    was.into_iter().for_each(|meta| store.state().changes.went(meta));
                    Ok(())
                };
                store.call(begun, &location, None, delete).await?;
                Ok(location)
            }
            .boxed()
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.pages(prefix, Path::default())
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.pages(prefix, offset.clone())
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let at = prefix.cloned().unwrap_or_default();
        let begun = self.begin(Op::List, &at, 0);
        self.call(begun, &at, None, self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let create = matches!(options.mode, CopyMode::Create);
        let begun = self.begin(if create { Op::Create } else { Op::Put }, to, 0);
        let copy = async {
            let is_new = self.is_new(to, create).await;
            self.inner.copy_opts(from, to, options).await?;
            self.came(to, is_new);
            Ok(())
        };
        self.call(begun, to, None, copy).await
    }
}
