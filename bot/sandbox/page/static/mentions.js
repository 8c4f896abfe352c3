// Mentions, links and dates inside a text, for both mrkdwn and rich_text.

import { element } from "./elements.js";
import { formatted } from "./dates.js";

const GROUP_MENTIONS = new Set(["here", "channel", "everyone"]);

/** Only http(s) URLs become links; `javascript:` and the like stay text. */
export function isWebAddress(url) {
  return /^https?:\/\/[^\s]+$/i.test(url);
}

export function link(url, ...label) {
  const shown = label.length ? label : [url];
  if (!isWebAddress(url)) return element("span", {}, ...shown);
  return element("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, ...shown);
}

export function userMention(id, context) {
  const user = context.users.get(id);
  const className = id === context.viewer ? "mention me" : "mention";
  return element("span", { className, textContent: `@${user ? user.name : id}`, dataset: { userId: id } });
}

export function channelMention(id, context) {
  const name = id === context.channel.id ? context.channel.name : id;
  return element("span", { className: "mention", textContent: `#${name}`, dataset: { channelId: id } });
}

export function groupMention(name) {
  return element("span", {
    className: GROUP_MENTIONS.has(name) ? "mention me" : "mention",
    textContent: `@${name}`,
  });
}

/** A date in the viewer's time zone, capitalised if it `begins` a line; `fallback` if it is invalid. */
export function date(timestamp, pattern, fallback, { url, begins }) {
  const when = formatted(timestamp, pattern);
  if (when === null) return element("span", { textContent: fallback });
  const text = begins ? when.charAt(0).toUpperCase() + when.slice(1) : when;
  const time = element("time", {
    dateTime: new Date(Number(timestamp) * 1000).toISOString(),
    textContent: text,
    title: formatted(timestamp, "{date_long} {time_secs}"),
  });
  return url && isWebAddress(url) ? link(url, time) : time;
}
