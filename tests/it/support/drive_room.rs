//! Google Drive as the house has it, without the house: for what needs many callers at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;
use toolgate::app::SystemClock;
use toolgate::call::{ArtifactRef, Artifacts, NoProgress};
use toolgate::confine::Folder;
use toolgate::domain::{
    Actor, ArtifactId, Bytes, CallId, Clock as _, Digest, DriveChange, DriveFile, DriveHit, Fault, Labels, Limits, Millis, Principal,
    RunId, SecretName,
};
use toolgate::egress::{Egress, EgressOptions, NoCredentials, PrivateException, RequestLog, RequestRecord, SystemResolver};
use toolgate::secrets::vault::{Lent, Terms};
use toolgate::tools::CallContext;
use toolgate::tools::drive::google::{GoogleDrive, GoogleSettings, Places, Shared};
use toolgate::tools::drive::keys::Keys;
use toolgate::tools::drive::{DrivePorts, Index};
use toolgate::tools::network::HttpEvents;
use url::Url;

use super::google::{CLIENT, CLIENT_SECRET, Google, STEP};

/// Keeps nothing of what it is told.
struct Nothing;

#[async_trait]
impl RequestLog for Nothing {
    async fn record(&self, _record: RequestRecord) -> Result<(), Fault> {
        Ok(())
    }
}

impl HttpEvents for Nothing {
    fn of(&self, _context: &CallContext) -> Arc<dyn RequestLog> {
        Arc::new(Nothing)
    }
}

#[async_trait]
impl Artifacts for Nothing {
    async fn put(&self, _bytes: Vec<u8>, _media_type: &str) -> Result<ArtifactRef, Fault> {
        Err(Fault::internal("nothing is kept here"))
    }
    async fn read(&self, _id: &ArtifactId, _offset: u64, _limit: u64) -> Result<(Vec<u8>, u64), Fault> {
        Err(Fault::internal("nothing is kept here"))
    }
}

#[derive(Default)]
struct Uploads(Mutex<BTreeMap<String, String>>);

#[async_trait]
impl Index for Uploads {
    async fn known(&self, _under: Option<&str>) -> Result<Vec<(String, DriveFile)>, Fault> {
        Ok(Vec::new())
    }
    async fn apply(&self, _changes: &[DriveChange]) -> Result<(), Fault> {
        Ok(())
    }
    async fn find(&self, _words: &[String], _under: Option<&str>, _limit: usize) -> Result<Vec<DriveHit>, Fault> {
        Ok(Vec::new())
    }
    async fn upload(&self, key: &str) -> Result<Option<String>, Fault> {
        Ok(self.0.lock().unwrap().get(key).cloned())
    }
    async fn keep_upload(&self, key: &str, state: Option<&str>) -> Result<(), Fault> {
        let mut all = self.0.lock().unwrap();
        match state {
            Some(state) => drop(all.insert(key.to_owned(), state.to_owned())),
            None => drop(all.remove(key)),
        }
        Ok(())
    }
}

struct Ring {
    login: Mutex<String>,
    base: String,
}

#[async_trait]
impl Keys for Ring {
    async fn lend(&self, name: &SecretName, _tool: Option<&str>) -> Result<Lent, Fault> {
        let value = if name.as_str() == "GOOGLE_CLIENT" { CLIENT_SECRET.to_owned() } else { self.login.lock().unwrap().clone() };
        let terms = Terms { hosts: vec![self.base.parse()?], tools: Vec::new(), description: String::new() };
        Ok(Lent { name: name.clone(), value: value.into(), terms })
    }
    async fn renew(&self, _name: &SecretName, value: &SecretString) -> Result<(), Fault> {
        use secrecy::ExposeSecret as _;
        *self.login.lock().unwrap() = value.expose_secret().to_owned();
        Ok(())
    }
    fn hide(&self, _name: &str, _value: &SecretString) {}
}

/// Logged in at this service, with the drive at that port.
pub fn google_drive(google: &Google, drive: u16) -> GoogleDrive {
    let private =
        [google.server.port, drive].map(|port| PrivateException { purpose: "drive".into(), host: "127.0.0.1".into(), port }).to_vec();
    let resolver = Arc::new(SystemResolver);
    let egress =
        Egress::new(EgressOptions { proxy: None, private, extra_roots_pem: None, resolver, credentials: Arc::new(NoCredentials) }).unwrap();
    let base = google.server.base();
    let at = |path: &str| Url::parse(&format!("{base}/{path}")).unwrap();
    let places = Places {
        auth: at("auth"),
        token: at("token"),
        device: at("device"),
        revoke: at("revoke"),
        api: Url::parse(&format!("http://127.0.0.1:{drive}")).unwrap(),
    };
    let client_secret = Some("GOOGLE_CLIENT".parse().unwrap());
    let settings =
        GoogleSettings { client: CLIENT.into(), client_secret, scope: "drive.file".into(), shared: Shared::No, places, chunk: STEP };
    let keys = Arc::new(Ring { login: Mutex::new(google.login()), base });
    let ports =
        DrivePorts { egress, http_events: Arc::new(Nothing), keys, index: Arc::new(Uploads::default()), clock: Arc::new(SystemClock) };
    GoogleDrive::new(Arc::new(settings), ports).unwrap()
}

/// A call of nobody's.
pub fn context() -> CallContext {
    let now = SystemClock.now();
    let workspace = std::env::temp_dir();
    CallContext {
        call: CallId::mint(now),
        run: RunId::mint(now),
        actor: Actor::agent(Principal::local()),
        from_code: false,
        digest: Digest::ZERO,
        wall: Arc::default(),
        labels: Labels::default(),
        brought: Arc::default(),
        artifacts: Arc::new(Nothing),
        workspace: Arc::new(Folder::open(&workspace).unwrap()),
        limits: Limits { wall: Millis(60_000), output: Bytes(1 << 20) },
        cancel: CancellationToken::new(),
        progress: Arc::new(NoProgress),
    }
}
