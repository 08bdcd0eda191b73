"use strict";

// Real programs for the suite to talk to: salesforce-sim and sfkey-agent, with files and a home of their own.

const { once } = require("node:events");
const { mkdtempSync, rmSync } = require("node:fs");
const { spawn, spawnSync } = require("node:child_process");
const os = require("node:os");
const path = require("node:path");
const readline = require("node:readline");

const ROOT = path.resolve(__dirname, "../../..");
const BINARIES = path.join(path.resolve(ROOT, process.env.CARGO_TARGET_DIR ?? "target"), "debug");

// Starts a binary and waits for the first line of JSON on `stream` that `matches`.
async function start(name, args, env, stream, matches) {
  const program = spawn(path.join(BINARIES, name), args, { env, stdio: ["pipe", "pipe", "pipe"] });
  const ended = once(program, "exit");
  const seen = [];
  for await (const line of readline.createInterface({ input: program[stream] })) {
    seen.push(line);
    const event = JSON.parse(line);
    if (matches(event)) {
      // What comes later is read and dropped, so that the program never waits for a reader.
      program[stream].resume();
      return { program, ended, event };
    }
  }
  throw new Error(`${name} ended before it was ready:\n${seen.join("\n")}`);
}

// Asks a program to end, and tells its exit code.
async function end({ program, ended }) {
  program.kill("SIGTERM");
  const [code] = await ended;
  return code;
}

// A simulated org and an agent that trusts it. The directory is short: a socket's path has at most 107 bytes.
async function stage() {
  const home = mkdtempSync(path.join(os.tmpdir(), "sfkey-"));
  const env = { PATH: process.env.PATH, HOME: home, XDG_RUNTIME_DIR: home };
  const simulator = await start("salesforce-sim", ["--json", "--exit-on-stdin-close"], env, "stdout", (e) => e.ready);
  env.SSL_CERT_FILE = simulator.event.ca_file;
  const agent = await start("sfkey-agent", ["--log-format=json"], env, "stderr", (e) => e.message === "ready");
  return {
    simulator: simulator.event,
    socket: agent.event.socket,

    // Runs the real client with these variables besides its own, and tells what it printed.
    sfkey(args, variables = {}) {
      const ended = spawnSync(path.join(BINARIES, "sfkey"), args, { env: { ...env, ...variables }, encoding: "utf8" });
      if (ended.status !== 0) throw new Error(`sfkey ${args[0]} ended with ${ended.status}: ${ended.stderr}`);
      return ended.stdout;
    },

    // Loads an account.
    add(name, changes = {}) {
      const { url, consumer_key, username, key_file } = { ...simulator.event, ...changes };
      const args = ["add", name, "--login-url", url, "--consumer-key", consumer_key, "--username", username];
      this.sfkey([...args, "--key", key_file]);
    },

    // Turns the simulator: method and path of its control interface.
    async control(method, path, body) {
      const answer = await fetch(`${simulator.event.control_url}/${path}`, { method, body: JSON.stringify(body) });
      if (!answer.ok) throw new Error(`${method} ${path}: ${await answer.text()}`);
      return answer.json();
    },

    // How many exchanges the org was asked for.
    async asked() {
      return (await this.control("GET", "counters")).asked;
    },

    async end() {
      const codes = [await end(agent), await end(simulator)];
      rmSync(home, { recursive: true });
      return codes;
    },
  };
}

module.exports = { ROOT, stage };
