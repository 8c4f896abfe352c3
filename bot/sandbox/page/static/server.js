// The page's API: the state comes as server-sent events, what people do goes back as POSTs.

const RETRY_MS = 1500;

/**
 * Keeps receiving the sandbox's state while the tab is in sight. A browser grants six connections to
 * all tabs of a host together, so a tab out of sight gives its own back; in sight again, it is sent the whole state.
 * `onState` gets each state; `onConnection` true or false when the connection comes or goes.
 */
export function receive(onState, onConnection) {
  let events = null;

  function connect() {
    const opened = new EventSource("/page/events");
    events = opened;
    opened.addEventListener("open", () => onConnection(true));
    opened.addEventListener("message", (event) => onState(JSON.parse(event.data)));
    opened.addEventListener("error", () => {
      onConnection(false);
      // The browser reconnects by itself after a lost connection, but never after an HTTP error.
      if (opened.readyState !== EventSource.CLOSED) return;
      events = null;
      setTimeout(follow, RETRY_MS);
    });
  }

  function follow() {
    if (document.hidden) {
      events?.close();
      events = null;
    } else if (events === null) connect();
  }

  document.addEventListener("visibilitychange", follow);
  follow();
}

/** Posts to the page's API. Returns what went wrong as a text, or null. */
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
