//! The front: a list of pins becomes a folder to be mounted, found or made.
//!
//! INVARIANT: what several callers, of this process or of others, want at the same time is made once. It is given up when the last caller
//! of this process has given up.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::domain::{Clock, Digest, ErrorCode, Fault};
use crate::packages::cache::{Keys, key_of};
use crate::packages::files::printable;
use crate::packages::flight::{Flights, Notes};
use crate::packages::job::failed;
use crate::packages::lock::Lock;
use crate::packages::requirement::Requirement;
use crate::packages::room::{may_use_old, on_the_side};

use super::held::Held;
use super::hosts::reach;
use super::make::make;
use super::options::EnvironmentsOptions;
use super::resolve::{no_installer, python, resolve};
use super::settings::Settings;
use super::shelf::{Building, Shelf, Whole};
use super::workshop::{Reach, Workshop};

const PAUSE_FIRST: Duration = Duration::from_millis(20);
const PAUSE_LAST: Duration = Duration::from_millis(500);

/// An environment, which stays in its place as long as this lives.
#[derive(Debug)]
pub struct Environment {
    /// What is in it, as the text of its [`Lock`].
    pub lock: String,
    /// What that is known by.
    pub digest: Digest,
    /// The folder of the machine that is to be mounted read-only, at [`super::MOUNTED_AT`] and nowhere else.
    pub folder: PathBuf,
    /// Names of the programs in `bin` that its packages brought, sorted.
    pub bin: Vec<String>,
    _whole: Whole,
}

/// Environments of the machine's Python, made once for each lock.
pub struct Environments {
    making: Arc<Making>,
    flights: Flights<Environment>,
}

struct Making {
    workshop: Workshop,
    shelf: Arc<Shelf>,
    keys: Keys,
    clock: Arc<dyn Clock>,
    /// What locks say of the Python.
    python: String,
}

/// Where a resolution was made, and how.
struct Resolved {
    lock: Lock,
    settings: Settings,
    reach: Reach,
    building: Building,
    wheels: PathBuf,
}

impl Environments {
    /// Touches nothing yet.
    #[must_use]
    pub fn new(options: EnvironmentsOptions) -> Self {
        let EnvironmentsOptions { cache, installer, python: at, build_box, clock } = options;
        let cache = std::path::absolute(&cache).unwrap_or(cache);
        let exe = at.exe.clone();
        let workshop = Workshop { installer, python: at, build_box };
        let python = python(&workshop);
        let shelf = Arc::new(Shelf::new(&cache, python.clone(), exe));
        let making = Making { workshop, shelf, keys: Keys::new(&cache.join("keys")), clock, python };
        Self { making: Arc::new(making), flights: Flights::default() }
    }

    /// The lock's digest of an environment that needs neither network nor installer: it is there, and its pins were resolved within a day.
    /// Reads two small files.
    #[must_use]
    pub fn cached(&self, requirements: &[Requirement]) -> Option<Digest> {
        self.making.fresh(requirements).filter(|lock| self.making.shelf.is_there(*lock))
    }

    /// The environment of these requirements, which are as [`Requirement::parse_all`] gives them; of none, one without packages. `note` is
    /// told what is being done.
    ///
    /// # Errors
    /// `REQUIREMENTS_UNRESOLVED`, `REQUIREMENT_REFUSED`, `INSTALLER_UNAVAILABLE`, `LIMIT_EXCEEDED`, `TIMEOUT`, `CANCELLED`; those of the
    /// box.
    pub async fn get(
        &self,
        requirements: &[Requirement],
        cancel: &CancellationToken,
        note: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<Arc<Environment>, Fault> {
        if !self.making.workshop.python.exe.is_absolute() {
            return Err(Fault::new(ErrorCode::InstallerUnavailable, "this machine has no Python that packages can be installed for").hint(
                "the operator installs Python 3 with `venv` and `pip`: on Debian and Ubuntu the packages `python3-venv` and `python3-pip`",
            ));
        }
        let key = key_of(&self.making.python, requirements);
        let (making, roots) = (Arc::clone(&self.making), requirements.to_vec());
        self.flights.join(key, cancel, note, |notes| async move { making.get(&roots, key, &notes).await.map(Arc::new) }).await
    }
}

impl Making {
    fn fresh(&self, roots: &[Requirement]) -> Option<Digest> {
        if roots.is_empty() {
            return Lock::of(&self.python, Vec::new()).map(|lock| lock.digest());
        }
        self.keys.entry(key_of(&self.python, roots)).filter(|entry| entry.is_fresh(self.clock.now())).map(|entry| entry.lock)
    }

    async fn find(&self, lock: Option<Digest>) -> Result<Option<Environment>, Fault> {
        let Some(lock) = lock else { return Ok(None) };
        let (shelf, now) = (Arc::clone(&self.shelf), self.clock.now());
        let found = on_the_side(move || shelf.find(lock, now).map_err(failed)).await?;
        Ok(found.map(Environment::of))
    }

    async fn get(&self, roots: &[Requirement], key: Digest, notes: &Notes) -> Result<Environment, Fault> {
        if let Some(found) = self.find(self.fresh(roots)).await? {
            return Ok(found);
        }
        let cancel = CancellationToken::new();
        // Dropping this future ends what runs in the box.
        let _ends = cancel.clone().drop_guard();
        let turn = self.turn(key, notes).await?;
        let outcome = match self.find(self.fresh(roots)).await? {
            Some(found) => Ok(found),
            None => Box::pin(self.renew(roots, key, &cancel, notes)).await,
        };
        turn.remove();
        outcome
    }

