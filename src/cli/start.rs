//! From typed words to an exit code: parse, settings, log, house, verb.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;
use clap::error::ErrorKind;

use crate::call::Redact;
use crate::config::{self, Ambient, Config, LogLevel, Options};
use crate::domain::{Clock, ErrorCode, Problems};
use crate::secrets::operator::{Ask, FromDescriptor, FromTerminal};

use super::args::{Invocation, PassphraseFrom, Verb};
use super::exit::{Ending, Exit, Stop};
use super::output::Console;
use super::ports::{Door, House};
use super::report::{note, report};
use super::{
    approvals, audit, config as config_verb, doctor, drive, init, install, keep, log, log_level, policy, run as run_verb, runs, serve,
    tokens, tools, vault, verify_bundle, workflows,
};

/// What a verb works with: terminal, time, surroundings, and who answers for the operator.
pub struct Desk {
    /// Standard streams.
    pub console: Console,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Environment and platform.
    pub ambient: Ambient,
    /// Who is asked for the passphrase where no descriptor is named.
    pub passphrase: Arc<dyn Ask>,
}

impl Desk {
    /// This process's; what takes secrets out of everything that is shown.
    #[must_use]
    pub fn of_process(clock: Arc<dyn Clock>, redact: Arc<dyn Redact>) -> Self {
        let ambient = Ambient::of_process();
        Self { console: Console::of_process(&ambient).redacting(redact), clock, ambient, passphrase: Arc::new(FromTerminal) }
    }
}

/// What a verb that needs the house works with.
pub(super) struct Cx<'a> {
    pub desk: &'a Desk,
    pub config: &'a Config,
    pub house: &'a dyn House,
}

impl Desk {
    /// Who is asked for the passphrase.
    pub(super) fn asks(&self, from: PassphraseFrom) -> Arc<dyn Ask> {
        match from.passphrase_fd {
            Some(descriptor) => Arc::new(FromDescriptor(descriptor)),
            None => self.passphrase.clone(),
        }
    }
}

/// The whole command line of this process. What is shown and logged goes through `redact`.
pub async fn main(door: &dyn Door, clock: Arc<dyn Clock>, redact: Arc<dyn Redact>) -> ExitCode {
    let desk = Desk::of_process(clock, redact);
    match parse(config::process_args(), &desk.console) {
        Ok(invocation) => {
            start_log(&invocation, &desk, door);
            run(invocation, &desk, door).await.into()
        }
        Err(exit) => exit.into(),
    }
}

/// Reads what was typed (without the program's name). Help and version go to stdout, mistakes to stderr.
///
/// # Errors
/// The exit code, where there is nothing more to do.
pub fn parse(args: impl IntoIterator<Item = OsString>, console: &Console) -> Result<Invocation, Exit> {
    let args = std::iter::once(OsString::from("toolgate")).chain(args);
    Invocation::try_parse_from(args).map_err(|error| {
        let text = error.render();
        let (text, plain) = (text.ansi().to_string(), text.to_string());
        if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
            let _ = console.data(if console.looks().width.is_some() && console.looks().colour { &text } else { &plain });
            Exit::Ok
        } else {
            console.tell(if console.looks().colour { &text } else { &plain });
            Exit::Usage
        }
    })
}

