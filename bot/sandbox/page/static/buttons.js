// The buttons of a message: click, confirmation prompt, and spinner until the answer comes.

import { confirmed } from "./confirm.js";
import { element } from "./elements.js";

/** Clicks that wait for their answer. Kept outside the button's node, which an update replaces. */
const pending = new Set();

const keyOf = (part, context) => [context.container, part.action_id, part.value ?? ""].join("\n");

/** The pending clicks on a message: it is redrawn when they change. */
export function pendingClicks(container) {
  return [...pending].filter((key) => key.startsWith(`${container}\n`));
}

async function click(part, context, textObject) {
  const key = keyOf(part, context);
  if (pending.has(key)) return;
  if (part.confirm && !(await confirmed(part.confirm, (object) => textObject(object, context)))) return;
  pending.add(key);
  context.redraw();
  await context.click({ action_id: part.action_id, value: part.value ?? null });
  pending.delete(key);
  context.redraw();
}

/** A Block Kit button. With a `url` it is also a link; Slack still reports the click to the app. */
export function button(part, context, textObject) {
  const busy = pending.has(keyOf(part, context));
  const style = { primary: "primary", danger: "danger" }[part.style] ?? "";
  const node = element(part.url ? "a" : "button", {
    className: `button ${style}`,
    dataset: {
      actionId: part.action_id,
      value: part.value,
      focusKey: `${part.action_id}\n${part.value ?? ""}`,
    },
    aria: { label: part.accessibility_label, busy: busy || null, disabled: busy || null },
  });
  if (part.url)
    Object.assign(node, {
      href: /^https?:/i.test(part.url) ? part.url : "#",
      target: "_blank",
      rel: "noopener noreferrer",
    });
  else node.type = "button";
  node.append(element("span", { className: "button-text" }, textObject(part.text, context)));
  // Not `disabled`, which would lose the keyboard focus.
  if (busy) node.append(element("span", { className: "spinner", aria: { hidden: "true" } }));
  node.addEventListener("click", () => click(part, context, textObject));
  return node;
}
