// The two TypeScript clients drive the server: tools, Python, a person's answers to forms, a workflow, resources and prompts.
//
// typescript.mjs v1|v2 legacy|auto stdio COMMAND [ARGUMENT…]
// typescript.mjs v1|v2 legacy|auto http ADDRESS TOKEN_FILE
//
// `TOOLGATE_TEST_NPM` names the folder with the packages. The home trusts the client's human and has the workflow `asks`. Each thing
// that holds is a line `PASS`; exit code 0 means that everything held.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [sdk, mode, way, ...target] = process.argv.slice(2);
const require = createRequire(`${process.env.TOOLGATE_TEST_NPM}/`);
const VERSIONS = { legacy: "2025-11-25", auto: "2026-07-28" };
const PATIENCE = { timeout: 180_000 };

class Failed extends Error {}

function check(holds, what, seen) {
  if (!holds) throw new Failed(`${what}\n  seen: ${JSON.stringify(seen)?.slice(0, 2000)}`);
  console.log(`PASS [${sdk} ${mode} ${way}] ${what}`);
}

// What the person does with the next form, and the forms that were shown.
const turn = { person: undefined, shown: [] };

async function elicit(request) {
  turn.shown.push(request.params);
  return turn.person(request.params);
}

const typesIt = ({ message }) => {
  const digest = message.split("\n").find((line) => line.startsWith("  digest"));
  return { action: "accept", content: { confirm: digest.slice(-4) } };
};
const typesNonsense = () => ({ action: "accept", content: { confirm: "okay" } });
const declines = () => ({ action: "decline" });
const closes = () => ({ action: "cancel" });

/** What both clients are asked for, in the words of either. */
const kits = {
  v1: () => {
    const { Client } = require("@modelcontextprotocol/sdk/client/index.js");
    const { StdioClientTransport } = require("@modelcontextprotocol/sdk/client/stdio.js");
    const { StreamableHTTPClientTransport } = require("@modelcontextprotocol/sdk/client/streamableHttp.js");
    const { ElicitRequestSchema } = require("@modelcontextprotocol/sdk/types.js");
    const client = new Client({ name: "test", version: "1" }, { capabilities: { elicitation: { form: {} } } });
    client.setRequestHandler(ElicitRequestSchema, elicit);
    const call = (params) => client.callTool(params, undefined, PATIENCE);
    const version = (transport) => transport.protocolVersion ?? (client.getServerVersion() && VERSIONS.legacy);
    return { client, call, version, StdioClientTransport, StreamableHTTPClientTransport };
  },
  v2: () => {
    const { Client, StreamableHTTPClientTransport } = require("@modelcontextprotocol/client");
    const { StdioClientTransport } = require("@modelcontextprotocol/client/stdio");
    const options = { capabilities: { elicitation: { form: {} } }, versionNegotiation: { mode } };
    const client = new Client({ name: "test", version: "1" }, options);
    client.setRequestHandler("elicitation/create", elicit);
    const call = (params) => client.callTool(params, PATIENCE);
    const version = () => client.getNegotiatedProtocolVersion();
    return { client, call, version, StdioClientTransport, StreamableHTTPClientTransport };
  },
};

function transport(kit) {
  if (way === "stdio") {
    const [command, ...args] = target;
    return new kit.StdioClientTransport({ command, args, stderr: "inherit" });
  }
  const [address, tokenFile] = target;
  const headers = { Authorization: `Bearer ${readFileSync(tokenFile, "utf8").trim()}` };
  return new kit.StreamableHTTPClientTransport(new URL(address), { requestInit: { headers } });
}

async function main() {
  const kit = kits[sdk]();
  const { client } = kit;
  const connection = transport(kit);
  await client.connect(connection);
  const version = kit.version(connection);
  check(version === VERSIONS[mode], `speaks ${VERSIONS[mode]}`, version);

  const use = async (name, args) => {
    const result = await kit.call({ name, arguments: args });
    if (result.isError) throw new Failed(`${name} failed\n  seen: ${JSON.stringify(result).slice(0, 2000)}`);
    return result.structuredContent;
  };
  const refusal = async (name, args) => {
    const result = await kit.call({ name, arguments: args });
    if (!result.isError) throw new Failed(`${name} should have failed\n  seen: ${JSON.stringify(result).slice(0, 2000)}`);
    return result.structuredContent.error;
  };

  await tools({ client, kit, use, refusal });
  await approvals({ use, refusal });
  const run = await workflow({ use });
  await resources({ client, run });
  await client.close();
  check(true, "the connection is closed");
}

