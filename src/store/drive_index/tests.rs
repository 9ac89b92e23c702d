use super::*;

fn put(path: &str, text: &str) -> DriveChange {
    let file = DriveFile { size: text.len() as u64, stamp: 7, digest: Digest::of(text.as_bytes()) };
    DriveChange::Put { path: path.to_owned(), file, text: text.to_owned() }
}

async fn found(index: &DriveIndex, words: &[&str], under: Option<&str>) -> Vec<String> {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    index.find(&words, under, 50).await.unwrap().into_iter().map(|hit| hit.path).collect()
}

#[tokio::test]
async fn words_are_found_and_forgotten() {
    let home = tempfile::tempdir().unwrap();
    let index = DriveIndex::of(home.path());
    let texts =
        [put("a/price-list.md", "nothing"), put("a/b.md", "The Prices, in Café"), put("a0.md", "price"), put("c.md", "東京都の価格")];
    index.apply(&texts).await.unwrap();
    assert_eq!(found(&index, &["price"], None).await[0], "a/price-list.md");
    assert_eq!(found(&index, &["price"], Some("a")).await.len(), 2);
    assert_eq!(found(&index, &["cafe", "PRICE"], None).await, ["a/b.md"]);
    assert_eq!(found(&index, &["京都"], None).await, ["c.md"]);
    assert_eq!(found(&index, &["京の"], None).await, [""; 0]);
    index.apply(&[put("a/b.md", "other"), DriveChange::Remove { path: "a0.md".to_owned() }]).await.unwrap();
    assert_eq!(found(&index, &["price"], None).await, ["a/price-list.md"]);
    assert_eq!(found(&index, &["other"], None).await, ["a/b.md"]);
    let known = index.known(Some("a")).await.unwrap();
    assert_eq!(known.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), ["a/b.md", "a/price-list.md"]);
    assert_eq!(known[0].1, DriveFile { size: 5, stamp: 7, digest: Digest::of(b"other") });
}

#[tokio::test]
async fn a_query_is_words_and_never_language() {
    let home = tempfile::tempdir().unwrap();
    let index = DriveIndex::of(home.path());
    index.apply(&[put("a.md", "alpha OR beta"), put("b.md", "gamma")]).await.unwrap();
    for words in [
        ["\"", "gamma"],
        ["a\" OR \"g", "x"],
        ["body:gamma", "x"],
        ["gamma)", "("],
        ["NEAR(alpha", "gamma)"],
        ["*", "^gamma"],
        ["'; DROP TABLE files; --", "x"],
        ["\0", "-gamma"],
    ] {
        let hits = found(&index, &words, None).await;
        assert!(hits.len() <= 1 && !hits.contains(&"a.md".to_owned()), "{words:?}: {hits:?}");
    }
    assert_eq!(found(&index, &["OR"], None).await, ["a.md"]);
    assert_eq!(index.known(None).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_damaged_file_is_made_anew_and_two_share_one() {
    let home = tempfile::tempdir().unwrap();
    let index = DriveIndex::of(home.path());
    index.apply(&[put("a.md", "alpha")]).await.unwrap();
    let other = DriveIndex::of(home.path());
    assert_eq!(found(&other, &["alpha"], None).await, ["a.md"]);
    drop((index, other));
    for bytes in [&b"this is no database at all, whatever its name says; it is a text that somebody put here"[..], b""] {
        discard(&home.path().join(FILE));
        std::fs::write(home.path().join(FILE), bytes).unwrap();
        let index = DriveIndex::of(home.path());
        assert_eq!(found(&index, &["alpha"], None).await, [""; 0]);
        index.apply(&[put("a.md", "alpha")]).await.unwrap();
        assert_eq!(found(&index, &["alpha"], None).await, ["a.md"]);
    }
}

#[tokio::test]
async fn uploads_are_kept_for_a_while() {
    let home = tempfile::tempdir().unwrap();
    let index = DriveIndex::of(home.path());
    index.keep_upload("one", Some("{}"), 100, 0).await.unwrap();
    index.keep_upload("one", Some("{1}"), 110, 0).await.unwrap();
    assert_eq!(index.upload("one").await.unwrap().as_deref(), Some("{1}"));
    index.keep_upload("two", Some("{}"), 200, 150).await.unwrap();
    assert_eq!(index.upload("one").await.unwrap(), None);
    index.keep_upload("two", None, 200, 0).await.unwrap();
    assert_eq!(index.upload("two").await.unwrap(), None);
}
