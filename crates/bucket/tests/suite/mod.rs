//! What every bucket must do, whatever it is made of. Run over memory and a local folder here, and over HTTP by the
//! workspace's integration tests.
#![expect(clippy::unwrap_used, reason = "a test ends where it fails")]

use apiary_bucket::{Bucket, BucketError, Counters, Created, Key, PutAnswer, Verdict};
use apiary_core::ErrorKind;
use bytes::Bytes;
use futures::{TryStreamExt, future::join_all};
use object_store::{ObjectStoreExt, path::Path};

/// Runs the whole suite below a prefix of its own and clears that.
pub(crate) async fn conforms(bucket: &Bucket) {
    bucket.contact().await.unwrap();
    let suite = Suite { bucket: bucket.clone(), root: format!("conforms-{:016x}", bucket.rng().next_u64()) };
    suite.what_is_not_there_is_not_there().await;
    suite.a_create_is_decided().await;
    suite.racing_creators_have_one_winner().await;
    suite.an_object_larger_than_asked_for_is_not_read().await;
    suite.overwriting_replaces().await;
    suite.ranges_are_cut_at_the_end().await;
    suite.listing_is_in_order_from_a_name_on().await;
    suite.long_listings_come_whole().await;
    suite.unusual_names_are_kept().await;
    suite.parts_go_up_whole().await;
    suite.an_unfinished_upload_is_invisible().await;
    suite.deleting_twice_is_fine().await;
    suite.many_are_deleted_at_once().await;
    suite.folders_are_told_without_what_is_in_them().await;
    suite.the_store_tells_the_time().await;
    suite.requests_are_counted().await;
    suite.the_probe_passes_and_leaves_nothing().await;
    bucket.delete_prefix(&suite.root).await.unwrap();
    assert!(bucket.list(&suite.root, None, 1).await.unwrap().is_empty());
}

struct Suite {
    bucket: Bucket,
    root: String,
}

impl Suite {
    fn key(&self, name: &str) -> Key {
        Key::parse(&format!("{}/{name}", self.root)).unwrap()
    }

    async fn put(&self, name: &str, body: &str) {
        self.bucket.put(&self.key(name), Bytes::from(body.to_owned())).await.unwrap();
    }

    async fn names(&self, folder: &str, after: Option<&str>, max: usize) -> Vec<String> {
        let after = after.map(|after| format!("{}/{after}", self.root));
        let listed = self.bucket.list(&format!("{}/{folder}", self.root), after.as_deref(), max).await.unwrap();
        listed.into_iter().map(|object| object.key[self.root.len() + 1..].to_owned()).collect()
    }

    async fn what_is_not_there_is_not_there(&self) {
        let key = self.key("absent");
        assert_eq!(self.bucket.get(&key).await.unwrap(), None);
        let error = self.bucket.get_range(&key, 0..1).await.unwrap_err();
        assert!(matches!(error, BucketError::NotFound { .. }) && error.kind() == ErrorKind::NotFound);
        assert!(self.names("absent", None, 10).await.is_empty());
        // Nor is what stands below an object, or above one.
        self.put("file", "x").await;
        assert_eq!(self.bucket.get(&self.key("file/below")).await.unwrap(), None);
        self.put("folder/x", "x").await;
        assert_eq!(self.bucket.get(&self.key("folder")).await.unwrap(), None);
    }

    async fn a_create_is_decided(&self) {
        let key = self.key("created");
        let (ours, theirs) = (Bytes::from_static(b"ours"), Bytes::from_static(b"theirs"));
        let create = |body: &Bytes| self.bucket.put_if_absent_decided(&key, body.clone());
        assert_eq!(create(&ours).await.unwrap(), Created::Mine);
        assert_eq!(create(&theirs).await.unwrap(), Created::Taken(ours.clone()));
        assert_eq!(create(&ours).await.unwrap(), Created::Mine, "our own write, asked again");
        let once = self.bucket.put_if_absent_once(&key, theirs).await.unwrap();
        assert!(matches!(once, PutAnswer::Taken(body) if body == ours));
        assert_eq!(self.bucket.get(&key).await.unwrap(), Some(ours));
    }

    async fn racing_creators_have_one_winner(&self) {
        for race in 0..4 {
            let key = &self.key(&format!("race/{race}"));
            let body = |racer: usize| Bytes::from(format!("racer {racer}"));
            let create = |racer| self.bucket.put_if_absent_decided(key, body(racer));
            let ends: Vec<Created> = join_all((0..16).map(create)).await.into_iter().map(Result::unwrap).collect();
            let winners: Vec<usize> = (0..16).filter(|racer| ends[*racer] == Created::Mine).collect();
            assert_eq!(winners.len(), 1, "{ends:?}");
            let winner = body(winners[0]);
            assert!(ends.iter().all(|end| matches!(end, Created::Mine) || *end == Created::Taken(winner.clone())));
            assert_eq!(self.bucket.get(key).await.unwrap(), Some(winner));
        }
    }

