//! Creating names: once, identical or not, and by many at once.

use std::sync::Arc;

use apiary_core::ErrorKind;
use arrow::datatypes::{DataType, Field, Schema};

use super::*;

fn spec(data_type: DataType, by: &[&str]) -> FrameSpec {
    let fields = vec![Field::new("n", data_type, true), Field::new("r", DataType::Utf8, true)];
    let partition_by = by.iter().map(|name| (*name).to_owned()).collect();
    FrameSpec { schema: Arc::new(Schema::new(fields)), partition_by }
}

async fn registry() -> (Registry, FramePath) {
    let registry = Registry::new(Bucket::in_memory());
    let path: FramePath = "Hive.box.frame".parse().unwrap();
    assert!(registry.create_hive(&path.hive).await.unwrap());
    assert!(registry.create_box(&path.hive, &path.box_name).await.unwrap());
    (registry, path)
}

#[tokio::test]
async fn creating_again_what_is_identical_changes_nothing() {
    let (registry, path) = registry().await;
    let spec = spec(DataType::Int64, &["r"]);
    assert!(registry.create_frame(&path, &spec).await.unwrap());
    let before = registry.namespace().await.unwrap().version;
    assert!(!registry.create_hive(&path.hive).await.unwrap());
    assert!(!registry.create_box(&path.hive, &path.box_name).await.unwrap());
    assert!(!registry.create_frame(&path, &spec).await.unwrap());
    // Another node, which knows nothing yet.
    let other = Registry::new(registry.log.bucket.clone());
    assert!(!other.create_frame(&path, &spec).await.unwrap());
    assert_eq!(other.namespace().await.unwrap().version, before);
}

#[tokio::test]
async fn creating_again_what_differs_names_the_difference() {
    let (registry, path) = registry().await;
    registry.create_frame(&path, &spec(DataType::Int64, &["r"])).await.unwrap();
    for (spec, word) in
        [(spec(DataType::Int32, &["r"]), "'n' is Int64, not Int32"), (spec(DataType::Int64, &[]), "partitioned")]
    {
        let error = registry.create_frame(&path, &spec).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert!(error.to_string().contains(word), "{error}");
    }
    let error = registry.create_hive(&HiveName::new("HIVE").unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("spelled 'Hive'"), "{error}");
}

#[tokio::test]
async fn a_frame_needs_its_box_and_a_box_its_hive() {
    let (registry, _) = registry().await;
    let path: FramePath = "hive.bax.frame".parse().unwrap();
    let error = registry.create_frame(&path, &spec(DataType::Int64, &[])).await.unwrap_err();
    assert_eq!((error.kind(), error.hint().as_deref()), (ErrorKind::NotFound, Some("did you mean 'box'?")));
    let error = registry.create_box(&HiveName::new("none").unwrap(), &path.box_name).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn of_many_who_create_the_same_frame_one_does() {
    let (registry, path) = registry().await;
    let spec = spec(DataType::Int64, &[]);
    let create = |_| {
        let registry = Registry::new(registry.log.bucket.clone());
        let (path, spec) = (path.clone(), spec.clone());
        async move { registry.create_frame(&path, &spec).await.unwrap() }
    };
    let created = futures::future::join_all((0..8).map(create)).await;
    assert_eq!(created.iter().filter(|created| **created).count(), 1);
    assert_eq!(registry.namespace().await.unwrap().all_frames().len(), 1);
}

#[tokio::test]
async fn a_colony_without_names_has_none() {
    let names = Registry::new(Bucket::in_memory()).namespace().await.unwrap();
    assert_eq!((names.version, names.hives().len()), (None, 0));
}
