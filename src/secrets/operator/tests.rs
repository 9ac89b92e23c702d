use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::*;
use crate::domain::Digest;

struct TestClock(AtomicU64);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_millis(self.0.load(Ordering::SeqCst))
    }
}

impl TestClock {
    fn pass(&self, span: Millis) {
        self.0.fetch_add(span.0, Ordering::SeqCst);
    }
}

/// Gives these answers, one after another, and fails when asked once more.
struct Scripted {
    answers: Mutex<VecDeque<String>>,
    person: bool,
}

impl Ask for Scripted {
    fn ask(&self, _prompt: &str) -> Result<Passphrase, Fault> {
        let answer = self.answers.lock().unwrap().pop_front();
        answer.map(Passphrase::new).ok_or_else(|| Fault::new(ErrorCode::OperatorLocked, "nobody answers"))
    }
    fn is_a_person(&self) -> bool {
        self.person
    }
}

fn person(answers: &[&str]) -> Scripted {
    Scripted { answers: Mutex::new(answers.iter().map(|answer| (*answer).to_owned()).collect()), person: true }
}

fn program(answer: &str) -> Scripted {
    Scripted { person: false, ..person(&[answer]) }
}

struct House {
    home: tempfile::TempDir,
    clock: Arc<TestClock>,
}

impl House {
    fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap(), clock: Arc::new(TestClock(AtomicU64::new(1_700_000_000_000))) }
    }

    fn operator(&self, session: Option<Session>) -> Operator {
        Operator::in_session(self.home.path(), self.clock.clone(), session)
    }

    fn here(&self) -> Operator {
        self.operator(Some(Session::told(7, "pts")))
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.home.path().join(name)
    }
}

const PHRASE: &str = "correct horse";

fn with_passphrase() -> House {
    let house = House::new();
    assert_eq!(house.here().prove(&program(PHRASE)).unwrap().by(), ProvedBy::FirstPassphrase);
    house
}

fn refusal(result: Result<OperatorProof, Fault>) -> (String, String) {
    let fault = result.unwrap_err();
    assert_eq!(fault.code, ErrorCode::OperatorLocked);
    (fault.message, fault.hint.unwrap_or_default())
}

#[cfg(unix)]
fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_first_passphrase_is_asked_for_twice_and_kept_hashed() {
    let house = House::new();
    assert!(!house.here().is_set().unwrap());
    assert!(refusal(house.here().prove(&person(&[PHRASE, "correct hors"]))).0.contains("differ"));
    assert!(refusal(house.here().prove(&person(&["short", "short"]))).0.contains("fewer than 8"));
    assert!(!house.here().is_set().unwrap(), "nothing was set");
    assert_eq!(house.here().prove(&person(&[PHRASE, PHRASE])).unwrap().by(), ProvedBy::FirstPassphrase);
    let kept = std::fs::read_to_string(house.file("operator.json")).unwrap();
    assert!(kept.contains("$argon2id$v=19$m=47104,t=1,p=1$") && !kept.contains(PHRASE), "{kept}");
    #[cfg(unix)]
    assert_eq!(mode(&house.file("operator.json")), 0o600);
}

#[test]
fn only_the_passphrase_fits() {
    let house = with_passphrase();
    assert_eq!(house.here().prove(&program(PHRASE)).unwrap().by(), ProvedBy::Passphrase);
    for wrong in ["correct hors", "correct horse ", "Correct horse", "x"] {
        house.clock.pass(Millis(600_000));
        let (message, hint) = refusal(house.here().prove(&program(wrong)));
        assert!(message.contains("wrong") && hint.contains("try again"), "{message} {hint}");
    }
}