    async fn an_object_larger_than_asked_for_is_not_read(&self) {
        self.put("large", "0123456789").await;
        let key = self.key("large");
        assert_eq!(self.bucket.get_at_most(&key, 10).await.unwrap().unwrap(), "0123456789");
        let before = self.bucket.counters().snapshot();
        let error = self.bucket.get_at_most(&key, 9).await.unwrap_err();
        assert!(matches!(error, BucketError::TooLarge { bytes: 10, bytes_max: 9, .. }), "{error}");
        assert!(error.to_string().contains(key.as_str()) && error.kind() == ErrorKind::Corrupt);
        assert_eq!(self.bucket.counters().snapshot().gets, before.gets + 1);
        assert_eq!(self.bucket.get_at_most(&self.key("absent"), 1).await.unwrap(), None);
    }

    async fn overwriting_replaces(&self) {
        for body in ["a long first body", "short", ""] {
            self.put("over", body).await;
            assert_eq!(self.bucket.get(&self.key("over")).await.unwrap().unwrap(), body);
        }
    }

    async fn ranges_are_cut_at_the_end(&self) {
        self.put("ranged", "0123456789").await;
        let key = self.key("ranged");
        assert_eq!(self.bucket.get_range(&key, 3..7).await.unwrap(), "3456");
        assert_eq!(self.bucket.get_range(&key, 8..99).await.unwrap(), "89");
        assert!(self.bucket.get_range(&key, 10..11).await.is_err());
        let path = Path::parse(&key).unwrap();
        let ranges = self.bucket.object_store().get_ranges(&path, &[7..9, 0..2, 1..3]).await.unwrap();
        assert_eq!(ranges, ["78", "01", "12"]);
        assert_eq!(self.bucket.object_store().head(&path).await.unwrap().size, 10);
    }

    async fn listing_is_in_order_from_a_name_on(&self) {
        let names = ["l/b/1", "l/a.x", "l/a/x", "l/a-b/c", "l/b.json", "l/b/10", "l/b/2", "lb/x"];
        for name in names {
            self.put(name, "x").await;
        }
        let ordered = ["l/a-b/c", "l/a.x", "l/a/x", "l/b.json", "l/b/1", "l/b/10", "l/b/2"];
        assert_eq!(self.names("l", None, 100).await, ordered);
        assert_eq!(self.names("l/", None, 3).await, ordered[..3]);
        for (i, name) in ordered.iter().enumerate() {
            assert_eq!(self.names("l", Some(name), 100).await, ordered[i + 1..], "after {name}");
        }
        assert_eq!(self.names("l", Some("l/b/0"), 2).await, ["l/b/1", "l/b/10"], "a name that is not there");
        assert_eq!(self.names("l/b", Some("l/b/1"), 100).await, ["l/b/10", "l/b/2"]);
        let listed = self.bucket.list(&format!("{}/l", self.root), None, 1).await.unwrap();
        assert!(listed[0].size == 1 && listed[0].modified_ms > 1_577_836_800_000);
    }

    async fn long_listings_come_whole(&self) {
        // More than two pages of S3; board objects, so that no disk is waited for.
        let folder = format!("_queries/{}", self.root);
        let names: Vec<String> = (0..2_100).map(|i| format!("{folder}/{i:05}")).collect();
        for chunk in names.chunks(64) {
            let key = |name: &String| Key::parse(name).unwrap();
            join_all(chunk.iter().map(async |name| self.bucket.put(&key(name), Bytes::new()).await.unwrap())).await;
        }
        let listed = self.bucket.list(&folder, None, 10_000).await.unwrap();
        assert!(listed.iter().map(|object| &object.key).eq(&names));
        let tail = self.bucket.list(&folder, Some(&names[2_049]), 10).await.unwrap();
        assert!(tail.iter().map(|object| &object.key).eq(&names[2_050..2_060]));
        assert_eq!(self.bucket.delete_prefix(&folder).await.unwrap(), 2_100);
        assert!(self.bucket.list(&folder, None, 1).await.unwrap().is_empty());
    }

    async fn unusual_names_are_kept(&self) {
        for name in ["büro 2/日本", "a+b", "7@n", "x=1,y", "(a)!"] {
            let name = format!("names/{name}");
            self.put(&name, &name).await;
            assert_eq!(self.bucket.get(&self.key(&name)).await.unwrap().unwrap(), name);
            assert!(self.names("names", None, 100).await.contains(&name), "{name}");
        }
    }

    async fn parts_go_up_whole(&self) {
        for size in [0, 1_000, 8 * 1024 * 1024, 20_000_001] {
            let body: Vec<u8> = (0..size).map(|i: u32| (i / 3) as u8).collect();
            let parts = body.chunks(300_007).map(Bytes::copy_from_slice).collect();
            let key = self.key("cells/uploaded.parquet");
            self.bucket.put_parts(&key, parts).await.unwrap();
            assert!(self.bucket.get(&key).await.unwrap().unwrap() == body, "{size}");
            let stream = self.bucket.object_store().get(&Path::parse(&key).unwrap()).await.unwrap().into_stream();
            assert_eq!(
                stream.map_ok(|piece| piece.len()).try_fold(0, async |a, b| Ok(a + b)).await.unwrap(),
                body.len()
            );
        }
    }

