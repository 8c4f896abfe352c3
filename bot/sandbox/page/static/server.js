// Client of the page's API: receives the state as server-sent events, posts what people do.

const RETRY_MS = 1500;

/**
 * Receives the sandbox's state while the tab is visible. Browsers allow only six connections per host
 * for all tabs together, so one visible tab connects and passes everything on to the others. If it
 * closes or is hidden, the next one connects; a hidden tab gets the whole state on its return.
 * `onState` is called with each state, `onConnection` with whether the page is connected.
 */
export function receive(onState, onConnection) {
  const tabs = new BroadcastChannel("sandbox-state");
  let latest = {};
  let waiting = null;
  let hangUp = null;

  function show({ state, connected }) {
    if (connected !== undefined) onConnection(connected);
    if (state) onState(state);
  }

  function pass(news) {
    latest = { ...latest, ...news };
    show(news);
    tabs.postMessage(news);
  }

  /** Connects; resolves when this tab is hidden. The browser ends it when the tab is closed. */
  function lead() {
    return new Promise((resolve) => {
      let events = null;
      let retry = null;
      function connect() {
        events = new EventSource("/page/events");
        events.addEventListener("open", () => pass({ connected: true }));
        events.addEventListener("message", (event) => pass({ state: JSON.parse(event.data) }));
        events.addEventListener("error", () => {
          pass({ connected: false });
          // The browser reconnects after a lost connection, but not after an HTTP error.
          if (events.readyState === EventSource.CLOSED) retry = setTimeout(connect, RETRY_MS);
        });
      }
      hangUp = () => {
        clearTimeout(retry);
        events.close();
        hangUp = null;
        resolve();
      };
      connect();
    });
  }

  function follow() {
    if (document.hidden) {
      waiting?.abort();
      waiting = null;
      hangUp?.();
    } else if (waiting === null) {
      waiting = new AbortController();
      navigator.locks.request("sandbox-state", { signal: waiting.signal }, lead).catch(() => {});
      tabs.postMessage("hello");
    }
  }

  tabs.addEventListener("message", ({ data }) => {
    if (data === "hello") {
      if (hangUp) tabs.postMessage(latest);
    } else if (!document.hidden) show(data);
  });
  document.addEventListener("visibilitychange", follow);
  follow();
}

/** Posts to the page's API. Resolves to an error text, or to null on success. */
export async function post(path, body) {
  let response;
  try {
    response = await fetch(`/page/${path}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
  } catch {
    return "The sandbox does not answer. Is it still running?";
  }
  const answer = await response.json().catch(() => null);
  if (response.ok && answer?.ok !== false) return null;
  return answer?.error ? String(answer.error) : `The sandbox answered with HTTP ${response.status}.`;
}
