// Slack's mrkdwn as DOM nodes. https://docs.slack.dev/messaging/formatting-message-text
// Parses the raw text in one pass; `&amp;`, `&lt;` and `&gt;` are decoded last, so that escaped text
// never becomes markup.

import { element } from "./elements.js";
import { spokenEmoji, withEmoji } from "./emoji.js";
import { channelMention, date, groupMention, isWebAddress, link, userMention } from "./mentions.js";

const TAGS = { "*": "strong", _: "em", "~": "s" };
const ENTITIES = { "&amp;": "&", "&lt;": "<", "&gt;": ">" };
const BARE_ADDRESS = /https?:\/\/[^\s<>|*~`]+[^\s<>|*~`.,;:!?)'"]/y;

export function unescaped(text) {
  return text.replace(/&(amp|lt|gt);/g, (entity) => ENTITIES[entity]);
}

/** The node for the text between `<` and `>`: a mention, a date or a link; anything else is shown as is. */
function control(body, context, begins) {
  const bar = body.indexOf("|");
  const target = bar < 0 ? body : body.slice(0, bar);
  const label = bar < 0 ? "" : body.slice(bar + 1);
  if (/^@[UW]\w+$/.test(target)) return userMention(target.slice(1), context);
  if (/^#[CG]\w+$/.test(target)) return channelMention(target.slice(1), context);
  if (target.startsWith("!date^")) {
    const [, timestamp, pattern, url] = target.split("^");
    return date(timestamp, unescaped(pattern ?? ""), unescaped(label), {
      url: url && unescaped(url),
      begins,
    });
  }
  if (target.startsWith("!subteam^"))
    return groupMention(unescaped(label).replace(/^@/, "") || target.slice("!subteam^".length));
  if (target.startsWith("!")) return groupMention(target.slice(1));
  const url = unescaped(target);
  if (/^(mailto|tel):/.test(url))
    return element("span", { textContent: unescaped(label) || url.replace(/^\w+:/, "") });
  if (!isWebAddress(url)) return element("span", { textContent: `<${unescaped(body)}>` });
  return link(url, ...(label ? withEmoji(unescaped(label)) : []));
}

const isWord = (character) => character !== undefined && /[\p{L}\p{N}]/u.test(character);

/** The index of the marker that closes the style opened at `start`, on the same line; -1 if none. */
function closing(text, start) {
  const marker = text[start];
  if (isWord(text[start - 1]) || !text[start + 1] || /\s/.test(text[start + 1]) || text[start + 1] === marker)
    return -1;
  for (let at = start + 1; at < text.length && text[at] !== "\n"; at += 1) {
    const skipped = { "<": ">", "`": "`" }[text[at]];
    const end = skipped ? text.indexOf(skipped, at + 1) : -1;
    if (end > 0) at = end;
    else if (text[at] === marker && !/\s/.test(text[at - 1]) && !isWord(text[at + 1])) return at;
  }
  return -1;
}

/** The construct that begins at `at`, as `[node, end index]`; null if it is plain text. */
function construct(text, at, context) {
  const character = text[at];
  if (character === "<") {
    const end = text.indexOf(">", at);
    if (end > at + 1)
      return [control(text.slice(at + 1, end), context, at === 0 || text[at - 1] === "\n"), end + 1];
  }
  if (text.startsWith("```", at)) {
    const end = text.indexOf("```", at + 3);
    if (end > 0)
      return [
        element("pre", { textContent: unescaped(text.slice(at + 3, end)).replace(/^\n/, "") }),
        end + 3,
      ];
  }
  if (character === "`") {
    const end = text.indexOf("`", at + 1);
    if (end > at + 1 && !text.slice(at, end).includes("\n"))
      return [element("code", { textContent: unescaped(text.slice(at + 1, end)) }), end + 1];
  }
  if (Object.hasOwn(TAGS, character)) {
    const end = closing(text, at);
    if (end > 0) return [element(TAGS[character], {}, inline(text.slice(at + 1, end), context)), end + 1];
  }
  if (character === "h" && !isWord(text[at - 1])) {
    BARE_ADDRESS.lastIndex = at;
    const [address] = BARE_ADDRESS.exec(text) ?? [];
    if (address) return [link(unescaped(address)), at + address.length];
  }
  return null;
}

function inline(text, context) {
  const nodes = [];
  let plainFrom = 0;
  let at = 0;
  while (at < text.length) {
    const found = construct(text, at, context);
    if (!found) {
      at += 1;
      continue;
    }
    if (at > plainFrom) nodes.push(...withEmoji(unescaped(text.slice(plainFrom, at))));
    nodes.push(found[0]);
    at = plainFrom = found[1];
  }
  if (plainFrom < text.length) nodes.push(...withEmoji(unescaped(text.slice(plainFrom))));
  return nodes;
}

/** Mrkdwn text as nodes; lines that begin with `>` or `&gt;` become quotes. */
export function mrkdwn(text, context) {
  const nodes = [];
  let plain = [];
  let quoted = [];
  let inCode = false;
  const endPlain = () => {
    if (plain.length) nodes.push(...inline(plain.join("\n"), context));
    plain = [];
  };
  const endQuote = () => {
    if (quoted.length) nodes.push(element("blockquote", {}, inline(quoted.join("\n"), context)));
    quoted = [];
  };
  for (const line of text.split("\n")) {
    const quote = inCode ? null : /^(?:&gt;|>) ?(.*)$/.exec(line);
    if (quote) {
      endPlain();
      quoted.push(quote[1]);
      continue;
    }
    endQuote();
    plain.push(line);
    if (line.split("```").length % 2 === 0) inCode = !inCode;
  }
  endQuote();
  endPlain();
  return nodes;
}

/** Mrkdwn text as plain text for screen readers. */
export function spoken(text, context) {
  const plain = element("div", {}, mrkdwn(text, context)).textContent;
  return spokenEmoji(plain).replace(/\s+/g, " ").trim();
}