    /// The lock between processes for making `name`.
    async fn turn(&self, name: Digest, notes: &Notes) -> Result<Held, Fault> {
        let mut pause = PAUSE_FIRST;
        loop {
            let shelf = Arc::clone(&self.shelf);
            if let Some(held) = on_the_side(move || shelf.reserve(&name.to_string()).map_err(failed)).await? {
                return Ok(held);
            }
            if pause == PAUSE_FIRST {
                notes.tell("waiting for somebody else who makes the same environment");
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_LAST);
        }
    }

    /// Resolves anew; where that cannot be done now, what it led to the last time is used.
    async fn renew(&self, roots: &[Requirement], key: Digest, cancel: &CancellationToken, notes: &Notes) -> Result<Environment, Fault> {
        let resolved = match self.resolve(roots, cancel, notes).await {
            Ok(resolved) => resolved,
            Err(fault) => {
                let old = if may_use_old(fault.code) { self.keys.entry(key).map(|entry| entry.lock) } else { None };
                let Some(found) = self.find(old).await? else { return Err(fault) };
                notes.tell("the packages cannot be looked up anew now; those of the last time are used");
                tracing::info!("an old environment is used, as its packages cannot be looked up: {fault}");
                return Ok(found);
            }
        };
        let lock = resolved.lock.digest();
        let made = match self.find(Some(lock)).await? {
            Some(found) => found,
            None => self.build(resolved, cancel, notes).await?,
        };
        if let Err(error) = self.keys.remember(key, lock, self.clock.now()) {
            tracing::warn!("what requirements led to cannot be stored: {error}");
        }
        Ok(made)
    }

    async fn resolve(&self, roots: &[Requirement], cancel: &CancellationToken, notes: &Notes) -> Result<Resolved, Fault> {
        let (survey, program) = self.workshop.survey(cancel).await?;
        let uv = program.filter(|_| survey.uv).map(|program| Settings::of_uv(program, &self.workshop.installer, survey.uv_default));
        let pip = survey.pip.as_ref().filter(|_| survey.venv).map(Settings::of_pip);
        // An environment without packages needs neither.
        let bare = (roots.is_empty() && survey.venv && uv.is_none() && pip.is_none()).then(Settings::of_nothing);
        let mut first_fault = None;
        for (name, settings) in
            [("uv", uv), ("pip", pip), ("nothing", bare)].into_iter().filter_map(|(name, settings)| Some((name, settings?)))
        {
            notes.tell(&format!("resolving packages with {name}"));
            match self.resolve_with(settings, roots, cancel).await {
                Ok(resolved) => return Ok(resolved),
                // The other one may be set up otherwise.
                Err(fault) if is_about_installer(&fault) => drop(first_fault.get_or_insert(fault)),
                Err(fault) => return Err(fault),
            }
        }
        let broken = |kind: String| {
            let message = format!("`pip` cannot read how it is set up ({})", printable(&kind));
            Fault::new(ErrorCode::InstallerUnavailable, message)
                .hint("run `pip config list` as the server's user, and mend what it complains of")
        };
        Err(first_fault.or_else(|| survey.pip_trouble.map(broken)).unwrap_or_else(no_installer))
    }

    async fn resolve_with(&self, settings: Settings, roots: &[Requirement], cancel: &CancellationToken) -> Result<Resolved, Fault> {
        let shelf = Arc::clone(&self.shelf);
        let (building, wheels) = on_the_side(move || {
            let building = shelf.building().map_err(failed)?;
            let wheels = building.subfolder("wheels").map_err(failed)?;
            Ok((building, wheels))
        })
        .await?;
        if roots.is_empty() {
            let lock = Lock::of(&self.python, Vec::new()).ok_or_else(|| Fault::internal("the Python's version is not one line"))?;
            return Ok(Resolved { lock, settings, reach: Reach::default(), building, wheels });
        }
        let reach = reach(&self.workshop, &settings, roots, cancel).await?;
        let lock = resolve(&self.workshop, &settings, roots, &reach, wheels.clone(), cancel).await?;
        Ok(Resolved { lock, settings, reach, building, wheels })
    }

    async fn build(&self, resolved: Resolved, cancel: &CancellationToken, notes: &Notes) -> Result<Environment, Fault> {
        let Resolved { lock, settings, reach, building, wheels } = resolved;
        // Other pins may lead to the same lock.
        let turn = self.turn(lock.digest(), notes).await?;
        if let Some(found) = self.find(Some(lock.digest())).await? {
            return Ok(found);
        }
        notes.tell(&format!("installing {} packages", lock.packages().len()));
        let folder = building.environment().map_err(failed)?;
        make(&self.workshop, &settings, &lock, &reach, (folder, wheels), cancel).await?;
        let (shelf, now) = (Arc::clone(&self.shelf), self.clock.now());
        let made = on_the_side(move || {
            let whole = shelf.put(&building, &lock, now);
            // Removing what is left may take a while.
            drop(building);
            whole.map_err(|why| Fault::new(ErrorCode::RequirementRefused, format!("the environment that was made is not used: {why}")))
        });
        let made = made.await?;
        turn.remove();
        Ok(Environment::of(made))
    }
}

impl Environment {
    fn of(whole: Whole) -> Self {
        Self {
            lock: whole.lock.to_string(),
            digest: whole.lock.digest(),
            folder: whole.folder.clone(),
            bin: whole.bin.clone(),
            _whole: whole,
        }
    }
}

/// Whether another installer may do what this one could not.
fn is_about_installer(fault: &Fault) -> bool {
    let unreachable = fault.details.as_ref().is_some_and(|details| details.get("unreachable").is_some());
    unreachable || fault.code == ErrorCode::InstallerUnavailable
}
