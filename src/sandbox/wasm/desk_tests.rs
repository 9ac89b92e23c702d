//! What a guest asks of its host, against the real runtime: order, concurrency, limits, and being brought back to where it was.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::tests::shared;
use crate::call::NoProgress;
use crate::domain::{ErrorCode, Fault, Millis};
use crate::sandbox::{
    Answer, Asked, Entry, GuestHost, LimitHit, Operation, Powers, Recorded, Recording, Reply, Sandbox as _, SandboxOutcome, SandboxSpec,
    Seen,
};

/// Answers each call with its arguments; holds answers back until `together` calls wait, then gives them in reverse.
#[derive(Default)]
struct Echo {
    together: usize,
    held: Mutex<Vec<(Asked, Reply)>>,
    asked: Mutex<Vec<(u32, Operation)>>,
    seen: Mutex<Seen>,
}

impl Echo {
    fn together(together: usize) -> Arc<Self> {
        Arc::new(Self { together, ..Self::default() })
    }

    fn numbers(&self) -> Vec<u32> {
        self.asked.lock().unwrap().iter().map(|(number, _)| *number).collect()
    }
}

fn output(operation: &Operation) -> Answer {
    match operation {
        Operation::Call { tool, .. } if tool == "no.such" => {
            Answer::Refused(Fault::new(ErrorCode::UnknownTool, "no such tool").hint("look"))
        }
        Operation::Call { tool, arguments } => Answer::Output(json!({ "tool": tool, "arguments": arguments })),
        Operation::Http(_) => unreachable!("no network was given"),
    }
}

impl GuestHost for Echo {
    fn powers(&self) -> Powers {
        Powers { network: false, tools: true }
    }

    fn tools(&self) -> Value {
        json!([{ "name": "a.b", "description": "Does.", "input_schema": {"type": "object", "required": ["n"], "properties": {
            "n": {"type": "integer"}, "word": {"type": ["string", "null"]}, "list": {"type": "array", "items": {"enum": ["x", 1]}}}},
            "output_schema": {"type": "object"} }])
    }

    fn begin(&self, asked: Asked, reply: Reply) {
        self.asked.lock().unwrap().push((asked.number, asked.operation.clone()));
        self.seen.lock().unwrap().extend(asked.seen.clone());
        let mut held = self.held.lock().unwrap();
        held.push((asked, reply));
        if held.len() >= self.together.max(1) {
            for (asked, reply) in held.drain(..).rev() {
                reply.answer(output(&asked.operation));
            }
        }
    }
}

async fn run(code: &str, host: Arc<Echo>, change: impl FnOnce(&mut SandboxSpec)) -> Result<SandboxOutcome, Fault> {
    let mut spec = SandboxSpec { host: Some(host), ..SandboxSpec::new(Entry::Code(code.to_owned())) };
    change(&mut spec);
    shared().run(spec, CancellationToken::new(), Arc::new(NoProgress)).await
}

async fn well(code: &str, host: Arc<Echo>) -> Value {
    let outcome = run(code, host, |_| {}).await.unwrap();
    assert_eq!(outcome.return_code, 0, "{}", outcome.stderr.text());
    outcome.result.unwrap_or_default()
}

#[tokio::test]
async fn calls_are_answered_and_refusals_are_errors() {
    let program = "
import toolgate
result = [toolgate.call('a.b', n=1, word='é')]
try:
    toolgate.call('no.such')
except toolgate.ToolError as error:
    result.append([error.tool, error.code, error.hint, str(error)])
";
    let said = well(program, Echo::together(1)).await;
    assert_eq!(said[0], json!({"tool": "a.b", "arguments": {"n": 1, "word": "é"}}));
    assert_eq!(said[1], json!(["no.such", "UNKNOWN_TOOL", "look", "no.such: UNKNOWN_TOOL: no such tool; look"]));
}

#[tokio::test]
async fn gathered_calls_are_under_way_at_the_same_time_and_come_in_any_order() {
    // The host answers only when all five have come, the last first.
    let program = "
import asyncio, toolgate
async def main():
    return [answer['arguments']['n'] for answer in await asyncio.gather(*(toolgate.acall('a.b', n=n) for n in range(5)))]
result = asyncio.run(main())
";
    assert_eq!(well(program, Echo::together(5)).await, json!([0, 1, 2, 3, 4]));
    let plain = "import toolgate\nresult = [a['arguments']['n'] for a in toolgate.gather(*(('a.b', {'n': n}) for n in range(5)))]";
    assert_eq!(well(plain, Echo::together(5)).await, json!([0, 1, 2, 3, 4]));
}

#[tokio::test]
async fn other_tasks_and_time_go_on_while_a_call_is_awaited() {
    let program = "
import asyncio, toolgate
order = []
async def call(): order.append((await toolgate.acall('a.b', n=1))['arguments']['n'])
async def sleep(): await asyncio.sleep(0.01); order.append('slept'); await toolgate.acall('a.b', n=2)
async def late():
    try: await asyncio.wait_for(toolgate.acall('a.b', n=3), 0.05)
    except TimeoutError: order.append('late')
async def main(): await asyncio.gather(call(), sleep()); await late()
asyncio.run(main())
result = order
";
    assert_eq!(well(program, Echo::together(2)).await, json!(["slept", 1, "late"]));
}

