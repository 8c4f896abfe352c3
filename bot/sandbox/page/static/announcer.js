// Announces new and changed messages to screen readers (in a polite live region).

import { element } from "./elements.js";
import { spoken } from "./mrkdwn.js";
import { keyOf } from "./messages.js";

const MAX_LINES = 5;

export class Announcer {
  #region;
  #known = null;
  #viewer = null;

  constructor(region) {
    this.#region = region;
  }

  say(text) {
    this.#region.append(element("p", { textContent: text }));
    while (this.#region.childElementCount > MAX_LINES) this.#region.firstElementChild.remove();
  }

  /** Announces what has changed since the last call; returns the new messages. */
  follow(messages, view) {
    const before = this.#viewer === view.viewer ? this.#known : null;
    this.#known = new Map(messages.map((message) => [keyOf(message), message.text]));
    this.#viewer = view.viewer;
    // When the page opens or the viewer changes, nothing is announced: all messages would be new.
    if (!before) return [];
    const fresh = messages.filter((message) => !before.has(keyOf(message)));
    const changed = messages.filter(
      (message) => before.has(keyOf(message)) && before.get(keyOf(message)) !== message.text,
    );
    for (const message of fresh)
      this.say(
        this.#sentence(
          message,
          view,
          message.ephemeral
            ? "only visible to you"
            : message.thread_ts && message.thread_ts !== message.ts
              ? "in a thread"
              : "",
        ),
      );
    for (const message of changed) this.say(this.#sentence(message, view, "changed"));
    return fresh;
  }

  #sentence(message, view, how) {
    const name = view.users.get(message.user_id)?.name ?? message.user_id;
    return `${name}${how ? `, ${how}` : ""}: ${spoken(message.text ?? "", view)}`;
  }
}
