//! The outbox with its process killed at every point of a message's life, by the real binary: what was queued is sent at least once, always
//! under the same key, and what was acknowledged is not sent again.
//!
//! The points, in the order of a life: before anything is recorded; queued and not yet sent (nobody listens); while the connection stands and
//! nothing is answered; in the middle of the answer; after the whole answer, before or after that is recorded; after it is recorded.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::Toolgate;
use crate::support::notified::{home, told, words};
use crate::vault::CANARY;

/// How far the other end goes with a request.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Goes {
    /// Reads nothing and says nothing.
    Accepts,
    /// Reads the request.
    Reads,
    /// And answers half of it.
    Half,
    /// And all.
    Answers,
}

/// What a request brought.
#[derive(Debug)]
struct Heard {
    key: String,
    body: String,
}

struct Hook {
    port: u16,
    heard: Receiver<Heard>,
    goes: Sender<Goes>,
}

/// Answers each connection as far as it is told, in order, and as a whole once it is told nothing more.
fn hook() -> Hook {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let ((tells, heard), (goes, told)) = (channel(), channel());
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for stream in listener.incoming().flatten() {
            let goes: Goes = told.try_recv().unwrap_or(Goes::Answers);
            if goes == Goes::Accepts {
                let told = tells.send(Heard { key: String::new(), body: String::new() });
                held.push(stream);
                if told.is_err() {
                    return;
                }
                continue;
            }
            let Some(heard) = read(&stream) else { continue };
            let text: &[u8] = match goes {
                Goes::Half => b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
                Goes::Answers => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
                Goes::Accepts | Goes::Reads => b"",
            };
            let _ = (&stream).write_all(text);
            if goes != Goes::Answers {
                held.push(stream);
            }
            if tells.send(heard).is_err() {
                return;
            }
        }
    });
    Hook { port, heard, goes }
}

fn read(stream: &TcpStream) -> Option<Heard> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let (mut key, mut length, mut line) = (String::new(), 0, String::new());
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            if line.starts_with("POST ") {
                continue;
            }
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "idempotency-key" => key = value.trim().to_owned(),
            "content-length" => length = value.trim().parse().ok()?,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Heard { key, body: String::from_utf8(body).ok()? })
}

fn telling(port: u16) -> Toolgate {
    let settings = format!(
        "[egress]\nprivate = [\"notify=127.0.0.1:{port}\"]\n[notify]\nwait_sec = 0\n[notify.channels.ops]\nkind = \"webhook\"\n\
         url = \"http://127.0.0.1:{port}/hook\"\nsecret_file = \"ops.secret\"\n"
    );
    let toolgate = home(&settings, &[("ops.secret", CANARY)]);
    // The client is an agent, and nobody is there to be asked.
    let policies = toolgate.data().join("policies");
    std::fs::create_dir_all(&policies).unwrap();
    std::fs::write(toolgate.data().join("toolgate.toml"), format!("{settings}[policy]\nprofile = \"none\"\n")).unwrap();
    std::fs::write(policies.join("all.cedar"), "@id(\"all\") permit (principal, action, resource);\n").unwrap();
    toolgate
}

fn serve(toolgate: &Toolgate) -> Child {
    toolgate.command(&["serve"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// One call by a client of its own, and its answer.
pub fn as_agent(toolgate: &Toolgate, tool: &str, arguments: &Value) -> Value {
    let mut server = serve(toolgate);
    call(&mut server, tool, arguments);
    let reply = reply(&mut server);
    drop(server.stdin.take());
    server.wait().unwrap();
    reply
}

/// A client's call that sends a message.
fn ask(server: &mut Child) {
    call(server, "notify_send", &json!({ "channel": "ops", "message": "m" }));
}

fn call(server: &mut Child, tool: &str, arguments: &Value) {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": { "name": "t", "version": "1" },
    });
    let params = json!({ "name": tool, "arguments": arguments, "_meta": meta });
    let input = server.stdin.as_mut().unwrap();
    writeln!(input, "{}", json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params })).unwrap();
    input.flush().unwrap();
}

