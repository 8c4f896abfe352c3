// What the composer offers after `/`: the command's forms, and customers by their ids.

const COMMAND = "/unlatch";
const CUSTOMERS_SHOWN = 5;

const FORMS = [
  { usage: "<customer id> [reason]", word: "", about: "Free a customer from HubSpot" },
  { usage: "find <text>", word: "find", about: "Look in names, references and emails" },
  { usage: "history [customer id]", word: "history", about: "What was asked lately, and what came of it" },
  { usage: "help", word: "help", about: "All there is to type" },
];

function ofForm({ usage, word, about }) {
  const takesMore = usage !== word;
  return {
    insert: [COMMAND, word].filter(Boolean).join(" ") + (takesMore ? " " : ""),
    title: `${COMMAND} ${usage}`,
    about,
  };
}

function ofCustomers(customers, digits, before) {
  return customers
    .filter((customer) => String(customer.id).startsWith(digits))
    .slice(0, CUSTOMERS_SHOWN)
    .map((customer) => ({
      insert: `${before}${customer.id} `,
      title: `${before}${customer.id}`,
      about: String(customer.name ?? ""),
    }));
}

/**
 * The options for what is typed, each `{insert, title, about}`, and which is chosen already:
 * the first while a command is being spelled, none where an id could be complete as it stands.
 */
export function completions(text, customers) {
  if (text.startsWith("/") && COMMAND.startsWith(text.toLowerCase()))
    return { options: FORMS.map(ofForm), chosen: 0 };
  const typed = /^\/unlatch +((?:history +)?)(\S*)$/i.exec(text);
  if (!typed) return { options: [], chosen: -1 };
  const [, history, rest] = typed;
  const before = history ? `${COMMAND} history ` : `${COMMAND} `;
  if (/^\d+$/.test(rest) || (history && rest === "")) {
    return {
      options: ofCustomers(customers, rest, before).filter((option) => option.insert.trim() !== text.trim()),
      chosen: -1,
    };
  }
  if (history) return { options: [], chosen: -1 };
  const forms = FORMS.filter((form) => form.word && form.word.startsWith(rest.toLowerCase())).map(ofForm);
  if (rest === "") return { options: [...ofCustomers(customers, "", before), ...forms], chosen: -1 };
  return { options: forms.filter((option) => option.insert !== text), chosen: 0 };
}
