//! T53: approve one deed, execute another. One test for each thing a yes is bound to: it changes between the yes and the call, the process is
//! started anew in between, and the call is another question. Where nothing changes the same yes lets the same call through.

use std::path::Path;

use serde_json::{Value, json};
use toolgate::call::{RawCall, Reply};
use toolgate::domain::{Actor, ErrorCode, Millis, Principal, Role};
use toolgate::gateway::{Answer, ApprovalSettings};
use toolgate::policy::Principals;
use toolgate::store::{ApprovalFilter, ApprovalStatus};

use crate::support::house::{TestHouse, World, patience};

/// Everybody is asked about the call that these tests make.
const ASKS: &str = "@id(\"all\") @ask(\"outside\") permit (principal, action == toolgate::Action::\"probe.outside\", resource);";

/// A world, and a call in it.
struct Deed {
    world: World,
    actor: Actor,
    tool: &'static str,
    arguments: Value,
    target: Value,
}

fn deed() -> Deed {
    Deed {
        world: World { policy: ASKS, ..World::default() },
        actor: Actor::agent(Principal::local()),
        tool: "probe.outside",
        arguments: json!({ "word": "a", "url": "https://example.org/x" }),
        target: json!({ "url": "ssh://host/a.git", "ref": "main", "oid": "1111" }),
    }
}

async fn open(home: &Path, world: World) -> TestHouse {
    let settings = ApprovalSettings { wait: Millis(0), expires: Millis(3_600_000), ..patience() };
    TestHouse::differing(home.to_owned(), world, settings).await
}

/// Makes the call in a process of its own; how often it ran there.
async fn make(home: &Path, deed: Deed, says: Option<Answer>) -> (Reply, u32) {
    let house = open(home, deed.world).await;
    *house.target.lock().unwrap() = deed.target;
    let run = house.gateway.adhoc_run(&deed.actor).await.unwrap();
    let raw = RawCall { actor: deed.actor, run, ..house.raw(deed.tool, deed.arguments) };
    let reply = house.gateway.call(raw).await;
    if let Some(said) = says {
        let filter = ApprovalFilter { status: Some(ApprovalStatus::Pending), ..ApprovalFilter::default() };
        let row = house.store.approvals(filter).await.unwrap().remove(0);
        house.answer(row.id, said).await.unwrap();
    }
    let ran = house.ran();
    house.store.clone().close().await;
    (reply, ran)
}

