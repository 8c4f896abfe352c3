// The sandbox's page: receives the whole state at every change and redraws what differs.

import { Announcer } from "./announcer.js";
import { Composer } from "./composer.js";
import { element, icon, setText } from "./elements.js";
import { KeyedList } from "./keyed.js";
import { items } from "./messages.js";
import { Modal } from "./modal.js";
import { Menu, ThreadPane, closeOnEscape } from "./panes.js";
import { firstViewer, members, peopleBar } from "./people.js";
import { Scrolling } from "./scrolling.js";
import { post, receive } from "./server.js";
import { Sidebar } from "./sidebar.js";

const byId = (id) => document.getElementById(id);

let state = null;
let viewer = null;
let usersDrawn = "";

const lists = {
  channel: new KeyedList(byId("messages")),
  root: new KeyedList(byId("thread-root")),
  replies: new KeyedList(byId("thread-replies")),
};
const scrolling = {
  channel: new Scrolling(byId("scroller"), byId("newer")),
  thread: new Scrolling(byId("thread-scroller")),
};
const covering = matchMedia("(max-width: 1099px)");
const announcer = new Announcer(byId("announcements"));
const menu = new Menu();
const thread = new ThreadPane(() => draw());
closeOnEscape(menu, thread);

/** Closes the thread if it covers the channel. */
function showChannel() {
  if (covering.matches && thread.ts !== null) thread.close();
}

byId("channel-link").addEventListener("click", showChannel);
// The link then moves the focus to the message box, which must be visible for that.
byId("skip").addEventListener("click", showChannel);

function showProblem(text) {
  byId("problem").hidden = text === null;
  setText(byId("problem"), text ?? "");
}

async function click(message, action) {
  const where = message.ephemeral ? { ephemeral_id: message.id } : { message_ts: message.ts };
  showProblem(await post("click", { user_id: viewer, ...where, ...action }));
}

const modal = new Modal({ post: (body) => post("view", body) });

const composer = new Composer({
  customers: () => state?.extra?.customers ?? [],
  submit: async (text) => {
    scrolling.channel.toEnd();
    const error = await post("command", { user_id: viewer, text });
    showProblem(error);
    return error === null;
  },
});

const sidebar = new Sidebar({
  problem: showProblem,
  say: (text) => announcer.say(text),
  use: (customers) => {
    menu.toggle(false, false);
    showChannel();
    composer.put(`/unlatch ${customers.map((customer) => customer.id).join(", ")} `);
  },
});

const isReply = (message) => Boolean(message.thread_ts) && message.thread_ts !== message.ts;
const byTime = (one, other) => one.at - other.at;

/** Everything that the viewer may see, oldest first. */
function visible() {
  const ephemerals = (state.ephemerals ?? [])
    .filter((ephemeral) => ephemeral.user_id === viewer)
    .map((ephemeral) => ({ ...ephemeral, ephemeral: true, seen_by: ephemeral.user_id, user_id: state.bot.id }));
  return [...state.messages, ...ephemerals].sort(byTime);
}

function drawUsers() {
  const signature = JSON.stringify([state.users, state.team, state.channel]);
  if (signature === usersDrawn) return;
  usersDrawn = signature;
  viewer ??= firstViewer(state.users);
  peopleBar(byId("people"), state.users, viewer, (id) => {
    viewer = id;
    showProblem(null);
    draw();
  });
  members(byId("members"), state.users);
  setText(byId("team"), state.team);
  for (const id of ["channel-name", "channel-link"])
    byId(id).replaceChildren(icon("hash"), element("span", { textContent: state.channel.name }));
  setText(byId("thread-channel"), `#${state.channel.name}`);
  byId("beginning").replaceChildren(
    element("h2", {}, icon("hash"), state.channel.name),
    element("p", {
      textContent:
        "This is the very beginning of the channel. Type /unlatch to try the bot. The bar at the top makes you somebody else.",
    }),
  );
  composer.setChannel(state.channel.name);
  document.title = `${state.channel.name} (Channel) - ${state.team} - unlatch-bot`;
}