    async fn an_unfinished_upload_is_invisible(&self) {
        let path = Path::parse(self.key("half/x")).unwrap();
        let mut upload = self.bucket.object_store().put_multipart(&path).await.unwrap();
        upload.put_part(vec![1; 6 * 1024 * 1024].into()).await.unwrap();
        assert_eq!(self.bucket.get(&self.key("half/x")).await.unwrap(), None);
        assert!(self.names("half", None, 10).await.is_empty());
        upload.abort().await.unwrap();
        assert_eq!(self.bucket.get(&self.key("half/x")).await.unwrap(), None);
    }

    async fn deleting_twice_is_fine(&self) {
        self.put("gone/1", "x").await;
        self.put("gone/2", "x").await;
        let key = self.key("gone/1");
        self.bucket.delete(&key).await.unwrap();
        self.bucket.delete(&key).await.unwrap();
        assert_eq!(self.bucket.get(&key).await.unwrap(), None);
        assert_eq!(self.bucket.delete_prefix(&format!("{}/gone/", self.root)).await.unwrap(), 1);
        assert_eq!(self.bucket.delete_prefix(&format!("{}/gone/", self.root)).await.unwrap(), 0);
        let created = self.bucket.put_if_absent_decided(&key, Bytes::from_static(b"again")).await.unwrap();
        assert_eq!(created, Created::Mine, "a deleted name is free");
    }

    async fn many_are_deleted_at_once(&self) {
        let names: Vec<String> = (0..30).map(|i| format!("many/{i:02}")).collect();
        for name in &names {
            self.put(name, "x").await;
        }
        let keys: Vec<Key> =
            names.iter().skip(1).chain([&"many/never".to_owned()]).map(|name| self.key(name)).collect();
        self.bucket.delete_all(&keys).await.unwrap();
        self.bucket.delete_all(&keys).await.unwrap();
        self.bucket.delete_all(&[]).await.unwrap();
        assert_eq!(self.names("many", None, 100).await, ["many/00"]);
    }

    async fn folders_are_told_without_what_is_in_them(&self) {
        for name in ["tree/b/x", "tree/a/x/y", "tree/a/z", "tree/a-b/x", "tree/file"] {
            self.put(name, "x").await;
        }
        assert_eq!(self.bucket.folders(&format!("{}/tree", self.root)).await.unwrap(), ["a", "a-b", "b"]);
        assert!(self.bucket.folders(&format!("{}/tree/b/", self.root)).await.unwrap().is_empty());
        assert!(self.bucket.folders("").await.unwrap().contains(&self.root));
    }

    async fn the_store_tells_the_time(&self) {
        self.put("time", "x").await;
        let listed = self.bucket.list(&self.root, None, 1000).await.unwrap();
        let written = listed.iter().find(|object| object.key.ends_with("/time")).unwrap().modified_ms;
        let now = self.bucket.store_now_ms().await.unwrap();
        assert!((0..60_000).contains(&(now - written)), "{now} {written}");
        assert!(self.bucket.list("_apiary/probe/", None, 10).await.unwrap().is_empty());
    }

    async fn requests_are_counted(&self) {
        let counters = std::sync::Arc::<Counters>::default();
        let bucket = self.bucket.with_counters(std::sync::Arc::clone(&counters));
        let before = self.bucket.counters().snapshot();
        let key = self.key("counted");
        bucket.put(&key, Bytes::from_static(b"0123456789")).await.unwrap();
        bucket.get(&key).await.unwrap();
        bucket.get_range(&key, 2..5).await.unwrap();
        bucket.get(&self.key("absent")).await.unwrap();
        bucket.list(&self.root, None, 1).await.unwrap();
        bucket.delete(&key).await.unwrap();
        let seen = counters.snapshot();
        assert_eq!((seen.gets, seen.puts, seen.lists, seen.deletes), (3, 1, 1, 1));
        assert_eq!((seen.bytes_read, seen.bytes_written), (13, 10));
        assert_eq!(self.bucket.counters().snapshot(), before, "the first handle's are its own");
    }

    async fn the_probe_passes_and_leaves_nothing(&self) {
        let report = self.bucket.probe().await.unwrap();
        assert_eq!(report.checks.iter().filter(|check| check.verdict == Verdict::Right).count(), 6, "{report:?}");
        assert_eq!(report.store, self.bucket.uri());
        assert!(report.clock_skew_ms.abs() < 60_000, "{report:?}");
        assert!(self.bucket.list("_apiary/probe/", None, 10).await.unwrap().is_empty());
    }
}
