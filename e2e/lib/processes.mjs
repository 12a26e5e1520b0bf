// Starts the programs under test, each on a loopback address of this run's own, and ends them.

import { spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { mkdtempSync, rmSync, openSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));
export const binary = process.env.HYPE_BINARY ?? join(process.env.CARGO_TARGET_DIR ?? join(root, "target"), "debug/hype");

let lastAddress = 0;

/** A loopback address that no other test uses: 127.a.b.c from the process id. */
export function ownAddress() {
  lastAddress += 1;
  return `127.${1 + ((process.pid >> 8) & 0x7f)}.${process.pid & 0xff}.${lastAddress}`;
}

/** A free TCP port on an address. */
export async function freePort(address) {
  const server = createServer();
  await new Promise((resolve, reject) => server.once("error", reject).listen(0, address, resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** The first of `count` UDP ports that are free together on an address. */
export async function freeUdpPorts(address, count) {
  for (let attempt = 0; attempt < 50; attempt += 1) {
    const first = 20_000 + Math.floor(Math.random() * 40_000);
    const sockets = [];
    try {
      for (let port = first; port < first + count; port += 1) {
        const socket = createSocket("udp4");
        sockets.push(socket);
        await new Promise((resolve, reject) => socket.once("error", reject).bind(port, address, resolve));
      }
      return first;
    } catch {
      continue;
    } finally {
      for (const socket of sockets) socket.close();
    }
  }
  throw new Error(`no ${count} free UDP ports in a row on ${address}`);
}

const folders = [];
const running = new Set();

/** A folder that goes away with the run. */
export function ownFolder(name) {
  const folder = mkdtempSync(join(tmpdir(), `hype-${name}-${process.pid}-`));
  folders.push(folder);
  return folder;
}

process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/** A program that runs until it is stopped; its output goes to a file of its folder. */
export class Program {
  constructor(name, command, args, { env = {}, log = ownFolder(name) } = {}) {
    Object.assign(this, { name, command, args, env, logFile: join(log, `${name}.log`) });
  }

  start() {
    const out = openSync(this.logFile, "a");
    this.child = spawn(this.command, this.args, { stdio: ["ignore", out, out], env: { ...process.env, ...this.env } });
    running.add(this.child);
    this.ended = new Promise((resolve) => {
      this.child.once("error", resolve);
      this.child.once("exit", (code, signal) => resolve(signal ?? code));
    }).finally(() => running.delete(this.child));
    return this;
  }

  /** Ends it and waits until it is gone; returns how long that took, in milliseconds. */
  async stop(signal = "SIGTERM") {
    const began = performance.now();
    if (!running.has(this.child)) return 0;
    this.child.kill(signal);
    const late = setTimeout(() => this.child.kill("SIGKILL"), 30_000);
    await this.ended;
    clearTimeout(late);
    return performance.now() - began;
  }
}

/** Polls until `probe` returns something truthy; returns it. Patient: a busy machine is no defect. */
export async function eventually(what, probe, { withinMs = 60_000, everyMs = 100 } = {}) {
  const deadline = performance.now() + withinMs;
  let last;
  for (;;) {
    try {
      const value = await probe();
      if (value) return value;
      last = value;
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadline) throw new Error(`not within ${withinMs} ms: ${what} (last: ${last instanceof Error ? last.message : JSON.stringify(last)})`);
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}

const healthy = (url) => eventually(`${url}/healthz`, async () => (await fetch(`${url}/healthz`)).ok);

/** `hype up` on an address of its own; in a network namespace it announces all there are. */
export async function startUp({ announceAll = false } = {}) {
  const address = ownAddress();
  const [http, udp] = [await freePort(address), await freeUdpPorts(address, 2)];
  const flags = ["--udp-port", udp, "--workers", 2, ...(announceAll ? [] : ["--announce", address])];
  return runUp(address, http, flags);
}

/** `hype up` at the far end of a cable to a namespace of its own, which receives past the kernel. */
export function startUpPastKernel({ namespace, interface: name, address }) {
  const flags = ["--workers", 1, "--announce", address, "--io", "xdp", "--interface", name];
  return runUp(address, 8080, flags, ["ip", "netns", "exec", namespace]);
}

async function runUp(address, http, flags, before = []) {
  const all = [...before, binary, "up", "--data-dir", ownFolder("up"), "--http", `${address}:${http}`, ...flags];
  const [command, ...args] = all.map(String);
  const program = new Program("up", command, args).start();
  const url = `http://${address}:${http}`;
  await healthy(url);
  return { url, program, stop: () => program.stop() };
}

/** A real etcd, `hype control` and `hype node` as three processes. */
export async function startFleet() {
  const address = ownAddress();
  const data = ownFolder("fleet");
  const [client, peer] = [await freePort(address), await freePort(address)];
  const etcdUrl = `http://${address}:${client}`;
  const etcd = new Program("etcd", "etcd", [
    "--data-dir", join(data, "etcd"),
    "--listen-client-urls", etcdUrl, "--advertise-client-urls", etcdUrl,
    "--listen-peer-urls", `http://${address}:${peer}`, "--initial-advertise-peer-urls", `http://${address}:${peer}`,
    "--initial-cluster", `default=http://${address}:${peer}`, "--unsafe-no-fsync",
  ]).start();
  await eventually("etcd", async () => (await fetch(`${etcdUrl}/health`)).ok);

  const http = await freePort(address);
  const link = await freeUdpPorts(address, 1);
  const pki = join(data, "pki");
  const control = new Program("control", binary, [
    "control", "--data-dir", join(data, "control"), "--http", `${address}:${http}`, "--etcd", etcdUrl,
    "--link", `${address}:${link}`, "--pki-dir", pki,
  ]).start();
  const url = `http://${address}:${http}`;
  await eventually("the control plane listens", async () => (await fetch(url)).ok);

  const { execFileSync } = await import("node:child_process");
  const token = execFileSync(binary, ["cert", "token", "--pki-dir", pki, "--node", "node-1"], { encoding: "utf8" }).trim();
  const udp = await freeUdpPorts(address, 2);
  const admin = await freePort(address);
  const node = new Program("node", binary, [
    "node", "--node-id", "node-1", "--etcd", etcdUrl, "--data-dir", join(data, "node"), "--enroll", token, "--control", url,
    "--udp-port", String(udp), "--workers", "2", "--announce", address, "--admin", `${address}:${admin}`,
  ]).start();
  await healthy(url);
  const all = [node, control, etcd];
  return { url, etcdUrl, etcd, control, node, adminUrl: `http://${address}:${admin}`, stop: () => Promise.all(all.map((program) => program.stop())) };
}

/** Runs something that is about speed a few times, until it is right once; `tell` hears why it was not. */
export async function within(tries, tell, run) {
  for (let left = tries - 1; ; left -= 1) {
    try {
      return await run();
    } catch (error) {
      if (left === 0) throw error;
      tell(`once more: ${error.message}`);
    }
  }
}