#[test]
fn wrong_passphrases_cost_ever_more_waiting_which_outlives_the_process() {
    let house = with_passphrase();
    let wrong = || refusal(house.here().prove(&program("wrong phrase")));
    assert!(wrong().0.contains("wrong"));
    assert!(wrong().0.contains("wrong"));
    assert!(wrong().0.contains("is wrong"), "the third is still looked at");
    assert_eq!(wrong(), ("3 wrong passphrases in a row".into(), "try again in 2 s".into()));
    assert_eq!(refusal(house.here().prove(&program(PHRASE))).1, "try again in 2 s", "the right one has to wait as well");
    house.clock.pass(Millis(2_000));
    assert!(wrong().0.contains("is wrong"));
    assert_eq!(wrong().1, "try again in 4 s");
    for _ in 0..8 {
        house.clock.pass(Millis(300_000));
        assert!(wrong().0.contains("is wrong"));
    }
    assert_eq!(wrong().1, "try again in 300 s");
    house.clock.pass(Millis(300_000));
    assert!(house.here().prove(&program(PHRASE)).is_ok());
    assert!(wrong().0.contains("is wrong"), "success starts the count anew");
    assert!(house.here().prove(&program(PHRASE)).is_ok());
}

#[test]
fn a_clock_set_back_does_not_lock_the_operator_out() {
    let house = with_passphrase();
    for _ in 0..3 {
        let _ = refusal(house.here().prove(&program("wrong phrase")));
    }
    house.clock.0.store(1_000, Ordering::SeqCst);
    assert_eq!(refusal(house.here().prove(&program(PHRASE))).1, "try again in 300 s");
}

#[test]
fn a_terminal_stays_unlocked_for_a_while() {
    let house = with_passphrase();
    assert!(house.here().unlocked().unwrap().is_none(), "a descriptor unlocks nothing");
    assert!(house.here().prove(&person(&[PHRASE])).is_ok());
    assert_eq!(house.here().prove(&person(&[])).unwrap().by(), ProvedBy::Unlocked);
    #[cfg(unix)]
    assert_eq!(mode(&house.file("operator.unlock")), 0o600);
    house.clock.pass(Millis(UNLOCKED_FOR.0 - 1));
    assert!(house.here().unlocked().unwrap().is_some());
    house.clock.pass(Millis(1));
    assert!(house.here().unlocked().unwrap().is_none(), "expired");
}

#[test]
fn locking_ends_it_at_once() {
    let house = with_passphrase();
    assert!(house.here().prove(&person(&[PHRASE])).is_ok());
    house.here().lock().unwrap();
    house.here().lock().unwrap();
    assert!(house.here().unlocked().unwrap().is_none());
}

#[test]
fn no_other_session_rides_on_it() {
    let house = with_passphrase();
    assert!(house.here().prove(&person(&[PHRASE])).is_ok());
    for other in [Some(Session::told(8, "pts")), Some(Session::told(7, "other")), None] {
        assert!(house.operator(other.clone()).unlocked().unwrap().is_none(), "{other:?}");
        assert!(house.operator(other).prove(&person(&[])).is_err(), "the passphrase is asked for");
    }
    assert!(house.here().prove(&Scripted { person: false, ..person(&[]) }).is_err(), "nor a program in the same session");
}

#[test]
fn a_changed_ticket_is_refused() {
    let house = with_passphrase();
    assert!(house.here().prove(&person(&[PHRASE])).is_ok());
    let ticket = std::fs::read_to_string(house.file("operator.unlock")).unwrap();
    let holds = |text: &str| {
        std::fs::write(house.file("operator.unlock"), text).unwrap();
        house.here().unlocked().unwrap().is_some()
    };
    let value: serde_json::Value = serde_json::from_str(&ticket).unwrap();
    assert!(holds(&ticket));
    assert!(!holds(&ticket.replace("22:18:20", "22:18:19")), "{ticket}");
    assert!(!holds(&ticket.replace(value["seal"].as_str().unwrap(), &Digest::ZERO.to_string())));
    assert!(!holds(&ticket.replace('}', ",\"more\":1}")));
    assert!(!holds("not json") && !holds(""));

    // A ticket made for another session and relabelled for this one.
    assert!(house.operator(Some(Session::told(8, "pts"))).prove(&person(&[PHRASE])).is_ok());
    let other = std::fs::read_to_string(house.file("operator.unlock")).unwrap();
    assert!(!holds(&other.replace("\"session\":8", "\"session\":7")));
}

