// A modal (Slack calls it a view): title, blocks, inputs with their errors, submit and close.
// https://docs.slack.dev/surfaces/modals

import { blocks, textObject } from "./blocks.js";
import { element, icon, setText } from "./elements.js";

const byId = (id) => document.getElementById(id);
const DEFAULT_CLOSE = { type: "plain_text", text: "Cancel" };

const inputId = (block) => `modal-input-${block.block_id}`;

const common = (block) => ({
  id: inputId(block),
  name: block.block_id,
  required: !block.optional,
  dataset: { testid: `input-${block.block_id}` },
});

/** A text field; Slack counts down once few characters are left, and marks optional fields. */
function field(block, value) {
  const part = block.element;
  return element(part.multiline ? "textarea" : "input", {
    ...common(block),
    className: "modal-input",
    value: value ?? "",
    placeholder: part.placeholder?.text ?? "",
    autocomplete: "off",
    ...(part.multiline ? { rows: 4 } : { type: "text" }),
    ...(part.max_length ? { maxLength: part.max_length } : {}),
  });
}

/** A menu of one choice, at first none. */
function menu(block, value) {
  const { options, placeholder } = block.element;
  const none = element("option", { value: "", textContent: placeholder?.text ?? "" });
  const choices = options.map((option) =>
    element("option", { value: option.value, textContent: option.text.text }),
  );
  const select = element("select", { ...common(block), className: "modal-input modal-menu" }, none, ...choices);
  select.value = value ?? "";
  return select;
}

function countdown(input) {
  const left = element("span", { className: "modal-left", aria: { hidden: "true" } });
  const count = () => {
    left.textContent = input.maxLength > 0 ? String(input.maxLength - input.value.length) : "";
  };
  input.addEventListener("input", count);
  count();
  return left;
}

function inputBlock(block, value, context) {
  const isMenu = block.element.type === "static_select";
  const input = isMenu ? menu(block, value) : field(block, value);
  const optional = block.optional
    ? element("span", { className: "modal-optional", textContent: " (optional)" })
    : null;
  const hint = block.hint
    ? element("p", { className: "modal-hint", id: `${input.id}-hint` }, textObject(block.hint, context))
    : null;
  return element(
    "div",
    { className: "modal-field", dataset: { blockId: block.block_id } },
    element("label", { htmlFor: input.id }, textObject(block.label, context), optional),
    element("div", { className: "modal-input-box" }, input, isMenu ? null : countdown(input)),
    element("p", { className: "modal-error", id: `${input.id}-error`, dataset: { testid: "modal-error" } }),
    hint,
  );
}

function content(shown, context) {
  return shown.view.blocks.map((block) => {
    if (block.type !== "input") return blocks([block], context)[0];
    return inputBlock(block, Object.values(shown.values?.[block.block_id] ?? {})[0], context);
  });
}

export class Modal {
  #dialog = byId("modal");
  #post;
  #shown = null;
  #drawn = "";
  #opener = null;
  #busy = false;

  /** `post(body)` sends or closes the modal; resolves to an error text, or to null. */
  constructor({ post }) {
    this.#post = post;
    this.#dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      this.#close();
    });
    this.#dialog.addEventListener("click", (event) => {
      if (event.target === this.#dialog) this.#close();
    });
    for (const id of ["modal-dismiss", "modal-close"]) byId(id).addEventListener("click", () => this.#close());
    byId("modal-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    byId("modal-form").addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || !(event.metaKey || event.ctrlKey)) return;
      event.preventDefault();
      this.#submit();
    });
  }

  /** Shows this modal of the viewer, or none (null); what is being typed is kept. */
  show(shown, context) {
    this.#shown = shown;
    if (!shown) {
      this.#hide();
      return;
    }
    const drawn = JSON.stringify([shown.id, shown.user_id, shown.view]);
    const same = drawn === this.#drawn;
    if (!same) this.#draw(shown, { ...context, container: `view ${shown.id}`, click: async () => {} });
    this.#drawn = drawn;
    this.#drawErrors(shown);
    if (!this.#dialog.open) {
      this.#opener = document.activeElement;
      this.#dialog.showModal();
    }
    if (!same) (this.#dialog.querySelector(".modal-input") ?? byId("modal-title")).focus();
  }

  #draw(shown, context) {
    const { title, submit, close } = shown.view;
    byId("modal-title").replaceChildren(...textObject(title, context));
    byId("modal-body").replaceChildren(...content(shown, context));
    byId("modal-close").replaceChildren(...textObject(close ?? DEFAULT_CLOSE, context));
    byId("modal-submit").hidden = !submit;
    if (submit) byId("modal-submit").replaceChildren(...textObject(submit, context));
  }

  #drawErrors(shown) {
    let first = null;
    for (const input of this.#inputs()) {
      const text = shown.errors?.[input.name] ?? "";
      const error = byId(`${input.id}-error`);
      const changed = error.textContent !== text;
      if (changed) error.replaceChildren(...(text ? [icon("warning"), text] : []));
      if (text) input.setAttribute("aria-invalid", "true");
      else input.removeAttribute("aria-invalid");
      const about = [text && error.id, byId(`${input.id}-hint`)?.id].filter(Boolean).join(" ");
      if (about) input.setAttribute("aria-describedby", about);
      else input.removeAttribute("aria-describedby");
      if (changed && text) first ??= input;
    }
    setText(byId("modal-problem"), shown.problem ?? "");
    first?.focus();
    // Below a large field, the error may be out of sight.
    if (first) byId(`${first.id}-error`).scrollIntoView({ block: "nearest" });
  }

  #inputs() {
    return [...this.#dialog.querySelectorAll(".modal-input")];
  }

  async #submit() {
    if (this.#busy || !this.#shown?.view.submit) return;
    this.#setBusy(true);
    const values = Object.fromEntries(this.#inputs().map((input) => [input.name, input.value]));
    const error = await this.#post({ view_id: this.#shown.id, values });
    this.#setBusy(false);
    if (error) setText(byId("modal-problem"), error);
  }

  #setBusy(busy) {
    this.#busy = busy;
    const button = byId("modal-submit");
    if (busy) button.append(element("span", { className: "spinner", aria: { hidden: "true" } }));
    else button.querySelector(".spinner")?.remove();
    button.setAttribute("aria-disabled", String(busy));
  }

  async #close() {
    if (!this.#shown) return;
    const error = await this.#post({ view_id: this.#shown.id });
    if (error) setText(byId("modal-problem"), error);
  }

  /** Closes the dialog; the focus returns to where it was. */
  #hide() {
    if (!this.#dialog.open) return;
    this.#drawn = "";
    this.#dialog.close();
    const opener = this.#opener?.isConnected ? this.#opener : byId("composer-text");
    opener.focus({ preventScroll: true });
    this.#opener = null;
  }
}
