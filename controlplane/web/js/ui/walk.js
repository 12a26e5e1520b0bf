//! Going through the messages by keyboard: the log is one stop of the Tab key, arrows go from message
//! to message, and Enter leads to what one may do with it.

/** Follows the keys in a list of messages. */
export function walkMessages(list) {
  list.addEventListener("keydown", (event) => {
    const row = event.target.closest(".message");
    if (!row || event.target.closest("textarea, input")) return;
    const onRow = event.target === row;
    const tools = [...row.querySelectorAll(".message-tools button")];
    const act = {
      ArrowUp: () => focusOn(list, row.previousElementSibling),
      ArrowDown: () => focusOn(list, row.nextElementSibling),
      Home: () => focusOn(list, list.firstElementChild),
      End: () => focusOn(list, list.lastElementChild),
      Enter: onRow && tools.length > 0 && (() => tools[0].focus()),
      ArrowRight: !onRow && (() => tools[tools.indexOf(event.target) + 1]?.focus()),
      ArrowLeft: !onRow && (() => tools[tools.indexOf(event.target) - 1]?.focus()),
      Escape: !onRow && (() => row.focus()),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  });
}

function focusOn(list, row) {
  if (!row) return;
  for (const other of list.querySelectorAll(':scope > [tabindex="0"]')) other.tabIndex = -1;
  row.tabIndex = 0;
  row.focus();
}

/** The newest message is the stop, as long as the focus is elsewhere. */
export function settleStop(list) {
  const stops = list.querySelectorAll(':scope > [tabindex="0"]');
  if (stops.length === 1 && (list.contains(document.activeElement) || stops[0] === list.lastElementChild)) return;
  for (const stop of stops) stop.tabIndex = -1;
  if (list.lastElementChild) list.lastElementChild.tabIndex = 0;
}
