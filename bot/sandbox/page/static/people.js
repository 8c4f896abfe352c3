// Who is who: avatars, names, and the bar to be somebody else.

import { element, icon } from "./elements.js";

export function initials(name) {
  return name
    .split(/\s+/)
    .filter(Boolean)
    .slice(0, 2)
    .map((word) => [...word][0])
    .join("")
    .toUpperCase();
}

/** A picture of a person (initials on their colour) or of the bot. Decorative: the name stands beside it. */
export function avatar(user, className = "avatar") {
  if (user?.bot) return element("img", { className, src: "/page/bot.svg", alt: "" });
  const node = element("span", {
    className,
    aria: { hidden: "true" },
    textContent: initials(user?.name ?? "?"),
  });
  if (user?.color)
    node.style.backgroundColor = /^[0-9a-f]{6}$/i.test(user.color) ? `#${user.color}` : user.color;
  return node;
}

/** The mark of somebody from another organisation, as Slack Connect shows it. */
export function guestMark(user) {
  if (!user?.guest) return null;
  return element(
    "span",
    { className: "guest", title: `From another organisation: ${user.team}` },
    icon("shared"),
    element("span", { className: "guest-team", textContent: user.team }),
  );
}

const people = (users) => users.filter((user) => !user.bot);

/** Who this tab is at first: whom its address names (`?as=`), or else the first person. */
export function firstViewer(users) {
  const wanted = new URLSearchParams(location.search).get("as");
  return (people(users).find((user) => user.id === wanted) ?? people(users)[0])?.id;
}

/** The address keeps who the tab is, over a reload and for a copy of the tab. */
function remember(id) {
  history.replaceState(null, "", `?as=${encodeURIComponent(id)}`);
}

/** Draws the bar once for these users; `onChange` gets the id of whom the tab is now. */
export function peopleBar(container, users, viewer, onChange) {
  const choices = people(users).map((user) => {
    const radio = element("input", {
      type: "radio",
      name: "viewer",
      value: user.id,
      checked: user.id === viewer,
      dataset: { testid: `be-${user.id}` },
    });
    radio.addEventListener("change", () => {
      remember(user.id);
      onChange(user.id);
    });
    return element(
      "label",
      { className: "person" },
      radio,
      avatar(user, "avatar small"),
      element("span", { className: "person-name", textContent: user.name }),
      guestMark(user),
    );
  });
  container.replaceChildren(...choices);
}

/** The header's heap of avatars with their number. */
export function members(container, users) {
  const count = element("span", { className: "member-count", textContent: String(users.length) });
  container.replaceChildren(...users.slice(0, 4).map((user) => avatar(user, "avatar stacked")), count);
  container.setAttribute("role", "img");
  container.setAttribute(
    "aria-label",
    `${users.length} members: ${users.map((user) => user.name).join(", ")}`,
  );
}
