// The page shows what the server would allow: its own sums are held against the server's rules
// (the rows are those of `domain/permission.rs`) and against the protocol's bits.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { PERMISSIONS, P, inChannel, inGuild, rank, has } from "../../controlplane/web/js/permissions.js";

const protocol = readFileSync(new URL("../../protocol/src/permission.rs", import.meta.url), "utf8");
const ALL = PERMISSIONS.reduce((set, { name }) => set | P[name], 0n);
const { VIEW_CHANNEL: VIEW, SEND_MESSAGES: SEND, CONNECT, SPEAK, STREAM, KICK_MEMBERS: KICK, ADMINISTRATOR } = P;

/** Guild 1 of owner 7, where 8 has the roles 10 and 20; the base is everybody's. */
function guild(base) {
  const role = (id, position, permissions = 0n) => ({ id, position, permissions: String(permissions) });
  return { id: "1", owner_id: "7", roles: [role("20", 2), role("10", 1), role("1", 0, base)], members: new Map([["7", { roles: [] }], ["8", { roles: ["10", "20"] }]]) };
}

const overwrite = (kind) => (id, allow, deny) => ({ target_id: id, kind, allow: String(allow), deny: String(deny) });
const [role, member] = [overwrite("role"), overwrite("member")];

function check(row, base, overwrites, expected) {
  assert.equal(inChannel(guild(base), "8", { kind: "text", overwrites }), expected, row);
}

test("the bits are the protocol's", () => {
  const bits = [...protocol.matchAll(/^ {4}([A-Z_]+) = (\d+)$/gm)].map(([, name, bit]) => [name, Number(bit)]);
  assert.ok(bits.length > 10);
  assert.deepEqual(new Map(PERMISSIONS.map(({ name, bit }) => [name, bit]).sort()), new Map(bits.sort()));
});

test("the owner and administrators may everything", () => {
  const denied = { kind: "text", overwrites: [role("1", 0n, VIEW | SEND), member("8", 0n, VIEW)] };
  for (const [base, user] of [[0n, "7"], [ADMINISTRATOR, "8"]]) {
    assert.equal(inGuild(guild(base), user), ALL);
    assert.equal(inChannel(guild(base), user, denied), ALL);
  }
  assert.equal(inGuild(guild(KICK | VIEW), "8"), KICK | VIEW);
  assert.equal(rank(guild(0n), "7"), Infinity);
  assert.equal(rank(guild(0n), "8"), 2);
});

test("overwrites add up step by step", () => {
  const both = VIEW | SEND;
  check("no overwrites", both, [], both);
  check("everybody is denied", both, [role("1", 0n, SEND)], VIEW);
  check("everybody is allowed", VIEW, [role("1", SEND, 0n)], both);
  check("a role against everybody", both, [role("1", 0n, SEND), role("10", SEND, 0n)], both);
  check("a role against everybody", both, [role("1", SEND, 0n), role("10", 0n, SEND)], VIEW);
  check("of two roles the allow wins", both, [role("10", 0n, SEND), role("20", SEND, 0n)], both);
  check("in whichever order", both, [role("20", SEND, 0n), role("10", 0n, SEND)], both);
  check("another's role is no matter", both, [role("30", 0n, SEND)], both);
  check("the member comes last", both, [member("8", 0n, SEND), role("10", SEND, 0n)], VIEW);
  check("the member comes last", both, [member("8", SEND, 0n), role("10", 0n, SEND)], both);
  check("another member is no matter", both, [member("9", 0n, SEND)], both);
  check("a member is no role", both, [member("10", 0n, SEND), role("8", 0n, SEND)], both);
});

test("without the first the rest does not hold", () => {
  const voice = VIEW | CONNECT | SPEAK | STREAM;
  check("without a view nothing holds", voice, [role("1", SEND, VIEW)], 0n);
  check("without connecting no voice", voice, [role("1", 0n, CONNECT)], VIEW);
  check("without speaking still a picture", voice, [role("10", 0n, SPEAK)], voice & ~SPEAK);
  check("nor by the roles", SPEAK | CONNECT, [], 0n);
});

test("overwrites are about channels only", () => {
  check("no administrator is made here", VIEW, [member("8", ADMINISTRATOR | KICK, 0n)], VIEW);
  check("nor anything of a guild taken", VIEW | KICK, [role("1", 0n, KICK)], VIEW | KICK);
  assert.ok(has(VIEW | SEND, SEND) && !has(VIEW, SEND));
});
