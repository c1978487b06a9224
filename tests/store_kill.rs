//! The durable local store under a real `kill -9`, and on a disk that is really full.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write},
    path::Path as FilePath,
    process::{Child, Command, Stdio},
};

use apiary_bucket::{Bucket, Created, Key};
use apiary_core::{Rng, SeededRng};
use bytes::Bytes;

/// The folder in which the child writes; unset, this process is nobody's child.
const FOLDER: &str = "APIARY_TEST_KILLED_FOLDER";

/// The entry with which the child begins: one that may be there already.
const FROM: &str = "APIARY_TEST_KILLED_FROM";

const ROUNDS: u64 = 20;

fn key(n: u64) -> Key {
    Key::parse(&format!("h/b/f-1/_delta_log/{n:020}.json")).unwrap()
}

/// A body that tells its own length and name.
fn body(n: u64) -> Bytes {
    let words = 1 + SeededRng::new(n).below(3_000);
    (0..words).flat_map(|i| (n * 1_000_003 + i * words).to_le_bytes()).collect()
}

#[tokio::test]
async fn writes_until_it_is_killed() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let bucket = Bucket::open(&folder).unwrap();
    // Bounded by whoever kills it; alone it ends by itself.
    let from: u64 = std::env::var(FROM).unwrap().parse().unwrap();
    for n in from..from + 20_000 {
        let created = bucket.put_if_absent_decided(&key(n), body(n)).await.unwrap();
        assert_eq!(created, Created::Mine, "{n}: what is there is what a child before wrote");
        let mut out = std::io::stdout().lock();
        writeln!(out, "\nacknowledged {n}").unwrap();
        out.flush().unwrap();
    }
}

fn child(folder: &FilePath, from: usize) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["store_kill::writes_until_it_is_killed", "--exact", "--nocapture", "--test-threads=1"]);
    command.env(FOLDER, folder).env(FROM, from.to_string()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.spawn().unwrap()
}

#[tokio::test]
async fn what_a_killed_process_was_told_is_there_and_nothing_is_half_there() {
    let folder = tempfile::tempdir().unwrap();
    let rng = SeededRng::new(17);
    let (mut told, mut untold) = (BTreeSet::new(), 0);
    for round in 0..ROUNDS {
        let mut child = child(folder.path(), told.len().saturating_sub(1));
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut left = 1 + rng.below(40);
        for line in lines {
            let line = line.unwrap();
            if let Some(n) = line.strip_prefix("acknowledged ") {
                told.insert(n.parse::<u64>().unwrap());
                left -= 1;
                if left == 0 {
                    // SIGKILL, in the middle of whatever it does now.
                    child.kill().unwrap();
                }
            }
            left = left.max(1);
        }
        assert!(!child.wait().unwrap().success(), "round {round}: it was killed");
        let bucket = Bucket::open(folder.path().to_str().unwrap()).unwrap();
        let listed = bucket.list("h", None, 100_000).await.unwrap();
        for (n, listed) in listed.iter().enumerate() {
            let n = n as u64;
            assert_eq!(listed.key, key(n).as_str(), "no gap, no stranger");
            assert!(bucket.get(&key(n)).await.unwrap().unwrap() == body(n), "round {round}: entry {n} is not whole");
        }
        assert!(told.iter().all(|n| *n < listed.len() as u64), "round {round}: an acknowledged entry is gone");
        untold += usize::from(listed.len() > told.len());
        let more: BTreeSet<u64> = (0..listed.len() as u64).collect();
        told = more;
    }
    eprintln!("{ROUNDS} kills, {} entries, {untold} kills left an entry that was not acknowledged", told.len());
}

/// Unmounts at its end.
struct Mounted(tempfile::TempDir);

impl Mounted {
    /// A file system of 256 KiB, if this machine lets us make one.
    fn small() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"]).arg(folder.path()).stderr(Stdio::null());
        mount.status().is_ok_and(|status| status.success()).then(|| Self(folder))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_disk_that_is_full_refuses_clearly_and_keeps_what_it_has() {
    let Some(disk) = Mounted::small() else {
        eprintln!("no right to mount a file system: the injected fault in crates/bucket is the test");
        return;
    };
    let bucket = Bucket::open(disk.0.path().to_str().unwrap()).unwrap();
    let mut written = 0;
    let error = loop {
        match bucket.put_if_absent_decided(&key(written), vec![7; 20_000].into()).await {
            Ok(created) => assert_eq!(created, Created::Mine),
            Err(error) => break error,
        }
        written += 1;
        assert!(written < 20, "256 KiB hold no 400");
    };
    assert!(error.to_string().contains("no space is left"), "{error}");
    for n in 0..written {
        assert_eq!(bucket.get(&key(n)).await.unwrap().unwrap().len(), 20_000);
    }
    assert_eq!(bucket.get(&key(written)).await.unwrap(), None);
    let staged = std::fs::read_dir(disk.0.path().join(".apiary-staging")).unwrap().count();
    assert_eq!(staged, 0, "nothing half written is left");
    bucket.delete(&key(0)).await.unwrap();
    let again = bucket.put_if_absent_decided(&key(written), vec![7; 10_000].into()).await.unwrap();
    assert_eq!(again, Created::Mine, "with space it goes on");
}
