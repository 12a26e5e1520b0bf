//! Turns a message into nodes: links, `code`, blocks, **bold** and *italics*. Every piece ends as
//! a text node, and only http and https become links, so a message cannot do anything to a page.

import { h } from "../dom.js";

const BLOCK = /```(?:[\w-]*\n)?([\s\S]+?)```/g;
const INLINE = /`([^`\n]+)`|\*\*([^*\n]+)\*\*|(?<![\w*])\*([^*\n]+)\*(?![\w*])|(https?:\/\/[^\s<>"]+)/g;

/** The nodes of a message. */
export function render(content) {
  return pieces(content, BLOCK, (match) => h("pre", null, h("code", null, match[1].replace(/\n$/, ""))), inline);
}

function inline(text) {
  return pieces(text, INLINE, (match) => {
    if (match[1]) return h("code", null, match[1]);
    if (match[2]) return h("strong", null, match[2]);
    if (match[3]) return h("em", null, match[3]);
    return link(match[4]);
  }, (rest) => [document.createTextNode(rest)]);
}

/** Splits by a pattern: matches go to `make`, what lies between to `between`. */
function pieces(text, pattern, make, between) {
  const nodes = [];
  let end = 0;
  for (const match of text.matchAll(pattern)) {
    if (match.index > end) nodes.push(...between(text.slice(end, match.index)));
    nodes.push(...[make(match)].flat());
    end = match.index + match[0].length;
  }
  if (end < text.length) nodes.push(...between(text.slice(end)));
  return nodes;
}

function link(text) {
  // Punctuation at the end belongs to the sentence, a bracket only if it was opened outside.
  let address = text.replace(/[.,;:!?'*]+$/, "");
  if (address.endsWith(")") && !address.includes("(")) address = address.slice(0, -1);
  const rest = document.createTextNode(text.slice(address.length));
  let url;
  try {
    url = new URL(address);
  } catch {
    return [document.createTextNode(text)];
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") return [document.createTextNode(text)];
  // An invite of this very server stays in this tab.
  const own = url.origin === location.origin && url.hash.startsWith("#/");
  const anchor = own ? h("a", { href: url.hash }, address) : h("a", { href: url.href, target: "_blank", rel: "noopener noreferrer nofollow" }, address);
  return [anchor, rest];
}
