// Emoji by Slack's short names. The common ones are images (emoji.svg), as not every machine has an
// emoji font; the character stays in the text, for screen readers and copying.

import { element, picture } from "./elements.js";

/** Short name -> character. */
const EMOJI = {
  alarm_clock: "⏰",
  arrow_right: "➡️",
  arrows_counterclockwise: "🔄",
  ballot_box_with_check: "☑️",
  bell: "🔔",
  boom: "💥",
  broken_heart: "💔",
  building_construction: "🏗️",
  bust_in_silhouette: "👤",
  clipboard: "📋",
  clock3: "🕒",
  eyes: "👀",
  fast_forward: "⏩",
  floppy_disk: "💾",
  heavy_check_mark: "✔️",
  hourglass: "⌛",
  hourglass_flowing_sand: "⏳",
  information_source: "ℹ️",
  key: "🔑",
  leftwards_arrow_with_hook: "↩️",
  link: "🔗",
  lock: "🔒",
  mag: "🔍",
  mag_right: "🔎",
  memo: "📝",
  no_entry: "⛔",
  no_entry_sign: "🚫",
  octagonal_sign: "🛑",
  point_right: "👉",
  point_up: "☝️",
  question: "❓",
  raised_hand: "✋",
  rotating_light: "🚨",
  scroll: "📜",
  shrug: "🤷",
  speech_balloon: "💬",
  tada: "🎉",
  thumbsup: "👍",
  unlock: "🔓",
  warning: "⚠️",
  wave: "👋",
  white_check_mark: "✅",
  x: "❌",
};

/** Alternative short names. */
const ALIASES = {
  "+1": "thumbsup",
  hand: "raised_hand",
  stop_sign: "octagonal_sign",
  mantelpiece_clock: "alarm_clock",
};

/** Those with an image in emoji.svg. */
const DRAWN = new Set([
  "alarm_clock",
  "arrows_counterclockwise",
  "ballot_box_with_check",
  "bell",
  "boom",
  "broken_heart",
  "bust_in_silhouette",
  "clock3",
  "eyes",
  "fast_forward",
  "floppy_disk",
  "hourglass",
  "hourglass_flowing_sand",
  "information_source",
  "key",
  "leftwards_arrow_with_hook",
  "link",
  "lock",
  "mag",
  "mag_right",
  "memo",
  "no_entry",
  "no_entry_sign",
  "octagonal_sign",
  "point_up",
  "question",
  "raised_hand",
  "rotating_light",
  "scroll",
  "shrug",
  "speech_balloon",
  "unlock",
  "warning",
  "white_check_mark",
  "x",
]);

const bare = (character) => character.replace(/\uFE0F/g, "");
const NAME_OF = new Map([...DRAWN].map((name) => [bare(EMOJI[name]), name]));
const PIECES = new RegExp(
  `(${[...NAME_OF.keys()].join("|")})\\uFE0F?|:([a-z0-9_+-]+):(?::skin-tone-[2-6]:)?`,
  "gu",
);

function drawn(name) {
  const character = EMOJI[name];
  const label = name.replaceAll("_", " ");
  if (!DRAWN.has(name))
    return element("span", { className: "emoji-character", title: label, textContent: character });
  return element(
    "span",
    { className: "emoji", title: label },
    picture("emoji", name, "emoji-picture"),
    element("span", { className: "emoji-text", textContent: character }),
  );
}

/** The emoji with this short name; null if unknown. */
export function emojiNamed(name) {
  const known = ALIASES[name] ?? name;
  return Object.hasOwn(EMOJI, known) ? drawn(known) : null;
}

/** Plain text as nodes, with emoji as images. With `shortNames` false, `:x:` stays as typed. */
export function withEmoji(text, shortNames = true) {
  const nodes = [];
  let end = 0;
  for (const match of text.matchAll(PIECES)) {
    const [whole, character, shortName] = match;
    const node = character ? drawn(NAME_OF.get(character)) : shortNames ? emojiNamed(shortName) : null;
    if (!node) continue;
    if (match.index > end) nodes.push(text.slice(end, match.index));
    nodes.push(node);
    end = match.index + whole.length;
  }
  if (end < text.length) nodes.push(text.slice(end));
  return nodes;
}

/** Text with short names replaced by characters, for screen readers. */
export function spokenEmoji(text) {
  return text.replace(/:([a-z0-9_+-]+):/g, (whole, name) => EMOJI[ALIASES[name] ?? name] ?? whole);
}
