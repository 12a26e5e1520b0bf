//! The REST side of the server: signing in, and every call with a fresh access token.
//! Refresh tokens work once, and using one twice ends the whole family; so tabs of one browser
//! take turns by a lock and look first whether another has refreshed already.

const BASE = "/api/v1";
const KEY = "hype.session";
const MARGIN_MS = 20_000;

/** An error that the server explained, or that the network caused (`code` is then `offline`). */
export class ApiError extends Error {
  constructor(code, message, status = 0, retryAfterMs = null) {
    super(message);
    this.code = code;
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }
}

const listeners = new Set();
let refreshing = null;

/** Calls back when the person is signed out: by choice, by another tab, or by the server. */
export function onSignedOut(listener) {
  listeners.add(listener);
}

/** The person who is signed in on this browser, or null. */
export function signedInUser() {
  return read()?.user ?? null;
}

function read() {
  try {
    const session = JSON.parse(localStorage.getItem(KEY) ?? "null");
    return session && typeof session.refresh === "string" ? session : null;
  } catch {
    return null;
  }
}

function keep(answer) {
  const session = {
    user: answer.user,
    access: answer.access_token,
    refresh: answer.refresh_token,
    expiresAt: Date.now() + answer.expires_in_s * 1000,
  };
  localStorage.setItem(KEY, JSON.stringify(session));
  return session;
}

function forget(reason) {
  localStorage.removeItem(KEY);
  for (const listener of listeners) listener(reason);
}

window.addEventListener("storage", (event) => {
  if (event.key === KEY && event.newValue === null) {
    for (const listener of listeners) listener("You signed out in another tab.");
  }
});

async function send(method, path, body, token, key = null) {
  const headers = {};
  if (key) headers["idempotency-key"] = key;
  if (body !== undefined) headers["content-type"] = "application/json";
  if (token) headers.authorization = `Bearer ${token}`;
  let response;
  try {
    response = await fetch(BASE + path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
      credentials: "omit",
    });
  } catch {
    throw new ApiError("offline", "Hype cannot be reached. Check your connection and try again.");
  }
  if (response.status === 204) return null;
  const content = await response.json().catch(() => null);
  if (response.ok) return content;
  const error = content?.error;
  const waitS = Number(response.headers.get("retry-after"));
  throw new ApiError(
    error?.code ?? "unknown",
    error?.message ?? `The server answered with status ${response.status}.`,
    response.status,
    error?.retry_after_ms ?? (waitS > 0 ? waitS * 1000 : null),
  );
}

/** Signs in, or registers with `create`. */
export async function signIn(name, password, { create = false } = {}) {
  const session = keep(await send("POST", create ? "/auth/register" : "/auth/login", { name, password }));
  return session.user;
}

/** Ends the session here and on the server. */
export async function signOut() {
  const session = read();
  forget("");
  if (session) await send("POST", "/auth/logout", { refresh_token: session.refresh }).catch(() => null);
}

/** Runs the work alone among the tabs of this browser, where the browser can (secure pages). */
function exclusively(work) {
  return navigator.locks ? navigator.locks.request("hype.refresh", work) : work();
}

async function refresh(staleAccess) {
  return exclusively(async () => {
    const session = read();
    if (!session) throw new ApiError("unauthorized", "You are signed out.", 401);
    // Another tab was faster: its token is the good one.
    if (session.access !== staleAccess && session.expiresAt - Date.now() > MARGIN_MS) return session.access;
    try {
      return keep(await send("POST", "/auth/refresh", { refresh_token: session.refresh })).access;
    } catch (error) {
      if (error.status === 401) forget("Your session has ended. Please sign in again.");
      throw error;
    }
  });
}

/** A valid access token. `stale` is one that the server has just refused. */
export async function accessToken(stale = null) {
  const session = read();
  if (!session) throw new ApiError("unauthorized", "You are signed out.", 401);
  if (session.access !== stale && session.expiresAt - Date.now() > MARGIN_MS) return session.access;
  refreshing ??= refresh(session.access).finally(() => {
    refreshing = null;
  });
  return refreshing;
}

/**
 * One call as the person who is signed in. Under a `key` something is made once, however often the
 * call is repeated. Throws [`ApiError`].
 */
export async function call(method, path, body, { key = null } = {}) {
  const token = await accessToken();
  try {
    return await send(method, path, body, token, key);
  } catch (error) {
    // A wrong password is no stale token: asking again would be another wrong guess.
    if (error.status !== 401 || error.code === "wrong_credentials") throw error;
    return send(method, path, body, await accessToken(token), key);
  }
}

/** A fresh key for a call that makes something. */
export function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Changes the password; all other sign-ins end. Throws [`ApiError`]. */
export async function changePassword(current, next) {
  await call("PATCH", "/auth/me/password", { current, new: next });
}

/** Ends all sign-ins of the person, this one as well. Throws [`ApiError`]. */
export async function signOutEverywhere() {
  await call("POST", "/auth/logout-all");
  forget("You are signed out everywhere.");
}

/** What an invite leads to; needs no account. */
export function invitation(code) {
  return send("GET", `/invites/${encodeURIComponent(code)}`);
}
