// Runs a test file in a network namespace of its own, which goes away with it: there it has an
// address that is not loopback, and listens nowhere outside.

import { execFileSync, spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const INSIDE = "HYPE_E2E_NAMESPACE";

/** Returns only inside the namespace; outside it makes one, runs the file there, and exits. */
export function insideNamespace(file) {
  if (process.env[INSIDE]) return;
  const name = `hype${process.pid}`;
  const ip = (...args) => execFileSync("ip", args);
  let status = 1;
  ip("netns", "add", name);
  try {
    // Addresses are there at once: one that turns valid later is a change of the network, by which
    // Chromium gives up what it is loading.
    ip("netns", "exec", name, "sysctl", "-qw", "net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0");
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