#[test]
fn a_ticket_of_an_older_passphrase_is_refused() {
    let house = with_passphrase();
    assert!(house.here().prove(&person(&[PHRASE])).is_ok());
    std::fs::remove_file(house.file("operator.json")).unwrap();
    assert!(house.here().prove(&program("another phrase")).is_ok());
    assert!(house.here().unlocked().unwrap().is_none());
}

#[cfg(unix)]
#[test]
fn files_that_others_can_touch_are_not_trusted() {
    use std::os::unix::fs::PermissionsExt as _;
    let house = with_passphrase();
    assert!(house.here().prove(&person(&[PHRASE])).is_ok());
    let open = |name: &str, mode: u32| std::fs::set_permissions(house.file(name), std::fs::Permissions::from_mode(mode)).unwrap();
    open("operator.unlock", 0o644);
    assert!(house.here().unlocked().unwrap().is_none());
    open("operator.json", 0o640);
    assert!(refusal(house.here().prove(&program(PHRASE))).0.contains("chmod 600"));
    open("operator.json", 0o600);
    std::fs::rename(house.file("operator.json"), house.file("elsewhere")).unwrap();
    std::os::unix::fs::symlink(house.file("elsewhere"), house.file("operator.json")).unwrap();
    assert!(refusal(house.here().prove(&program(PHRASE))).0.contains("not a plain file"));
}

#[test]
fn a_damaged_file_is_refused_and_never_replaced() {
    let house = with_passphrase();
    let sound = std::fs::read_to_string(house.file("operator.json")).unwrap();
    let greedy = sound.replace("m=47104", "m=4294967295");
    let no_hash = serde_json::to_string(&{
        let mut json: serde_json::Value = serde_json::from_str(&sound).unwrap();
        json["passphrase"] = "$argon2id$v=19$m=47104,t=1,p=1".into();
        json
    });
    for damaged in ["", "{}", "[1]", &sound.replace("\"version\": 1", "\"version\": 2"), &greedy, &no_hash.unwrap()] {
        std::fs::write(house.file("operator.json"), damaged).unwrap();
        assert!(refusal(house.here().prove(&program(PHRASE))).0.contains("is damaged"), "{damaged}");
        assert_eq!(std::fs::read_to_string(house.file("operator.json")).unwrap(), damaged);
    }
}

#[cfg(unix)]
#[test]
fn a_descriptor_gives_its_first_line() {
    use std::io::Write as _;
    use std::os::fd::AsRawFd as _;
    let read = |bytes: &[u8]| {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        FromDescriptor(u32::try_from(file.as_raw_fd()).unwrap()).ask("")
    };
    assert!(read(b"correct horse\r\nsecond").unwrap().is(&Passphrase::new(PHRASE.into())));
    for (bytes, why) in [(&b""[..], "empty"), (b"\nx", "empty"), (b"\xff\xfe", "UTF-8"), (&[b'x'; 5000][..], "more than 4096")] {
        let fault = read(bytes).unwrap_err();
        assert!(fault.code == ErrorCode::OperatorLocked && fault.message.contains(why), "{fault}");
    }
    assert!(FromDescriptor(9_999).ask("").is_err(), "not open");
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"through a pipe\n").unwrap();
    drop(writer);
    let phrase = FromDescriptor(u32::try_from(reader.as_raw_fd()).unwrap()).ask("").unwrap();
    assert!(phrase.is(&Passphrase::new("through a pipe".into())));
    assert!(!format!("{phrase:?}").contains("pipe"), "a passphrase is not printed");
}
