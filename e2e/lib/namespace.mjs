// Runs a test file in a network namespace of its own, which goes away with it: there it has an
// address that is not loopback, and listens nowhere outside.

import { execFileSync, spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const INSIDE = "HYPE_E2E_NAMESPACE";

const ip = (...args) => execFileSync("ip", args);

// Addresses are there at once: one that turns valid later is a change of the network, by which Chromium
// gives up what it is loading.
const AT_ONCE = ["sysctl", "-qw", "net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0"];

/** Returns only inside the namespace; outside it makes one, runs the file there, and exits. */
export function insideNamespace(file) {
  if (process.env[INSIDE]) return;
  const name = `hype${process.pid}`;
  let status = 1;
  ip("netns", "add", name);
  try {
    ip("netns", "exec", name, ...AT_ONCE);
    ip("-n", name, "link", "set", "lo", "up");
    ip("-n", name, "link", "add", "lan", "type", "veth", "peer", "name", "far");
    ip("-n", name, "link", "set", "far", "up");
    ip("-n", name, "address", "add", "10.77.0.1/24", "dev", "lan");
    ip("-n", name, "link", "set", "lan", "up");
    ip("-n", name, "route", "add", "default", "via", "10.77.0.2");
    const env = { ...process.env, [INSIDE]: name };
    ({ status } = spawnSync("ip", ["netns", "exec", name, process.execPath, fileURLToPath(file)], { env, stdio: "inherit" }));
  } finally {
    ip("netns", "delete", name);
  }
  process.exit(status ?? 1);
}

/**
 * From inside a namespace: another one for a node, joined to this one by a cable whose ends have so many
 * queues. The node's end has the address and the name that are returned.
 */
export function cableToNode(queues) {
  const namespace = `hype${process.pid}q${queues}`;
  const names = { namespace, interface: `n${process.pid}q${queues}`, address: `10.78.${queues}.1` };
  const near = `p${process.pid}q${queues}`;
  const both = ["numtxqueues", queues, "numrxqueues", queues].map(String);
  ip("netns", "add", namespace);
  ip("netns", "exec", namespace, ...AT_ONCE);
  ip("link", "add", near, ...both, "type", "veth", "peer", "name", names.interface, "netns", namespace, ...both);
  ip("-n", namespace, "link", "set", "lo", "up");
  ip("-n", namespace, "address", "add", `${names.address}/24`, "dev", names.interface);
  ip("-n", namespace, "link", "set", names.interface, "up");
  ip("address", "add", `10.78.${queues}.2/24`, "dev", near);
  ip("link", "set", near, "up");
  return { ...names, remove: () => ip("netns", "delete", namespace) };
}