/// A yes to the usual deed, and then the changed one: it must be a question of its own. The yes is still there for what it was given for.
async fn is_another_question(what: &str, changed: Deed) {
    let home = tempfile::tempdir().unwrap();
    let (asked, _) = make(home.path(), deed(), Some(Answer::yes())).await;
    assert_eq!(asked.outcome.unwrap_err().code, ErrorCode::ApprovalRequired);
    let (reply, ran) = make(home.path(), changed, None).await;
    assert_eq!((reply.outcome.map(drop).map_err(|fault| fault.code), ran), (Err(ErrorCode::ApprovalRequired), 0), "{what}");
    let (reply, ran) = make(home.path(), deed(), None).await;
    assert!(reply.outcome.is_ok() && ran == 1, "{what}: the deed that was agreed to: {:?}", reply.outcome);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_deed_is_the_same_question_however_it_is_written() {
    let home = tempfile::tempdir().unwrap();
    let (asked, _) = make(home.path(), deed(), Some(Answer::yes())).await;
    assert_eq!(asked.outcome.unwrap_err().code, ErrorCode::ApprovalRequired);
    let other_order = serde_json::from_str(r#"{"url": "https://example.org/x", "word": "a"}"#).unwrap();
    let (reply, ran) = make(home.path(), Deed { arguments: other_order, ..deed() }, None).await;
    assert!(reply.outcome.is_ok() && ran == 1, "{:?}", reply.outcome);
    let (reply, ran) = make(home.path(), deed(), None).await;
    assert_eq!((reply.outcome.unwrap_err().code, ran), (ErrorCode::ApprovalRequired, 0), "once");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_version_of_the_tool_is_another_question() {
    let world = World { manifests: Some(("version: 1.0.0", "version: 1.0.1")), ..deed().world };
    is_another_question("version", Deed { world, ..deed() }).await;
}

/// What a tool says of itself is changed after the yes, and its version is not: a naive binding to name and version lets it through.
#[tokio::test(flavor = "multi_thread")]
async fn another_manifest_of_the_same_version_is_another_question() {
    for change in
        [("wall: 400ms", "wall: 401ms"), ("description: A probe.", "description: Another probe."), ("scopes: [probe]", "scopes: [more]")]
    {
        let world = World { manifests: Some(change), ..deed().world };
        is_another_question(change.1, Deed { world, ..deed() }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tool_is_another_question() {
    is_another_question("tool", Deed { tool: "probe.network", ..deed() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_principal_is_another_question() {
    is_another_question("principal", Deed { actor: Actor::agent(Principal::new("mallory")), ..deed() }).await;
}

/// The same name with another standing.
#[tokio::test(flavor = "multi_thread")]
async fn another_role_of_the_principal_is_another_question() {
    let actor = Actor { role: Role::Operator, ..Actor::agent(Principal::local()) };
    is_another_question("role", Deed { actor, ..deed() }).await;
}

/// The operator gives the principal a role that rules speak of.
#[tokio::test(flavor = "multi_thread")]
async fn another_role_in_policy_is_another_question() {
    let builder = [("local".to_owned(), ["builder".to_owned()].into())];
    let world = World { principals: Principals::new(builder, ["builder"]), ..deed().world };
    is_another_question("role in policy", Deed { world, ..deed() }).await;
}

/// Rules that say the same of this very call, and something else of others.
#[tokio::test(flavor = "multi_thread")]
async fn other_rules_are_another_question() {
    const MORE: &str = "@id(\"all\") @ask(\"outside\") permit (principal, action == toolgate::Action::\"probe.outside\", resource);\n\
        @id(\"other\") @reason(\"x\") forbid (principal, action == toolgate::Action::\"probe.large\", resource);";
    is_another_question("policy", Deed { world: World { policy: MORE, ..World::default() }, ..deed() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_arguments_are_another_question() {
    for arguments in [
        json!({ "word": "b", "url": "https://example.org/x" }),
        json!({ "word": "a", "url": "https://example.org/y" }),
        json!({ "word": "a" }),
        json!({ "word": "a ", "url": "https://example.org/x" }),
        json!({ "word": "a", "url": "https://example.org/x", "idempotency_key": "k" }),
        // Looks alike, is not: a Cyrillic letter, and one that is composed of two.
        json!({ "word": "\u{430}", "url": "https://example.org/x" }),
        json!({ "word": "a\u{301}", "url": "https://example.org/x" }),
    ] {
        is_another_question(&arguments.to_string(), Deed { arguments: arguments.clone(), ..deed() }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_state_of_what_it_acts_on_is_another_question() {
    for (field, value) in [("url", "ssh://evil/a.git"), ("ref", "release"), ("oid", "2222")] {
        let mut target = deed().target;
        target[field] = json!(value);
        is_another_question(field, Deed { target, ..deed() }).await;
    }
}

/// What a naive approval is bound to does not tell these deeds apart: each of the tests above would have let its call through.
#[test]
fn a_naive_binding_sees_no_difference() {
    let by_tool = |deed: &Deed| deed.tool;
    let by_tool_and_arguments = |deed: &Deed| format!("{} {}", deed.tool, deed.arguments);
    let manifest = Deed { world: World { manifests: Some(("wall: 400ms", "wall: 401ms")), ..deed().world }, ..deed() };
    let target = Deed { target: json!({ "oid": "2222" }), ..deed() };
    let principal = Deed { actor: Actor::agent(Principal::new("mallory")), ..deed() };
    for changed in [&manifest, &target, &principal] {
        assert_eq!(by_tool_and_arguments(changed), by_tool_and_arguments(&deed()));
    }
    let arguments = Deed { arguments: json!({ "word": "b" }), ..deed() };
    assert_eq!(by_tool(&arguments), by_tool(&deed()));
}
