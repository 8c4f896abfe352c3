// The sandbox's controls: the customers in the simulated Fusebill, and the switches for faults.

import { element, setText } from "./elements.js";
import { KeyedList } from "./keyed.js";
import { post } from "./server.js";

const DOWN_S = 15;
const byId = (id) => document.getElementById(id);
const isSet = (id) => id !== null && id !== undefined && id !== "";

function badges(customer) {
  const latched = [
    ["contact", customer.hubSpotId],
    ["company", customer.hubSpotCompanyId],
  ].filter(([, id]) => isSet(id));
  if (!latched.length)
    return [
      element("span", {
        className: "badge free",
        dataset: { testid: "latched" },
        textContent: "not latched",
      }),
    ];
  return latched.map(([what, id]) =>
    element(
      "span",
      { className: "badge", dataset: { testid: "latched" } },
      `${what} `,
      element("b", { textContent: String(id) }),
    ),
  );
}

function contents(customer, use) {
  const button = element("button", {
    type: "button",
    className: "use",
    textContent: "Use",
    title: `Type /unlatch ${customer.id}`,
    aria: { label: `Use ${customer.id}, ${customer.name}` },
    dataset: { focusKey: "use", testid: "use" },
  });
  button.addEventListener("click", () => use([customer]));
  return [
    element(
      "div",
      { className: "customer-about" },
      element("bdi", {
        className: "customer-name",
        textContent: String(customer.name ?? ""),
        title: customer.reference ? `Reference ${customer.reference}` : "",
      }),
      element(
        "div",
        { className: "customer-ids" },
        element("span", { className: "customer-id", textContent: String(customer.id) }),
        badges(customer),
      ),
    ),
    button,
  ];
}

export class Sidebar {
  #customers = new KeyedList(byId("customers"));
  #latched = new Map();
  #latchedNow = [];
  #faults = "";
  #downUntil = null;
  #callbacks;

  /** Callbacks: `use(customers)`, `problem(text or null)`, `say(text)` (to screen readers). */
  constructor(callbacks) {
    this.#callbacks = callbacks;
    byId("use-latched").addEventListener("click", () => callbacks.use(this.#latchedNow));
    byId("fault").addEventListener("change", (event) =>
      this.#do("do/fault", { kind: event.target.value || null }),
    );
    byId("two-person").addEventListener("change", async ({ target }) => {
      // the bot starts anew, and takes no command meanwhile
      target.disabled = true;
      await this.#do("do/two-person", { on: target.checked });
      target.disabled = false;
    });
    byId("reset").addEventListener("click", () => this.#do("do/reset", {}));
    byId("slack-down").addEventListener("click", () =>
      this.#do("slack", { down_s: this.#downUntil === null ? DOWN_S : 0 }),
    );
    setInterval(() => this.#countDown(), 250);
  }

  async #do(path, body) {
    this.#callbacks.problem(await post(path, body));
  }

  show(state) {
    const extra = state.extra ?? {};
    this.#showCustomers(extra.customers);
    this.#showFaults(extra.faults, extra.fault);
    byId("reset").hidden = !extra.customers;
    byId("rules").hidden = extra.two_person === undefined;
    if (!byId("two-person").disabled) byId("two-person").checked = Boolean(extra.two_person);
    this.#showSlack(state.slack_down ? state.slack_down_until : null);
  }

  #showCustomers(customers) {
    byId("customers-section").hidden = !customers;
    const list = customers ?? [];
    this.#latchedNow = list.filter((customer) => isSet(customer.hubSpotId) || isSet(customer.hubSpotCompanyId));
    const many = this.#latchedNow.length >= 2;
    byId("use-latched").disabled = !many;
    setText(byId("use-latched"), many ? `Use all ${this.#latchedNow.length} latched` : "Use all latched");
    this.#customers.show(
      list.map((customer) => ({
        key: String(customer.id),
        signature: JSON.stringify(customer),
        create: () =>
          element("li", { className: "customer", dataset: { customerId: customer.id, testid: "customer" } }),
        decorate: (node) => this.#mark(node, customer),
        contents: () => contents(customer, this.#callbacks.use),
      })),
    );
  }

  /** Highlights a customer for a moment when its ids have changed. */
  #mark(node, customer) {
    const now = JSON.stringify([customer.hubSpotId, customer.hubSpotCompanyId]);
    const before = this.#latched.get(customer.id);
    this.#latched.set(customer.id, now);
    if (before === undefined || before === now) return;
    node.classList.add("changed");
    setTimeout(() => node.classList.remove("changed"), 2500);
  }

  #showFaults(faults, fault) {
    byId("fault-row").hidden = !faults;
    const select = byId("fault");
    const signature = JSON.stringify(faults ?? []);
    if (signature !== this.#faults) {
      this.#faults = signature;
      const usual = element("option", { value: "", textContent: "Works as usual" });
      select.replaceChildren(
        usual,
        ...(faults ?? []).map(({ kind, label }) => element("option", { value: kind, textContent: label })),
      );
    }
    if (select.value !== (fault ?? "")) select.value = fault ?? "";
    select.classList.toggle("set", Boolean(fault));
  }

  /** `until`: epoch seconds at which Slack comes back, or null while it is up. */
  #showSlack(until) {
    if (until === this.#downUntil) return;
    const down = until !== null;
    this.#downUntil = until;
    byId("slack-banner").hidden = !down;
    byId("slack-down").classList.toggle("set", down);
    setText(byId("slack-down"), down ? "Bring back now" : `Take down for ${DOWN_S} s`);
    this.#callbacks.say(down ? `Slack is down for ${this.#secondsLeft()} seconds.` : "Slack is back.");
    this.#countDown();
  }

  #secondsLeft() {
    return Math.ceil(this.#downUntil - Date.now() / 1000);
  }

  #countDown() {
    if (this.#downUntil === null) return;
    const left = this.#secondsLeft();
    setText(
      byId("slack-banner"),
      left > 0
        ? `Slack is down: the bot gets no answer from it for another ${left} s.`
        : "Slack is down: it should be back any moment.",
    );
  }
}
