// The thread pane and, on a phone, the sandbox's menu: what opens, what closes, where focus goes.

const byId = (id) => document.getElementById(id);
const app = byId("app");

/** The menu matters on phones alone: elsewhere the sidebar is always there. */
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

  /** `changed()` draws the page anew. */
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

  /** Focus goes back to the bar that opened the thread. */
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

/** Escape closes what is open, the topmost first. */
export function closeOnEscape(menu, thread) {
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.defaultPrevented || byId("confirm").open) return;
    if (byId("composer").contains(event.target)) return; // who writes goes on writing
    if (menu.isOpen) menu.toggle(false);
    else if (thread.ts !== null) thread.close();
  });
}
