use super::*;

fn files() -> (tempfile::TempDir, Files) {
    let home = tempfile::tempdir().unwrap();
    let files = Files::open(home.path()).unwrap();
    (home, files)
}

#[tokio::test]
async fn bytes_come_back_whole_and_in_parts() {
    let (_home, files) = files();
    let all: [Arc<dyn Artifacts>; 2] = [Arc::new(files), Arc::new(Memory::default())];
    for artifacts in all {
        let put = artifacts.put(b"hello world".to_vec(), "text/plain").await.unwrap();
        assert_eq!(put, ArtifactRef { artifact: ArtifactId::of(b"hello world"), size: 11, media_type: "text/plain".into() });
        let part = async |offset, limit| artifacts.read(&put.artifact, offset, limit).await.unwrap();
        assert_eq!(part(0, 100).await, (b"hello world".to_vec(), 11));
        assert_eq!(part(6, 3).await, (b"wor".to_vec(), 11));
        assert_eq!(part(11, 3).await, (Vec::new(), 11));
        assert_eq!(part(u64::MAX, u64::MAX).await, (Vec::new(), 11));
        assert_eq!(artifacts.put(Vec::new(), "text/plain").await.unwrap().size, 0);
        let unknown = artifacts.read(&ArtifactId::of(b"?"), 0, 1).await.unwrap_err();
        assert_eq!(unknown.code, ErrorCode::UnknownArtifact);
    }
}

#[tokio::test]
async fn a_damaged_artifact_is_never_served_and_heals_when_put_again() {
    let (_home, files) = files();
    let put = files.put(b"hello".to_vec(), "text/plain").await.unwrap();
    files.read(&put.artifact, 0, 9).await.unwrap();
    let (_, path) = files.place(&put.artifact);
    for damage in [b"hellp".as_slice(), b"hell", b""] {
        std::fs::write(&path, damage).unwrap();
        // Also where the clock of the file system is too coarse to show the change.
        files.verified.lock().unwrap().clear();
        assert_eq!(files.read(&put.artifact, 0, 1).await.unwrap_err().code, ErrorCode::StoreFailed);
        files.put(b"hello".to_vec(), "text/plain").await.unwrap();
        assert_eq!(files.read(&put.artifact, 0, 9).await.unwrap().0, b"hello");
    }
}

#[tokio::test]
async fn damage_after_the_first_reading_is_noticed() {
    let (_home, files) = files();
    let put = files.put(b"hello".to_vec(), "text/plain").await.unwrap();
    files.read(&put.artifact, 0, 9).await.unwrap();
    let (_, path) = files.place(&put.artifact);
    std::thread::sleep(std::time::Duration::from_millis(20));
    std::fs::write(&path, b"hellp").unwrap();
    assert_eq!(files.read(&put.artifact, 0, 9).await.unwrap_err().code, ErrorCode::StoreFailed);
}

#[tokio::test]
async fn many_may_put_the_same_at_once_and_nothing_is_left_over() {
    let (home, files) = files();
    let puts = (0..8).map(|_| files.put(vec![7; 100_000], "application/octet-stream"));
    let all = futures_util::future::join_all(puts).await;
    assert!(all.iter().all(|put| put.as_ref().unwrap().artifact == ArtifactId::of(&vec![7; 100_000])));
    let left = std::fs::read_dir(home.path().join("artifacts")).unwrap().map(|entry| entry.unwrap().file_name());
    // The folder of the first digits and the lock.
    let left: Vec<_> = left.filter(|name| name != "lock").collect();
    assert_eq!(left.len(), 1, "{left:?}");
}
