//! Search of the local drive over 100,000 files, beside what reading all of them costs.
//!
//! `cargo bench --profile dev --bench drive` prints one line a figure. `TOOLGATE_BENCH_QUICK=1` takes 5,000 files.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use toolgate::app::SystemClock;
use toolgate::call::{ArtifactRef, Artifacts, NoProgress};
use toolgate::confine::Folder;
use toolgate::domain::{
    Actor, ArtifactId, Bytes, CallId, Clock as _, Digest, DriveChange, DriveFile, DriveHit, Fault, Labels, Limits, Millis, Principal, RunId,
};
use toolgate::store::DriveIndex;
use toolgate::tools::CallContext;
use toolgate::tools::drive::{Index, LocalDrive, Provider as _, Query};

#[path = "shared/mod.rs"]
#[expect(dead_code, reason = "shared with other benchmarks")]
mod shared;

use shared::{Outcome, median, millis};

#[expect(clippy::print_stdout, reason = "a benchmark's output is its result")]
fn say(what: &str, figure: &str) {
    println!("{what:<84} {figure}");
}

struct Indexed(DriveIndex);

#[async_trait]
impl Index for Indexed {
    async fn known(&self, under: Option<&str>) -> Result<Vec<(String, DriveFile)>, Fault> {
        self.0.known(under).await
    }
    async fn apply(&self, changes: &[DriveChange]) -> Result<(), Fault> {
        self.0.apply(changes).await
    }
    async fn find(&self, words: &[String], under: Option<&str>, limit: usize) -> Result<Vec<DriveHit>, Fault> {
        self.0.find(words, under, limit).await
    }
    async fn upload(&self, key: &str) -> Result<Option<String>, Fault> {
        self.0.upload(key).await
    }
    async fn keep_upload(&self, key: &str, state: Option<&str>) -> Result<(), Fault> {
        self.0.keep_upload(key, state, 0, 0).await
    }
}

/// A search keeps nothing.
struct Nothing;

#[async_trait]
impl Artifacts for Nothing {
    async fn put(&self, _bytes: Vec<u8>, _media_type: &str) -> Result<ArtifactRef, Fault> {
        Err(Fault::internal("nothing is kept here"))
    }
    async fn read(&self, _id: &ArtifactId, _offset: u64, _limit: u64) -> Result<(Vec<u8>, u64), Fault> {
        Err(Fault::internal("nothing is kept here"))
    }
}

fn context(workspace: &Path) -> Outcome<CallContext> {
    let now = SystemClock.now();
    Ok(CallContext {
        call: CallId::mint(now),
        run: RunId::mint(now),
        actor: Actor::agent(Principal::local()),
        from_code: false,
        digest: Digest::ZERO,
        wall: Arc::default(),
        labels: Labels::default(),
        brought: Arc::default(),
        artifacts: Arc::new(Nothing),
        workspace: Arc::new(Folder::create(workspace)?),
        limits: Limits { wall: Millis(3_600_000), output: Bytes(1 << 20) },
        cancel: CancellationToken::new(),
        progress: Arc::new(NoProgress),
    })
}

/// Words as rare and as common as those of a language: the n-th is as often there as 1/n.
fn text(seed: usize, words: usize) -> String {
    let mut state = (seed as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1);
    let mut out = String::new();
    for _ in 0..words {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let even = (state >> 11) as f64 / (1_u64 << 53) as f64;
        let rank = (20_000_f64.powf(even)) as u64;
        out.push_str(&format!("word{rank} "));
    }
    out
}

fn fill(root: &Path, files: usize) -> Outcome<u64> {
    let mut bytes = 0;
    for n in 0..files {
        let folder = root.join(format!("team{:03}", n / 500));
        if n % 500 == 0 {
            std::fs::create_dir_all(&folder)?;
        }
        let mut text = text(n, 150);
        if n == files / 2 {
            text.push_str(" needle");
        }
        bytes += text.len() as u64;
        std::fs::write(folder.join(format!("note-{n}.md")), text)?;
    }
    Ok(bytes)
}