fn reply(server: &mut Child) -> Value {
    let mut line = String::new();
    BufReader::new(server.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap()
}

fn kill(mut server: Child) {
    server.kill().unwrap();
    server.wait().unwrap();
}

const PATIENCE: Duration = Duration::from_secs(120);

fn until_sent(toolgate: &Toolgate) -> Vec<Value> {
    for _ in 0..600 {
        let told = told(toolgate);
        if words(&told).contains(&"notify_sent") {
            return told;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    panic!("{:?}", told(toolgate));
}

/// Killed while the other end is at this point; the next process sends again, under the same key, the same body.
#[test]
fn killed_while_it_sends_the_next_process_sends_again_under_the_same_key() {
    for goes in [Goes::Accepts, Goes::Reads, Goes::Half] {
        let hook = hook();
        let toolgate = telling(hook.port);
        hook.goes.send(goes).unwrap();
        let mut server = serve(&toolgate);
        ask(&mut server);
        let first = hook.heard.recv_timeout(PATIENCE).unwrap();
        kill(server);
        let queued = told(&toolgate);
        assert_eq!(words(&queued), ["notify_queued"], "{goes:?}");
        let id = queued[0]["message_id"].as_str().unwrap().to_owned();

        let mut server = serve(&toolgate);
        let second = hook.heard.recv_timeout(PATIENCE).unwrap();
        assert_eq!(second.key, id, "{goes:?}");
        if goes != Goes::Accepts {
            assert_eq!((&first.key, &first.body), (&second.key, &second.body), "{goes:?}");
        }
        until_sent(&toolgate);
        drop(server.stdin.take());
        server.wait().unwrap();
        let mut server = serve(&toolgate);
        assert!(hook.heard.recv_timeout(Duration::from_secs(3)).is_err(), "{goes:?}: what was taken is not sent again");
        drop(server.stdin.take());
        server.wait().unwrap();
        assert!(toolgate.json(0, &["audit", "verify", "--json"])["broken"].is_null());
    }
}

/// Killed with the answer on its way, a little later each time: whether it was recorded or not, every message that was queued comes, under one key,
/// and only while its end is not recorded it comes again.
#[test]
fn killed_around_the_answer_nothing_is_lost_and_the_end_is_told_once() {
    let mut points = BTreeSet::new();
    for step in 0..14_u64 {
        let hook = hook();
        let toolgate = telling(hook.port);
        let mut server = serve(&toolgate);
        ask(&mut server);
        let first = hook.heard.recv_timeout(PATIENCE).unwrap();
        std::thread::sleep(Duration::from_micros(step * step * 300));
        kill(server);
        let before = told(&toolgate);
        let was_recorded = words(&before).contains(&"notify_sent");
        points.insert(was_recorded);
        let mut server = serve(&toolgate);
        let again = if was_recorded {
            hook.heard.recv_timeout(Duration::from_secs(3)).ok()
        } else {
            Some(hook.heard.recv_timeout(PATIENCE).unwrap())
        };
        assert_eq!(again.is_some(), !was_recorded, "after {step}");
        assert!(again.is_none_or(|again| again.key == first.key && again.body == first.body), "after {step}");
        let told = until_sent(&toolgate);
        assert_eq!(words(&told).iter().filter(|word| **word == "notify_sent").count(), 1, "{told:?}");
        drop(server.stdin.take());
        server.wait().unwrap();
    }
    assert!(points.contains(&false), "none was killed before its end was recorded");
}

/// Killed anywhere between the call and its answer, by the clock: a message whose call was answered is sent; one that was never queued is not
/// there at all; nothing is in between.
#[test]
fn killed_anywhere_in_the_call_a_message_is_there_whole_or_not_at_all() {
    let (mut lost, mut kept) = (0, 0);
    for step in 0..16_u64 {
        // Nobody listens, so that nothing is sent before the death.
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let toolgate = telling(port);
        let mut server = serve(&toolgate);
        // It is up when it answers something.
        writeln!(server.stdin.as_mut().unwrap(), "{}", json!({ "jsonrpc": "2.0", "id": 0, "method": "ping", "params": {} })).unwrap();
        let _pong = reply(&mut server);
        ask(&mut server);
        let answered = if step == 15 { Some(reply(&mut server)) } else { None };
        std::thread::sleep(Duration::from_millis(step * 2));
        kill(server);
        let told = told(&toolgate);
        assert!(answered.is_none() || !told.is_empty(), "an answered message is lost: {answered:?}");
        if let Some(answered) = answered {
            assert_eq!(answered["result"]["structuredContent"]["queued"], json!(["ops"]), "{answered}");
        }
        let listener = match TcpListener::bind(("127.0.0.1", port)) {
            Ok(listener) => listener,
            // Somebody else has the port by now.
            Err(_) => continue,
        };
        listener.set_nonblocking(false).unwrap();
        let mut next = serve(&toolgate);
        if told.is_empty() {
            lost += 1;
        } else {
            kept += 1;
            let (stream, _) = listener.accept().unwrap();
            let heard = read(&stream).unwrap();
            let _ = (&stream).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            assert_eq!(Some(heard.key.as_str()), told[0]["message_id"].as_str());
            until_sent(&toolgate);
        }
        drop(next.stdin.take());
        next.wait().unwrap();
    }
    assert!(kept > 0, "{lost} were never queued, and none was");
}

/// Two servers of one home: each message is sent by one of them, and one that dies with it is followed by the other, which lives already.
#[test]
fn of_two_servers_one_sends_and_the_other_takes_over_from_the_dead() {
    let hook = hook();
    let toolgate = telling(hook.port);
    hook.goes.send(Goes::Reads).unwrap();
    let mut first = serve(&toolgate);
    let mut second = serve(&toolgate);
    ask(&mut first);
    let held = hook.heard.recv_timeout(PATIENCE).unwrap();
    // The other does not send what a living one has in hand.
    assert!(hook.heard.recv_timeout(Duration::from_secs(4)).is_err());
    kill(first);
    let again = hook.heard.recv_timeout(PATIENCE).unwrap();
    assert_eq!((&held.key, &held.body), (&again.key, &again.body));
    let told = until_sent(&toolgate);
    assert_eq!(words(&told), ["notify_queued", "notify_sent"]);
    drop(second.stdin.take());
    second.wait().unwrap();
}
