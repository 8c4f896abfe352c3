// Completions for the message box: the forms of /unlatch, and customer ids.

const COMMAND = "/unlatch";
const MAX_CUSTOMERS = 5;

const FORMS = [
  { usage: "<Stax Bill ID> [reason]", keyword: "", about: "Unlatch a customer from HubSpot" },
  { usage: "many", keyword: "many", about: "Paste many ids, or rows of a file, into a form" },
  { usage: "move <Stax Bill ID> to contact <id> company <id>", keyword: "move", about: "Latch a customer to other HubSpot ids" },
  { usage: "find <text>", keyword: "find", about: "Search ids, names, references and emails; any other words do, too" },
  { usage: "history [Stax Bill ID]", keyword: "history", about: "Recent requests and their outcomes" },
  { usage: "pending", keyword: "pending", about: "Cards that wait, and work under way" },
  { usage: "help", keyword: "help", about: "All commands" },
];

function formOption({ usage, keyword, about }) {
  const takesArguments = usage !== keyword;
  return {
    insert: [COMMAND, keyword].filter(Boolean).join(" ") + (takesArguments ? " " : ""),
    title: `${COMMAND} ${usage}`,
    about,
  };
}

function customerOptions(customers, digits, before) {
  return customers
    .filter((customer) => String(customer.id).startsWith(digits))
    .slice(0, MAX_CUSTOMERS)
    .map((customer) => ({
      insert: `${before}${customer.id} `,
      title: `${before}${customer.id}`,
      about: String(customer.name ?? ""),
    }));
}

/**
 * The options for the typed text, each `{insert, title, about}`, and the index of the selected one:
 * the first while a command is being typed, -1 (none) where the typed id may already be complete.
 */
export function completions(text, customers) {
  if (text.startsWith("/") && COMMAND.startsWith(text.toLowerCase()))
    return { options: FORMS.map(formOption), chosen: 0 };
  const typed = /^\/unlatch +((?:(?:history|move) +)?)(\S*)$/i.exec(text);
  if (!typed) return { options: [], chosen: -1 };
  const [, word, rest] = typed;
  const before = word ? `${COMMAND} ${word.trim().toLowerCase()} ` : `${COMMAND} `;
  if (/^\d+$/.test(rest) || (word && rest === "")) {
    return {
      options: customerOptions(customers, rest, before).filter((option) => option.insert.trim() !== text.trim()),
      chosen: -1,
    };
  }
  if (word) return { options: [], chosen: -1 };
  const forms = FORMS.filter((form) => form.keyword && form.keyword.startsWith(rest.toLowerCase())).map(formOption);
  if (rest === "") return { options: [...customerOptions(customers, "", before), ...forms], chosen: -1 };
  return { options: forms.filter((option) => option.insert !== text), chosen: 0 };
}