/// What a search without an index does at the least: reads every file and looks for the word.
fn scan(root: &Path, word: &str) -> Outcome<usize> {
    let mut found = 0;
    for folder in std::fs::read_dir(root)? {
        for file in std::fs::read_dir(folder?.path())? {
            let bytes = std::fs::read(file?.path())?;
            found += usize::from(bytes.windows(word.len()).any(|window| window == word.as_bytes()));
        }
    }
    Ok(found)
}

fn main() -> Outcome<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run())
}

async fn run() -> Outcome<()> {
    #[expect(clippy::disallowed_methods, reason = "a benchmark has no settings file")]
    let files = if std::env::var_os("TOOLGATE_BENCH_QUICK").is_some() { 5_000 } else { 100_000 };
    let scratch = tempfile::tempdir()?;
    let root = scratch.path().join("drive");
    let bytes = fill(&root, files)?;
    say("files", &format!("{files} with {:.0} MB", bytes as f64 / 1e6));

    let index = Arc::new(Indexed(DriveIndex::of(scratch.path())));
    let drive = LocalDrive::new(&root, index.clone(), Arc::new(SystemClock));
    let context = context(&scratch.path().join("workspace"))?;
    let search = async |words: &str| -> Outcome<(usize, Duration)> {
        let query = Query { words: words.to_owned(), folder: None, limit: 10 };
        let begun = Instant::now();
        let found = drive.search(&query, &context).await?;
        assert!(found.complete);
        Ok((found.finds.len(), begun.elapsed()))
    };
    let (_, first) = search("needle").await?;
    say(
        "the first search, which reads and indexes all",
        &format!("{:.1} s ({:.0} files/s)", first.as_secs_f64(), files as f64 / first.as_secs_f64()),
    );
    let size: u64 = std::fs::read_dir(scratch.path())?
        .flatten()
        .filter(|file| file.file_name().to_string_lossy().starts_with("drive-index"))
        .filter_map(|file| file.metadata().ok())
        .map(|about| about.len())
        .sum();
    say("index on the disk", &format!("{:.0} MB", size as f64 / 1e6));
    // What changed less than two seconds before it was read is read once more.
    tokio::time::sleep(Duration::from_secs(3)).await;
    search("needle").await?;

    let repeat = async |words: &str, times: usize| -> Outcome<(usize, Duration)> {
        let (mut spans, mut found) = (Vec::new(), 0);
        for _ in 0..times {
            let (count, span) = search(words).await?;
            found = count;
            spans.push(span);
        }
        Ok((found, median(spans)))
    };
    let mut floor = Vec::new();
    for _ in 0..3 {
        let begun = Instant::now();
        assert_eq!(scan(&root, "needle")?, 1);
        floor.push(begun.elapsed());
    }
    let floor = median(floor);
    say("the floor without an index: reading all files for one word, warm", &format!("{:.0} ms", millis(floor)));
    let ratio =
        |span: Duration| format!("{:.1} ms, {:.1} × quicker than the floor", millis(span), floor.as_secs_f64() / span.as_secs_f64());
    say("a search that looks at all files for changes: one word, one find", &ratio(repeat("needle", 5).await?.1));

    let stop = CancellationToken::new();
    let mut watching = tokio::task::JoinSet::new();
    watching.spawn(drive.clone().watch(stop.clone()));
    search("needle").await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    search("needle").await?;
    for (what, words) in [
        ("one rare word", "needle"),
        ("two words of which both are common", "word3 word9"),
        ("a word that is in nearly every file", "word1"),
        ("the beginning of thousands of words", "word"),
        ("nothing", "absent"),
    ] {
        let (found, span) = repeat(words, 15).await?;
        say(&format!("a search while the folder is watched: {what} ({found} finds)"), &ratio(span));
    }
    std::fs::write(root.join("team000/changed.md"), "freshness")?;
    let begun = Instant::now();
    while search("freshness").await?.0 == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    say("from a change to its find, while the folder is watched", &format!("{:.1} ms", millis(begun.elapsed())));
    stop.cancel();
    while let Some(ended) = watching.join_next().await {
        ended?;
    }
    Ok(())
}
