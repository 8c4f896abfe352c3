// Draws Block Kit. Unknown blocks and elements are shown as errors.
// https://docs.slack.dev/reference/block-kit/blocks

import { button } from "./buttons.js";
import { element, errorBox } from "./elements.js";
import { withEmoji } from "./emoji.js";
import { mrkdwn } from "./mrkdwn.js";
import { richText } from "./rich_text.js";
import { table } from "./table.js";

/** A text object (`mrkdwn` or `plain_text`) as nodes. */
export function textObject(object, context) {
  if (object?.type === "mrkdwn") return mrkdwn(String(object.text), context);
  if (object?.type === "plain_text") return withEmoji(String(object.text), object.emoji !== false);
  return [errorBox(`Unknown text object “${object?.type}”`)];
}

function interactive(part, context) {
  if (part?.type === "button") return button(part, context, textObject);
  return errorBox(`Unknown block element “${part?.type}”`);
}

function header(block, context) {
  return element("h3", { className: "header" }, textObject(block.text, context));
}

function section(block, context) {
  const body = element("div", { className: "section-body" });
  if (block.text)
    body.append(element("div", { className: "text", dir: "auto" }, textObject(block.text, context)));
  if (block.fields) {
    const fields = block.fields.map((field) =>
      element("div", { className: "field", dir: "auto" }, textObject(field, context)),
    );
    body.append(element("div", { className: "fields" }, fields));
  }
  const accessory = block.accessory
    ? element("div", { className: "accessory" }, interactive(block.accessory, context))
    : null;
  return element("div", { className: "section" }, body, accessory);
}

function contextBlock(block, context) {
  const parts = (block.elements ?? []).map((part) =>
    part.type === "mrkdwn" || part.type === "plain_text"
      ? element("span", { className: "context-text", dir: "auto" }, textObject(part, context))
      : errorBox(`Unknown context element “${part.type}”`),
  );
  return element("div", { className: "context" }, parts);
}

function actions(block, context) {
  return element(
    "div",
    { className: "actions" },
    (block.elements ?? []).map((part) => interactive(part, context)),
  );
}

const BLOCKS = {
  header,
  section,
  context: contextBlock,
  actions,
  rich_text: richText,
  table,
  divider: () => element("hr", { className: "divider" }),
};

function drawn(block, context) {
  if (!Object.hasOwn(BLOCKS, block?.type)) return errorBox(`Unknown block “${block?.type}”`);
  try {
    return BLOCKS[block.type](block, context);
  } catch (error) {
    return errorBox(`The block “${block.type}” can't be drawn: ${error.message}`);
  }
}

/** The nodes of a message's blocks. `context` holds the viewer and the message (see messages.js). */
export function blocks(list, context) {
  return list.map((block) => {
    const node = drawn(block, context);
    node.classList.add("block");
    if (block?.block_id) node.dataset.blockId = block.block_id;
    return node;
  });
}
