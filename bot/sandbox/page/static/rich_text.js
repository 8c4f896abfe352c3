// Draws the rich_text block. https://docs.slack.dev/reference/block-kit/blocks/rich-text-block

import { element, errorBox, icon } from "./elements.js";
import { emojiNamed, withEmoji } from "./emoji.js";
import { channelMention, date, groupMention, link, userMention } from "./mentions.js";

const STYLES = [
  ["code", "code"],
  ["strike", "s"],
  ["italic", "em"],
  ["bold", "strong"],
];

const ELEMENTS = {
  text: (part) => withEmoji(String(part.text), false),
  link: (part) => link(String(part.url), ...(part.text ? withEmoji(String(part.text), false) : [])),
  user: (part, context) => userMention(part.user_id, context),
  channel: (part, context) => channelMention(part.channel_id, context),
  usergroup: (part) => groupMention(part.usergroup_id),
  broadcast: (part) => groupMention(part.range),
  emoji: (part) => emojiNamed(part.name) ?? `:${part.name}:`,
  date: (part, context, begins) =>
    date(part.timestamp, part.format, part.fallback ?? "", { url: part.url, begins }),
};

function inlineError(type) {
  return element(
    "span",
    { className: "error-inline", dataset: { testid: "unknown-block" } },
    icon("warning"),
    `unknown rich text element “${type}”`,
  );
}

function styled(nodes, style) {
  let content = nodes;
  for (const [name, tag] of STYLES) {
    if (style?.[name]) content = [element(tag, {}, content)];
  }
  return content;
}

function inline(elements, context) {
  return (elements ?? []).map((part, index) => {
    if (!Object.hasOwn(ELEMENTS, part.type)) return inlineError(part.type);
    return styled([ELEMENTS[part.type](part, context, index === 0)].flat(), part.style);
  });
}

function list(part, context) {
  const node = element(part.style === "ordered" ? "ol" : "ul", {
    className: "rich-list",
    dataset: { indent: part.indent ?? 0 },
  });
  if (part.style === "ordered" && part.offset) node.start = part.offset + 1;
  node.append(...(part.elements ?? []).map((item) => element("li", {}, inline(item.elements, context))));
  return node;
}

const PARTS = {
  rich_text_section: (part, context) =>
    element("div", { className: "rich-section", dir: "auto" }, inline(part.elements, context)),
  rich_text_preformatted: (part, context) => element("pre", {}, inline(part.elements, context)),
  rich_text_quote: (part, context) => element("blockquote", {}, inline(part.elements, context)),
  rich_text_list: list,
};

export function richText(block, context) {
  const parts = (block.elements ?? []).map((part) =>
    Object.hasOwn(PARTS, part.type)
      ? PARTS[part.type](part, context)
      : errorBox(`Unknown rich text element “${part.type}”`),
  );
  return element("div", { className: "rich-text" }, parts);
}
