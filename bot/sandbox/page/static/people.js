// Avatars, guest marks, and the bar that selects who the tab is.

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

/** A person's initials on their colour, or the bot's picture. Decorative: the name is beside it. */
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

/** Marks a person from another organisation, as Slack Connect does; null for anybody else. */
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

/** The id of the initial viewer: the one in the address (`?as=`), or else the first person. */
export function firstViewer(users) {
  const wanted = new URLSearchParams(location.search).get("as");
  return (people(users).find((user) => user.id === wanted) ?? people(users)[0])?.id;
}

/** Puts the viewer into the address, for reloads and copies of the tab. */
function remember(id) {
  history.replaceState(null, "", `?as=${encodeURIComponent(id)}`);
}

/** Draws the bar for these users; `onChange` is called with the id of the new viewer. */
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

/** The overlapping avatars in the channel's header, with the number of members. */
export function members(container, users) {
  const count = element("span", { className: "member-count", textContent: String(users.length) });
  container.replaceChildren(...users.slice(0, 4).map((user) => avatar(user, "avatar stacked")), count);
  container.setAttribute("role", "img");
  container.setAttribute(
    "aria-label",
    `${users.length} members: ${users.map((user) => user.name).join(", ")}`,
  );
}
