// The message box: grows with its text, completes /unlatch, sends on Enter.

import { completions } from "./completions.js";
import { element } from "./elements.js";

export class Composer {
  #text = document.getElementById("composer-text");
  #list = document.getElementById("completions");
  #send = document.getElementById("send");
  #submit;
  #customers;
  #options = [];
  #chosen = -1;

  /** `submit(text)` resolves to whether the line was accepted; `customers()` returns those to offer. */
  constructor({ submit, customers }) {
    this.#submit = submit;
    this.#customers = customers;
    this.#text.addEventListener("input", () => this.#typed());
    this.#text.addEventListener("keydown", (event) => this.#pressed(event));
    this.#text.addEventListener("blur", () => this.#close());
    document.getElementById("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submitText();
    });
    document.getElementById("slash").addEventListener("click", () => this.put(this.#text.value.trim() ? this.#text.value : "/"));
    this.#grow();
  }

  /** Names the channel in the placeholder and the label. */
  setChannel(name) {
    this.#text.placeholder = `Message #${name} or type /unlatch`;
    this.#text.setAttribute("aria-label", `Message to #${name}`);
  }

  /** Replaces the text in the box; the cursor goes to its end. */
  put(text) {
    this.#text.value = text;
    this.#text.focus();
    this.#text.setSelectionRange(text.length, text.length);
    this.#typed();
  }

  #typed() {
    this.#grow();
    const { options, chosen } = completions(this.#text.value, this.#customers());
    this.#options = options;
    this.#chosen = options.length ? chosen : -1;
    this.#draw();
  }

  #grow() {
    this.#text.style.height = "auto";
    this.#text.style.height = `${this.#text.scrollHeight}px`;
    this.#send.classList.toggle("ready", this.#text.value.trim() !== "");
  }

  #pressed(event) {
    if (event.isComposing) return;
    if (this.#options.length && this.#pressedInList(event)) {
      event.preventDefault();
      return;
    }
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this.#submitText();
    }
  }

  /** Handles a key for the list of completions; false if the key has no meaning there. */
  #pressedInList(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      const from = this.#chosen < 0 && step < 0 ? 0 : this.#chosen;
      this.#chosen = (from + step + this.#options.length) % this.#options.length;
      this.#draw();
      return true;
    }
    if (event.key === "Escape") {
      this.#close();
      return true;
    }
    if (event.key === "Tab" && !event.shiftKey) {
      this.#accept(Math.max(this.#chosen, 0));
      return true;
    }
    const option = this.#options[this.#chosen];
    // A complete line is sent: Enter does not accept an option that would only add a space.
    if (
      event.key === "Enter" &&
      !event.shiftKey &&
      option &&
      option.insert.trim() !== this.#text.value.trim()
    ) {
      this.#accept(this.#chosen);
      return true;
    }
    return false;
  }

  #accept(index) {
    this.put(this.#options[index].insert);
  }

  #close() {
    this.#options = [];
    this.#chosen = -1;
    this.#draw();
  }

  #draw() {
    const open = this.#options.length > 0;
    this.#list.replaceChildren(...this.#options.map((option, index) => this.#option(option, index)));
    this.#list.hidden = !open;
    this.#text.setAttribute("aria-expanded", String(open));
    if (this.#chosen < 0) this.#text.removeAttribute("aria-activedescendant");
    else this.#text.setAttribute("aria-activedescendant", `completion-${this.#chosen}`);
    this.#list.children[this.#chosen]?.scrollIntoView({ block: "nearest" });
  }

  #option(option, index) {
    const node = element(
      "li",
      {
        id: `completion-${index}`,
        className: "completion",
        role: "option",
        dataset: { testid: "completion" },
        aria: { selected: String(index === this.#chosen) },
      },
      element("span", { className: "completion-title", textContent: option.title }),
      element("span", { className: "completion-about", textContent: option.about }),
    );
    // `pointerdown`, as a click would first take the focus and so close the list.
    node.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      this.#accept(index);
    });
    return node;
  }

  async #submitText() {
    const text = this.#text.value.trim();
    if (!text) return;
    this.#text.value = "";
    this.#typed();
    this.#send.classList.add("sending");
    const accepted = await this.#submit(text);
    this.#send.classList.remove("sending");
    if (!accepted && this.#text.value === "") this.put(text);
  }
}