#[tokio::test]
async fn more_than_the_limit_is_refused_and_named() {
    let program = "
import toolgate
done = 0
try:
    while True:
        toolgate.call('a.b', n=done); done += 1
except toolgate.ToolError as error:
    result = [done, error.code]
";
    let outcome = run(program, Echo::together(1), |spec| spec.limits.operations = 7).await.unwrap();
    assert_eq!((outcome.result, outcome.limit), (Some(json!([7, "LIMIT_EXCEEDED"])), Some(LimitHit::Calls)));
    assert_eq!(outcome.metrics.operations, 7);
}

#[tokio::test]
async fn without_a_host_or_its_power_nothing_is_asked() {
    let program = "
import toolgate, toolgate_host
result = [toolgate.tools()]
for act in (lambda: toolgate.call('a.b'), lambda: toolgate_host.http('GET', 'http://localhost/')):
    try: act(); result.append('got through')
    except (toolgate.ToolError, toolgate_host.HostRefused) as error: result.append(error.code)
";
    let alone =
        shared().run(SandboxSpec::new(Entry::Code(program.to_owned())), CancellationToken::new(), Arc::new(NoProgress)).await.unwrap();
    assert_eq!(alone.result, Some(json!([[], "UNKNOWN_TOOL", "EGRESS_DENIED"])));
    let host = Echo::together(1);
    assert_eq!(well(program, host.clone()).await[2], "EGRESS_DENIED");
    assert_eq!(host.numbers(), [0]);
}

#[tokio::test]
async fn stubs_are_typed_python() {
    let said = well("import toolgate, ast\nresult = toolgate.stubs()\nast.parse(result)", Echo::together(1)).await;
    assert!(
        said.as_str().unwrap().contains("def a_b(*, n: int, list: list[Literal['x', 1]] = ..., word: str | None = ...) -> dict:")
            || said.as_str().unwrap().contains("def a_b(*, n: int, word: str | None = ..., list: list[Literal['x', 1]] = ...) -> dict:"),
        "{said}"
    );
}

/// Random and time-dependent: two runs differ unless the second is brought to the point of the first.
const HISTORY: &str = "
import asyncio, random, time, uuid, toolgate
result = [random.random(), str(uuid.uuid4()), time.time(), time.monotonic()]
toolgate.call('a.b', at=result[2])
async def main(): return [a['arguments']['n'] for a in await asyncio.gather(*(toolgate.acall('a.b', n=n) for n in range(3)))]
result += asyncio.run(main())
result += [random.random(), time.time()]
toolgate.call('a.b', last=result[-1])
";

/// What a host knows of a program that it saw up to its operation `until`.
fn recording(host: &Echo, until: usize) -> Recording {
    let asked = host.asked.lock().unwrap();
    let recorded = |operation: &Operation| Recorded { digest: Some(operation.digest()), answer: Some(output(operation)) };
    let operations = asked.iter().take(until).map(|(_, operation)| recorded(operation)).collect();
    Recording { operations, seen: host.seen.lock().unwrap().clone() }
}

#[tokio::test]
async fn a_recorded_program_is_brought_to_the_same_point() {
    let first_host = Echo::together(1);
    let first = well(HISTORY, first_host.clone()).await;
    assert_eq!(first_host.numbers(), [0, 1, 2, 3, 4]);
    let other = well(HISTORY, Echo::together(1)).await;
    assert_ne!(first[0], other[0], "a naive second run is another one");

    let again = Echo::together(1);
    let outcome = run(HISTORY, again.clone(), |spec| spec.recording = Some(recording(&first_host, 4))).await.unwrap();
    assert_eq!(outcome.result, Some(first), "{}", outcome.stderr.text());
    assert_eq!(again.numbers(), [4], "only what had no answer yet was asked again");
}

#[tokio::test]
async fn a_program_that_does_something_else_has_diverged() {
    let host = Echo::together(1);
    well(HISTORY, host.clone()).await;
    let other = HISTORY.replace("n=n", "n=n + 1");
    let again = Echo::together(1);
    let fault = run(&other, again.clone(), |spec| spec.recording = Some(recording(&host, 5))).await.unwrap_err();
    assert_eq!((fault.code, fault.details), (ErrorCode::ReplayDiverged, Some(Box::new(json!({"operation": 1})))));
    assert!(again.numbers().is_empty(), "nothing was done anew");
}

#[tokio::test]
async fn a_human_may_take_longer_than_the_program_has() {
    struct Slow;
    impl GuestHost for Slow {
        fn powers(&self) -> Powers {
            Powers { network: false, tools: true }
        }
        fn tools(&self) -> Value {
            json!([])
        }
        fn begin(&self, _: Asked, reply: Reply) {
            std::thread::spawn(move || {
                std::thread::sleep(std::time::Duration::from_millis(600));
                reply.answer(Answer::Output(json!("yes")));
            });
        }
    }
    let program = "import toolgate\nresult = toolgate.call('a.b')";
    for (paused, code) in [(true, 0), (false, 124)] {
        let mut spec = SandboxSpec { host: Some(Arc::new(Slow)), ..SandboxSpec::new(Entry::Code(program.to_owned())) };
        spec.limits.wall = Millis(300);
        let _pause = paused.then(|| spec.wall.pause());
        let outcome = shared().run(spec, CancellationToken::new(), Arc::new(NoProgress)).await.unwrap();
        assert_eq!(outcome.return_code, code);
    }
}
