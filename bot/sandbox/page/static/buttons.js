// Buttons of a message: a click, its confirmation, and the wait for the answer.

import { confirmed } from "./confirm.js";
import { element } from "./elements.js";

/** Clicks that wait for their answer; they outlive the button's node, which an update replaces. */
const underWay = new Set();

const keyOf = (part, context) => [context.container, part.action_id, part.value ?? ""].join("\n");

/** What is under way on a message: part of what decides whether it is drawn anew. */
export function waiting(container) {
  return [...underWay].filter((key) => key.startsWith(`${container}\n`));
}

async function click(part, context, textObject) {
  const key = keyOf(part, context);
  if (underWay.has(key)) return;
  if (part.confirm && !(await confirmed(part.confirm, (object) => textObject(object, context)))) return;
  underWay.add(key);
  context.redraw();
  await context.click({ action_id: part.action_id, value: part.value ?? null });
  underWay.delete(key);
  context.redraw();
}

/** A Block Kit button; with a `url` it is a link too, as in Slack, which still reports the click. */
export function button(part, context, textObject) {
  const busy = underWay.has(keyOf(part, context));
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
  // Not `disabled`: that would throw the keyboard's focus away while the answer is awaited.
  if (busy) node.append(element("span", { className: "spinner", aria: { hidden: "true" } }));
  node.addEventListener("click", () => click(part, context, textObject));
  return node;
}
