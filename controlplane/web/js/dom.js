//! Builds and updates elements. Text only ever becomes text nodes and attributes are set one by
//! one, so nothing that a person wrote can become markup; there is no innerHTML in this client.

const PROPERTIES = new Set(["value", "checked", "disabled", "srcObject", "muted", "selected", "volume"]);

/** Makes an element. `on…` keys are listeners; null and false leave an attribute out. */
export function h(tag, props, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2).toLowerCase(), value);
    else if (PROPERTIES.has(key)) element[key] = value;
    else if (key === "class") element.className = value;
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

/** Replaces all children. */
export function fill(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

/** Sets the text only when it differs, so that selections and screen readers are not disturbed. */
export function setText(element, text) {
  const value = String(text ?? "");
  if (element.textContent !== value) element.textContent = value;
}

/** Sets or removes an attribute only when that changes something. */
export function setAttribute(element, name, value) {
  if (value === null || value === undefined || value === false) {
    if (element.hasAttribute(name)) element.removeAttribute(name);
  } else {
    const text = value === true ? "" : String(value);
    if (element.getAttribute(name) !== text) element.setAttribute(name, text);
  }
}

const LISTS = new WeakMap();

/**
 * Makes the container's children follow `items`: an element is made once for each key, updated
 * in place afterwards, and only moved when its order changed. Playing videos survive that.
 */
export function keyed(container, items, key, create, update) {
  const known = LISTS.get(container) ?? new Map();
  LISTS.set(container, known);
  const seen = new Set();
  let cursor = container.firstChild;
  for (const item of items) {
    const id = key(item);
    if (seen.has(id)) continue;
    seen.add(id);
    let element = known.get(id);
    if (!element) {
      element = create(item);
      known.set(id, element);
    }
    update?.(element, item);
    if (element === cursor) cursor = cursor.nextSibling;
    else container.insertBefore(element, cursor);
  }
  for (const [id, element] of known) {
    if (seen.has(id)) continue;
    known.delete(id);
    element.remove();
  }
}

/** Empties a container that `keyed` filled. */
export function clearKeyed(container) {
  LISTS.delete(container);
  container.replaceChildren();
}

/** True for a click or key that is meant for a control inside of `boundary`, not for it. */
export function insideControl(event, boundary) {
  const control = event.target.closest?.("button, input, select, textarea, a, label");
  return Boolean(control) && control !== boundary && boundary.contains(control);
}
