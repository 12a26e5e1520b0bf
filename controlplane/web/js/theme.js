//! Applies the chosen colours before the first paint. A classic script on purpose: a module
//! would run after it, and the page would flash in the wrong colours.

(() => {
  let choice = null;
  try {
    choice = JSON.parse(localStorage.getItem("hype.settings") ?? "{}").theme;
  } catch {
    // Unreadable settings mean the system's colours.
  }
  if (choice === "light" || choice === "dark") document.documentElement.dataset.theme = choice;
})();