async function tools({ client, kit, use, refusal }) {
  const listed = (await client.listTools()).tools;
  const names = listed.map((tool) => tool.name);
  check(names.includes("python_run") && names.includes("run_watch"), "tools are listed", names);
  check(names.join() === [...names].sort().join(), "in order", names);
  const tool = listed.find(({ name }) => name === "python_run");
  check(tool.title === "python.run", "with title", tool);
  const described = listed.filter((one) => one.outputSchema?.type === "object").length;
  check(described > 0, "answers have schemas as far as there is room", described);

  // After the list the client checks every answer against the tool's schema, and throws where it does not fit.
  const answer = await use("python_run", { entrypoint: "inline", code: "print(6 * 7)" });
  check(answer.return_code === 0 && answer.stdout === "42\n", "Python runs", answer);
  const failed = await use("python_run", { entrypoint: "inline", code: "raise ValueError('cats')" });
  check(failed.return_code !== 0 && failed.stderr.includes("ValueError: cats"), "an exception is an answer", failed);
  const error = await refusal("python_run", { entrypoint: "inline", code: 7 });
  check(error.code === "INVALID_INPUT" && error.message.includes("code"), "wrong input is refused and the field is named", error);
  const thrown = await kit.call({ name: "no_such_tool", arguments: {} }).then(() => undefined, (error) => error);
  check(thrown?.code === -32602 && thrown.message.includes("no_such_tool"), "an unknown tool is a protocol error", thrown);
}

async function approvals({ use, refusal }) {
  const code = (word) => ({ entrypoint: "inline", code: `print(${JSON.stringify(word)})`, allow_network: true, allowed_hosts: ["example.org"] });
  turn.person = typesIt;
  const answer = await use("python_run", code("typed"));
  check(answer.stdout === "typed\n", "the person types what is asked for and the call runs", answer);
  check(turn.shown.length === 1 && turn.shown[0].requestedSchema.required.join() === "confirm", "after one form that wants something typed", turn.shown);
  for (const [person, word, due] of [
    [typesNonsense, "nonsense", "APPROVAL_REQUIRED"],
    [closes, "closed", "APPROVAL_REQUIRED"],
    [declines, "declined", "APPROVAL_DENIED"],
  ]) {
    turn.person = person;
    const error = await refusal("python_run", code(word));
    check(error.code === due, `${word}: ${due}`, error);
  }
  const shown = turn.shown.length;
  const error = await refusal("python_run", code("declined"));
  check(error.code === "APPROVAL_DENIED" && turn.shown.length === shown, "a no stands and is not asked again", error);
}

async function workflow({ use }) {
  const run = (await use("run_start", { workflow: "asks" })).run_id;
  let seen = { cursor: 0, waiting: [], done: false };
  const answered = [];
  while (!seen.done) {
    seen = await use("run_watch", { run_id: run, cursor: seen.cursor, wait_sec: 20 });
    for (const step of seen.waiting) {
      const output = { summary: "two files", tasks: ["a.py", "b.py"].map((path) => ({ path, purpose: "part of it" })) };
      await use("run_submit", { run_id: run, step_id: step.step_id, output });
      answered.push(step.step_id);
    }
  }
  check(seen.status === "succeeded" && answered.join() === "think", "a workflow is started, answered and followed to its end", { seen, answered });
  const steps = (await use("run_show", { run_id: run })).steps;
  const count = steps.find(({ step_id }) => step_id === "count");
  check(JSON.stringify(count.output).includes('"count":2'), "what was submitted was used", count);
  return run;
}

async function resources({ client, run }) {
  const read = await client.readResource({ uri: `run://${run}` });
  check(JSON.parse(read.contents[0].text).status === "succeeded", "the run can be read as a resource", read);
  const templates = (await client.listResourceTemplates()).resourceTemplates.map(({ uriTemplate }) => uriTemplate);
  check(templates.includes("run://{id}/events"), "resource templates are told", templates);
  const prompts = (await client.listPrompts()).prompts.map(({ name }) => name);
  check(prompts.includes("asks") && prompts.includes("hello_world"), "workflows are prompts", prompts);
  const prompt = await client.getPrompt({ name: "hello_world", arguments: { name: "Ada" } });
  check(JSON.stringify(prompt.messages).includes("Ada"), "with what was filled in", prompt);
}

main().then(
  () => process.exit(0),
  (error) => {
    console.log(`FAIL [${sdk} ${mode} ${way}] ${error instanceof Failed ? error.message : error.stack}`);
    process.exit(1);
  },
);
