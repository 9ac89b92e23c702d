use std::io::{self, Write};
use std::sync::Mutex;

use serde_json::json;

use super::super::*;
use crate::tools::handler;
use crate::tools::testing::{bench, call, code, prepare};

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Broken;

#[async_trait]
impl Sink for Broken {
    async fn show(&self, _notice: &Notice) -> bool {
        false
    }
}

fn took(channels: &[&str]) -> serde_json::Value {
    json!({ "delivered": channels, "queued": [], "failed": [] })
}

#[tokio::test]
async fn a_message_reaches_every_channel_that_works() {
    let (bench, hub, screen) = (bench(), Arc::new(NotifyHub::new()), Shared::default());
    let tool = handler(NotifySend::new(hub.clone()));
    assert_eq!(call(&tool, &bench, json!({ "message": "m" })).await.unwrap(), took(&[]));
    hub.attach("console", Arc::new(WriterSink::new(screen.clone())));
    hub.attach("broken", Arc::new(Broken));
    let mut stream = hub.subscribe("mcp");
    let input = json!({ "title": "Build\u{1b}[2J", "message": "done\n[error] forged\u{202e}", "level": "success" });
    assert_eq!(call(&tool, &bench, input).await.unwrap(), took(&["console", "mcp"]));
    assert_eq!(String::from_utf8(screen.0.lock().unwrap().clone()).unwrap(), "[success] Build: done\n    [error] forged\n");
    let notice = stream.recv().await.unwrap();
    assert_eq!((notice.title.as_deref(), notice.level, notice.run), (Some("Build"), Level::Success, bench.context.run));

    let only = json!({ "message": "m", "channel": "mcp" });
    assert_eq!(call(&tool, &bench, only.clone()).await.unwrap(), took(&["mcp"]));
    assert_eq!(stream.recv().await.unwrap().level, Level::Info);
    drop(stream);
    assert_eq!(call(&tool, &bench, only).await.unwrap(), took(&[]), "nobody listens");
}

#[tokio::test]
async fn bad_input_is_refused() {
    let (bench, hub) = (bench(), Arc::new(NotifyHub::new()));
    let _stream = hub.subscribe("mcp");
    let tool = handler(NotifySend::new(hub));
    for bad in [
        json!({}),
        json!({ "message": "\u{1b}[0m \u{200b}" }),
        json!({ "message": "m", "level": "loud" }),
        json!({ "message": "m", "channel": "slack" }),
        json!({ "message": "m", "to": "x@y" }),
        json!({ "message": "m", "to": ["x@y"] }),
        json!({ "message": "m", "channel": "mcp", "to": ["x@y"] }),
        json!({ "message": "m", "title": "two\nlines" }),
        json!({ "message": "m", "title": "\0" }),
    ] {
        assert_eq!(code(&tool, &bench, bad.clone()).await, ErrorCode::InvalidInput, "{bad}");
    }
    let prepared = prepare(&tool, &bench, json!({ "message": "m", "channel": "mcp" })).await.unwrap();
    assert_eq!(prepared.effects, Effects::only(Effect::Write));
}

#[test]
fn the_schema_knows_every_level() {
    let schema = handler(NotifySend::new(Arc::new(NotifyHub::new()))).input_schema();
    let levels = [Level::Info, Level::Success, Level::Warning, Level::Error].map(Level::as_str);
    assert_eq!(schema["properties"]["level"]["enum"], json!(levels));
    assert!(levels.iter().all(|level| serde_json::from_value::<Level>(json!(level)).unwrap().as_str() == *level));
}
