// Opens and closes the thread pane and, on a phone, the sandbox's menu; moves the focus.

const byId = (id) => document.getElementById(id);
const app = byId("app");

/** The menu exists only on phones; elsewhere the sidebar is always visible. */
export class Menu {
  constructor() {
    byId("menu-button").addEventListener("click", () => this.toggle(!this.isOpen));
    byId("menu-close").addEventListener("click", () => this.toggle(false));
    byId("channel-link").addEventListener("click", () => this.toggle(false));
  }

  get isOpen() {
    return app.classList.contains("menu-open");
  }

  toggle(open, focus = true) {
    if (open === this.isOpen) return;
    app.classList.toggle("menu-open", open);
    byId("menu-button").setAttribute("aria-expanded", String(open));
    if (focus) byId(open ? "menu-close" : "menu-button").focus();
  }
}

export class ThreadPane {
  #changed;
  ts = null;
  openedAt = 0;

  /** `changed()` redraws the page. */
  constructor(changed) {
    this.#changed = changed;
    byId("thread-close").addEventListener("click", () => this.close());
  }

  open(ts) {
    this.ts = ts;
    this.openedAt = Date.now() / 1000;
    byId("thread").hidden = false;
    app.classList.add("thread-open");
    this.#changed();
    byId("thread-close").focus();
  }

  /** Closes the thread; the focus returns to the replies bar that opened it. */
  close() {
    const { ts } = this;
    this.ts = null;
    byId("thread").hidden = true;
    app.classList.remove("thread-open");
    this.#changed();
    const message = byId("messages").querySelector(`[data-ts="${CSS.escape(ts)}"]`);
    (message?.querySelector("[data-testid=replies]") ?? message ?? byId("composer-text")).focus();
  }
}

/** Makes Escape close the menu, or else the thread. */
export function closeOnEscape(menu, thread) {
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.defaultPrevented || document.querySelector("dialog[open]")) return;
    if (byId("composer").contains(event.target)) return; // not while somebody types a message
    if (menu.isOpen) menu.toggle(false);
    else if (thread.ts !== null) thread.close();
  });
}
