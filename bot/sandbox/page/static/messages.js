// Messages and ephemerals as the items of a keyed list.

import { blocks } from "./blocks.js";
import { pendingClicks } from "./buttons.js";
import { dayOf, dayTitle, fullTimeOf, isoOf, shortTimeOf, timeOf, whenOf } from "./dates.js";
import { element, icon } from "./elements.js";
import { mrkdwn } from "./mrkdwn.js";
import { avatar, guestMark } from "./people.js";

const GROUP_WITHIN_S = 300;

export const keyOf = (message) => (message.ephemeral ? `ephemeral ${message.id}` : `message ${message.ts}`);

/** Whether a message is shown without a name below the previous one, as Slack does within 5 minutes. */
function isGrouped(message, before, repliesBefore) {
  return (
    Boolean(before) &&
    !repliesBefore.length &&
    before.user_id === message.user_id &&
    Boolean(before.ephemeral) === Boolean(message.ephemeral) &&
    message.at - before.at < GROUP_WITHIN_S &&
    dayOf(message.at) === dayOf(before.at)
  );
}

function clock(message, className, text) {
  return element("time", {
    className,
    dateTime: isoOf(message.at),
    title: fullTimeOf(message.at),
    textContent: text,
  });
}

function byline(message, user) {
  return element(
    "div",
    { className: "byline" },
    element("span", { className: "name", textContent: user?.name ?? message.user_id }),
    user?.bot ? element("span", { className: "app-badge", textContent: "APP" }) : null,
    guestMark(user),
    clock(message, "time", timeOf(message.at)),
  );
}

function content(message, context) {
  const body = message.blocks?.length
    ? blocks(message.blocks, context)
    : [element("div", { className: "text", dir: "auto" }, mrkdwn(message.text ?? "", context))];
  const edited = message.edited ? element("span", { className: "edited", textContent: "(edited)" }) : null;
  return element("div", { className: "content" }, body, edited);
}

function repliesBar(message, replies, view) {
  const faces = [...new Set(replies.map((reply) => reply.user_id))]
    .slice(0, 3)
    .map((id) => avatar(view.users.get(id), "avatar tiny"));
  const count = replies.length;
  const last = replies.at(-1);
  const bar = element(
    "button",
    { type: "button", className: "replies", dataset: { focusKey: "replies", testid: "replies" } },
    faces,
    element("span", {
      className: "replies-count",
      textContent: count === 1 ? "1 reply" : `${count} replies`,
    }),
    element("span", { className: "replies-last", textContent: `Last reply ${whenOf(last.at)}` }),
    element("span", { className: "replies-view", textContent: "View thread", aria: { hidden: "true" } }),
  );
  bar.addEventListener("click", () => view.openThread(message.ts));
  return bar;
}

function onlyYou() {
  return element(
    "div",
    { className: "only-you" },
    icon("eye"),
    element("span", { textContent: "Only visible to you" }),
  );
}

function contents(message, grouped, replies, view) {
  const user = view.users.get(message.user_id);
  const context = { ...view, container: keyOf(message), click: (action) => view.click(message, action) };
  return [
    element(
      "div",
      { className: "gutter" },
      grouped ? clock(message, "grouped-time", shortTimeOf(message.at)) : avatar(user),
    ),
    element(
      "div",
      { className: "body" },
      message.ephemeral ? onlyYou() : null,
      grouped ? null : byline(message, user),
      content(message, context),
      replies.length ? repliesBar(message, replies, view) : null,
    ),
  ];
}

function decorate(node, message, grouped, view) {
  node.className = `message${grouped ? " grouped" : ""}${message.ephemeral ? " ephemeral" : ""}`;
  node.tabIndex = -1;
  node.dataset.testid = message.ephemeral ? "ephemeral" : "message";
  node.dataset.userId = message.user_id;
  if (message.ephemeral) node.dataset.ephemeralId = message.id;
  else node.dataset.ts = message.ts;
  const name = view.users.get(message.user_id)?.name ?? message.user_id;
  node.setAttribute(
    "aria-label",
    `${name}, ${timeOf(message.at)}${message.ephemeral ? ", only visible to you" : ""}`,
  );
}

function item(message, grouped, replies, view) {
  const key = keyOf(message);
  return {
    key,
    signature: JSON.stringify([
      message,
      grouped,
      replies.map((reply) => reply.ts),
      view.viewer,
      pendingClicks(key),
    ]),
    create: () => element("li"),
    decorate: (node) => decorate(node, message, grouped, view),
    contents: () => contents(message, grouped, replies, view),
  };
}

function divider(seconds) {
  return {
    key: `day ${dayOf(seconds)}`,
    signature: dayTitle(seconds),
    create: () => element("li", { className: "day" }),
    contents: () => [element("span", { textContent: dayTitle(seconds) })],
  };
}

/**
 * The items for a list of messages. `view` holds users (a Map by id), viewer, channel,
 * click(message, action), redraw() and openThread(ts). `repliesTo(ts)` returns the replies to count
 * under a message; with `days`, dividers separate the days.
 */
export function items(messages, view, { repliesTo = () => [], days = false } = {}) {
  const list = [];
  let before = null;
  let repliesBefore = [];
  for (const message of messages) {
    if (days && (!before || dayOf(before.at) !== dayOf(message.at))) list.push(divider(message.at));
    const replies = message.ephemeral ? [] : repliesTo(message.ts);
    list.push(item(message, isGrouped(message, before, repliesBefore), replies, view));
    before = message;
    repliesBefore = replies;
  }
  return list;
}