/// Does what was typed.
pub async fn run(invocation: Invocation, desk: &Desk, door: &dyn Door) -> Exit {
    let json = invocation.verb.json();
    match dispatch(invocation, desk, door).await {
        Ok(exit) => exit,
        Err(Stop::Fault(fault)) => {
            report(&desk.console, &fault, json);
            Exit::of(fault.code)
        }
        // Whoever read the output has seen enough.
        Err(Stop::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => Exit::Ok,
        Err(Stop::Output(error)) => {
            desk.console.tell(&format!("error: the output cannot be written: {error}\n"));
            Exit::Failed
        }
    }
}

async fn dispatch(invocation: Invocation, desk: &Desk, door: &dyn Door) -> Ending {
    let options = options(&invocation);
    let loaded = config::load(&options, &desk.ambient);
    if let Verb::Serve(args) = &invocation.verb {
        return serve::run(loaded, args.http, door).await;
    }
    if let Verb::VerifyBundle(args) = &invocation.verb {
        return verify_bundle::run(args, desk);
    }
    if let Verb::Install(args) = &invocation.verb {
        return install::run(args, invocation.home.as_deref(), desk);
    }
    let config = loaded.map_err(|problems: Problems| Stop::Fault(problems.into_fault(ErrorCode::ConfigInvalid)))?;
    if !invocation.verb.json() {
        config.notes.iter().for_each(|text| note(&desk.console, text));
    }
    if keep::is_one(&invocation.verb) {
        return keep::run(&invocation.verb, desk, &config, door).await;
    }
    match &invocation.verb {
        Verb::Install(_) | Verb::Serve(_) | Verb::VerifyBundle(_) | Verb::Storage(_) | Verb::Backup(_) | Verb::Restore(_) => Ok(Exit::Ok),
        Verb::Init(args) => init::run(args, desk, &config),
        Verb::Config(args) => config_verb::run(args, desk, &config),
        Verb::Doctor(args) => doctor::run(args, desk, &config, door).await,
        Verb::Audit(args) => audit::run(args, desk, &config, door).await,
        Verb::Workflows(args) if workflows::needs_no_house(args) => workflows::validate(args, desk, &config, door).await,
        Verb::Policy(args) if policy::needs_no_house(args) => policy::files(args, desk, &config, door).await,
        Verb::Tools(args) if tools::needs_no_house(args) => tools::check(args, desk, &config, door).await,
        Verb::Run(_)
        | Verb::Runs(_)
        | Verb::Workflows(_)
        | Verb::Tools(_)
        | Verb::Approvals(_)
        | Verb::Policy(_)
        | Verb::Vault(_)
        | Verb::Drive(_)
        | Verb::Tokens(_)
        | Verb::LogLevel(_) => {
            let house = door.open(&config).await?;
            let ending = inside(&invocation.verb, &Cx { desk, config: &config, house: house.as_ref() }).await;
            house.close().await;
            ending
        }
    }
}

async fn inside(verb: &Verb, cx: &Cx<'_>) -> Ending {
    match verb {
        Verb::Run(args) => run_verb::run(args, cx).await,
        Verb::Runs(args) => runs::run(args, cx).await,
        Verb::Workflows(args) => workflows::run(args, cx).await,
        Verb::Tools(args) => tools::run(args, cx).await,
        Verb::Approvals(args) => approvals::run(args, cx).await,
        Verb::Policy(args) => policy::run(args, cx).await,
        Verb::Vault(args) => vault::run(args, cx).await,
        Verb::Tokens(args) => tokens::run(args, cx).await,
        Verb::Drive(args) => drive::run(args, cx).await,
        Verb::LogLevel(args) => log_level::run(args, cx).await,
        Verb::Storage(_) | Verb::Backup(_) | Verb::Restore(_) => Ok(Exit::Ok),
        Verb::Audit(_) | Verb::Install(_) | Verb::Serve(_) | Verb::VerifyBundle(_) | Verb::Init(_) | Verb::Config(_) | Verb::Doctor(_) => {
            Ok(Exit::Ok)
        }
    }
}

fn options(invocation: &Invocation) -> Options {
    let serve = if let Verb::Serve(serve) = &invocation.verb { Some(serve) } else { None };
    let tool_names = serve.and_then(|serve| serve.tool_names.clone());
    let toolsets = serve.and_then(|serve| serve.toolsets.clone());
    Options {
        home: invocation.home.clone(),
        config: invocation.config.clone(),
        log: invocation.log.clone(),
        tool_names,
        toolsets,
        #[cfg(debug_assertions)]
        fixtures: serve.is_some_and(|serve| serve.fixtures.is_some()),
    }
}

/// Starts logging to stderr. Settings that are wrong are told by the verb; until then the verb's own level holds.
fn start_log(invocation: &Invocation, desk: &Desk, door: &dyn Door) {
    let usual = if matches!(invocation.verb, Verb::Serve(_)) { LogLevel::Info } else { LogLevel::Warn };
    let config = config::load(&options(invocation), &desk.ambient).ok();
    let level = config.as_ref().and_then(|config| config.log.value).unwrap_or(usual);
    let traces = config.and_then(|config| door.traces(&config));
    let switch = log::start(level, desk.console.looks().live, (desk.console.redact(), desk.clock.clone()), traces);
    door.takes_log_switch(switch);
}
