//! Other names for the same things.

use super::*;

#[tokio::test]
async fn a_frame_is_the_same_under_its_new_name() {
    let bucket = Bucket::in_memory();
    let registry = colony(&bucket, &["h", "h.b", "h.b.f", "h.c"]).await;
    let before = registry.namespace().await.unwrap().frame("h", "b", "f").unwrap();
    for (from, to) in [
        ("h.b.f", "h.b.g"),
        ("H.B.G", "h.b.My Frame"),
        ("h.b.my frame", "h.b.MY FRAME"),
        ("h.b.my frame", "h.b.MY FRAME"),
        ("h.b.my frame", "h.c.f"),
    ] {
        registry.rename_frame(&at(from), &at(to)).await.unwrap();
        let names = Registry::new(bucket.clone()).namespace().await.unwrap();
        let to = at(to);
        let now = names.frame(to.hive.as_str(), to.box_name.as_str(), to.frame.as_str()).unwrap();
        assert_eq!((now.path.to_string(), &now.folder, &now.id), (to.to_string(), &before.folder, &before.id));
        assert_eq!(names.all_frames().len(), 1);
        assert_eq!(find(&bucket, &to.to_string()).await.unwrap().version, Version(0));
    }
    let error = find(&bucket, "h.b.f").await.unwrap_err();
    assert_eq!((error.kind(), error.hint().as_deref()), (ErrorKind::NotFound, Some("it was renamed to 'h.c.f'")));
    assert_eq!(folders(&bucket).await.len(), 1);
}

#[tokio::test]
async fn hives_and_boxes_are_renamed_with_what_is_in_them() {
    let bucket = Bucket::in_memory();
    let registry = colony(&bucket, &["h", "h.b", "h.b.f"]).await;
    registry.rename_box(&hive("H"), &in_box("B"), &in_box("Büro 2")).await.unwrap();
    registry.rename_hive(&hive("h"), &hive("Lab")).await.unwrap();
    registry.rename_hive(&hive("lab"), &hive("LAB")).await.unwrap();
    assert_eq!(find(&bucket, "lab.büro 2.f").await.unwrap().version, Version(0));
    // What the old names lead to is new.
    registry.create_hive(&hive("h")).await.unwrap();
    registry.create_box(&hive("h"), &in_box("b")).await.unwrap();
    assert!(registry.create_frame(&at("h.b.f"), &spec(DataType::Utf8, &[])).await.unwrap());
    assert_eq!(folders(&bucket).await.len(), 2);
    let names = registry.namespace().await.unwrap();
    assert_eq!(
        names.all_frames().iter().map(|frame| frame.path.to_string()).collect::<Vec<_>>(),
        ["h.b.f", "LAB.Büro 2.f"]
    );
}

#[tokio::test]
async fn a_name_that_is_taken_or_missing_is_refused() {
    let bucket = Bucket::in_memory();
    let registry = colony(&bucket, &["a", "a.b", "a.b.f", "a.b.g", "a.c", "d"]).await;
    let before = registry.namespace().await.unwrap().version;
    let box_of_a = async |from, to| registry.rename_box(&hive("a"), &in_box(from), &in_box(to)).await.unwrap_err();
    let frame = async |from, to| registry.rename_frame(&at(from), &at(to)).await.unwrap_err();
    for (error, kind, text) in [
        (registry.rename_hive(&hive("a"), &hive("D")).await.unwrap_err(), ErrorKind::AlreadyExists, "hive 'D' exists"),
        (registry.rename_hive(&hive("x"), &hive("y")).await.unwrap_err(), ErrorKind::NotFound, "no hive 'x'"),
        (box_of_a("b", "C").await, ErrorKind::AlreadyExists, "box 'a.C' exists"),
        (box_of_a("x", "y").await, ErrorKind::NotFound, "no box 'a.x'"),
        (frame("a.b.f", "a.b.G").await, ErrorKind::AlreadyExists, "frame 'a.b.G' exists"),
        (frame("a.b.x", "a.b.y").await, ErrorKind::NotFound, "no frame 'a.b.x'"),
        (frame("a.b.f", "a.none.f").await, ErrorKind::NotFound, "no box 'a.none'"),
    ] {
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(text), "{error}");
    }
    assert_eq!(registry.namespace().await.unwrap().version, before);
}
