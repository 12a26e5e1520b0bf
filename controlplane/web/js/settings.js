//! What the person chose on this device, kept in localStorage: devices, sound processing, the
//! kind of screen share, colours. Unknown or broken contents fall back to the defaults.

const KEY = "hype.settings";

const DEFAULTS = {
  input: "",
  output: "",
  camera: "",
  echoCancellation: true,
  noiseSuppression: true,
  autoGainControl: true,
  share: "detail",
  theme: "system",
  members: true,
  status: "online",
};

function load() {
  const settings = { ...DEFAULTS };
  try {
    const stored = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    for (const key of Object.keys(DEFAULTS)) {
      if (typeof stored[key] === typeof DEFAULTS[key]) settings[key] = stored[key];
    }
  } catch {
    // Broken contents are replaced at the next change.
  }
  return settings;
}

/** The current choices; read only. */
export const settings = load();

const listeners = new Set();

/** Changes choices, keeps them, and tells who listens which keys changed. */
export function choose(changes) {
  Object.assign(settings, changes);
  try {
    localStorage.setItem(KEY, JSON.stringify(settings));
  } catch {
    // Storage may be full or forbidden: the choice then lasts until the page closes.
  }
  if ("theme" in changes) applyTheme();
  for (const listener of listeners) listener(Object.keys(changes));
}

/** Calls back with the keys that changed. */
export function onChoice(listener) {
  listeners.add(listener);
}

function applyTheme() {
  const root = document.documentElement;
  if (settings.theme === "system") delete root.dataset.theme;
  else root.dataset.theme = settings.theme;
}
