// Runs before all else: says so when the page's own modules cannot be loaded, because the network
// changed or the server restarts, and tries again.

addEventListener("error", ({ target }) => {
  if (!(target instanceof HTMLScriptElement)) return;
  const told = document.querySelector(".starting");
  if (told) told.textContent = "Hype could not be loaded. Trying again…";
  setTimeout(() => location.reload(), 2_000);
}, true);