function drawThread(all, view) {
  if (thread.ts === null) return;
  // Where the thread covers the channel, it also shows the ephemerals that came since it was opened.
  const shownHereToo = (message) =>
    message.ephemeral && !message.thread_ts && covering.matches && message.at >= thread.openedAt;
  const replies = all.filter(
    (message) => (isReply(message) && message.thread_ts === thread.ts) || shownHereToo(message),
  );
  lists.root.show(
    items(
      all.filter((message) => message.ts === thread.ts),
      view,
    ),
  );
  lists.replies.show(items(replies, view));
  const count = replies.filter((message) => !message.ephemeral).length;
  setText(byId("reply-count"), count === 1 ? "1 reply" : `${count} replies`);
}

function draw() {
  if (!state) return;
  drawUsers();
  const all = visible();
  const view = {
    users: new Map(state.users.map((user) => [user.id, user])),
    viewer,
    channel: state.channel,
    click,
    redraw: draw,
    openThread: (ts) => thread.open(ts),
  };
  const fresh = announcer.follow(all, view);
  const repliesTo = (ts) =>
    all.filter((message) => !message.ephemeral && isReply(message) && message.thread_ts === ts);
  const topLevel = all.filter((message) => !isReply(message));
  scrolling.channel.around(
    () => lists.channel.show(items(topLevel, view, { repliesTo, days: true })),
    fresh.some((message) => !isReply(message)),
  );
  scrolling.thread.around(() => drawThread(all, view));
  sidebar.show(state);
  modal.show((state.views ?? []).filter((each) => each.user_id === viewer).at(-1) ?? null, view);
}

/** The `ts` of the message that a permalink into this channel names; null for any other address. */
function permalinked(address) {
  const [, channelId, seconds, fraction] = /\/archives\/(\w+)\/p(\d+)(\d{6})(?:\?|$)/.exec(address) ?? [];
  return state && channelId === state.channel.id ? `${seconds}.${fraction}` : null;
}

/** Scrolls to a message and focuses it. */
function showMessage(ts) {
  const message = state.messages.find((each) => each.ts === ts);
  showProblem(message ? null : "That message is no longer there.");
  if (!message) return;
  if (isReply(message)) thread.open(message.thread_ts);
  else showChannel();
  const node = byId(isReply(message) ? "thread" : "messages").querySelector(`[data-ts="${ts}"]`);
  node.scrollIntoView({ block: "center" });
  node.focus({ preventScroll: true });
}

/** Shows a message in another tab of this page: its own address leads out of the sandbox. */
function showInNewTab(ts) {
  const address = new URL(location.href);
  address.searchParams.set("as", viewer);
  address.hash = `/archives/${state.channel.id}/p${ts.replace(".", "")}`;
  window.open(address, "_blank", "noopener");
}

function followPermalink(event) {
  const ts = permalinked(event.target.closest("a")?.href ?? "");
  const right = event.button === 2;
  if (ts === null || right) return;
  event.preventDefault();
  const newTab = event.button === 1 || event.ctrlKey || event.metaKey || event.shiftKey;
  if (newTab) showInNewTab(ts);
  else showMessage(ts);
}

document.addEventListener("click", followPermalink);
document.addEventListener("auxclick", followPermalink);

/** Shows the message that the page's address names, once. */
function followAddress() {
  const ts = permalinked(location.hash);
  if (ts === null) return;
  history.replaceState(null, "", location.pathname + location.search);
  showMessage(ts);
}

receive(
  (received) => {
    state = received;
    // After a restart of the sandbox, the open thread no longer exists.
    const known = state.messages.some((message) => message.ts === thread.ts);
    if (thread.ts !== null && !known) thread.close();
    draw();
    followAddress();
  },
  (connected) => {
    const lost = !byId("connection").hidden;
    if (connected && lost) showProblem(null);
    byId("connection").hidden = connected;
    document.documentElement.dataset.connected = String(connected);
  },
);
