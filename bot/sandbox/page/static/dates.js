// Formats times in the viewer's time zone and language: Slack's date tokens, clock times, day dividers.

const format = (options) => (date) => new Intl.DateTimeFormat(undefined, options).format(date);
const LONG = { weekday: "long", month: "long", day: "numeric", year: "numeric" };

const clock = format({ hour: "numeric", minute: "2-digit" });
const dateShort = format({ month: "short", day: "numeric", year: "numeric" });
const dateUsual = format({ month: "long", day: "numeric", year: "numeric" });
const dateLong = format(LONG);

/** Slack's tokens, https://docs.slack.dev/messaging/formatting-message-text#date-formatting */
const TOKENS = {
  date_num: (date) =>
    [date.getFullYear(), date.getMonth() + 1, date.getDate()]
      .map((part) => String(part).padStart(2, "0"))
      .join("-"),
  date: dateUsual,
  date_short: dateShort,
  date_long: dateLong,
  date_pretty: (date) => pretty(date) ?? dateUsual(date),
  date_short_pretty: (date) => pretty(date) ?? dateShort(date),
  date_long_pretty: (date) => pretty(date) ?? dateLong(date),
  day_divider_pretty: (date) => pretty(date) ?? dateLong(date),
  time: clock,
  time_secs: format({ hour: "numeric", minute: "2-digit", second: "2-digit" }),
  ago,
};

function midnight(date) {
  return new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
}

function pretty(date) {
  const days = Math.round((midnight(date) - midnight(new Date())) / 86_400_000);
  return { "-1": "yesterday", 0: "today", 1: "tomorrow" }[days] ?? null;
}

function ago(date) {
  const seconds = Math.round((date.getTime() - Date.now()) / 1000);
  const [size, unit] = [
    [86_400, "day"],
    [3600, "hour"],
    [60, "minute"],
    [1, "second"],
  ].find(([each]) => Math.abs(seconds) >= each) ?? [1, "second"];
  return new Intl.RelativeTimeFormat(undefined, { numeric: "auto" }).format(Math.round(seconds / size), unit);
}

/** Replaces Slack's `{tokens}`; null if the time or a token is invalid (show the fallback then). */
export function formatted(timestamp, pattern) {
  const date = new Date(Number(timestamp) * 1000);
  if (Number.isNaN(date.getTime()) || !/^\d+$/.test(String(timestamp))) return null;
  let known = true;
  const text = pattern.replace(/\{(\w+)\}/g, (_, token) => {
    if (Object.hasOwn(TOKENS, token)) return TOKENS[token](date);
    known = false;
    return "";
  });
  return known ? text : null;
}

const fromSeconds = (seconds) => new Date(seconds * 1000);

export const timeOf = (seconds) => clock(fromSeconds(seconds));
/** The time without AM or PM, for the narrow column beside grouped messages. */
export function shortTimeOf(seconds) {
  const parts = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" }).formatToParts(
    fromSeconds(seconds),
  );
  return parts
    .filter((part) => part.type !== "dayPeriod")
    .map((part) => part.value)
    .join("")
    .trim();
}

export const fullTimeOf = (seconds) =>
  format({ ...LONG, hour: "numeric", minute: "2-digit", second: "2-digit" })(fromSeconds(seconds));
export const dayOf = (seconds) => midnight(fromSeconds(seconds));
export const whenOf = (seconds) =>
  `${pretty(fromSeconds(seconds)) ?? dateShort(fromSeconds(seconds))} at ${timeOf(seconds)}`;
export const isoOf = (seconds) => fromSeconds(seconds).toISOString();

/** The text of a day divider: "Today", or "Friday, November 13". */
export function dayTitle(seconds) {
  const name =
    pretty(fromSeconds(seconds)) ??
    format({ weekday: "long", month: "long", day: "numeric" })(fromSeconds(seconds));
  return name.charAt(0).toUpperCase() + name.slice(1);
}
