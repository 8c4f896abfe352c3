// The flow with Bolt for JavaScript and a ledger: SQLite in Node, durable, five transactions a flow.
import { hash, randomUUID } from 'node:crypto';
import { DatabaseSync } from 'node:sqlite';
import { app, card, fusebill, reply, result, start, typed } from './flow.mjs';

const database = new DatabaseSync(process.env.LEDGER);
database.exec(`
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = FULL;
  CREATE TABLE requests (
    id TEXT PRIMARY KEY, customer TEXT NOT NULL, channel TEXT NOT NULL, ts TEXT,
    state TEXT NOT NULL, head TEXT NOT NULL
  ) WITHOUT ROWID;
  CREATE TABLE events (
    id INTEGER PRIMARY KEY, request TEXT NOT NULL, at TEXT NOT NULL, type TEXT NOT NULL,
    actor TEXT, details TEXT NOT NULL, previous TEXT NOT NULL, hash TEXT NOT NULL
  );
`);
const insert = database.prepare('INSERT INTO requests VALUES (?, ?, ?, NULL, ?, ?)');
const read = database.prepare('SELECT * FROM requests WHERE id = ?');
const change = database.prepare('UPDATE requests SET state = ?, head = ?, ts = ? WHERE id = ?');
const append = database.prepare(
  'INSERT INTO events (request, at, type, actor, details, previous, hash) VALUES (?, ?, ?, ?, ?, ?, ?)',
);

function transaction(work) {
  database.exec('BEGIN IMMEDIATE');
  try {
    const made = work();
    database.exec('COMMIT');
    return made;
  } catch (error) {
    database.exec('ROLLBACK');
    throw error;
  }
}

// each event's hash covers the event and the hash before it
function addEvent(id, type, actor, details, previous) {
  const row = [id, new Date().toISOString(), type, actor, JSON.stringify(details), previous];
  const head = hash('sha256', JSON.stringify(row));
  append.run(...row, head);
  return head;
}

const ask = (value, channel, person) =>
  transaction(() => {
    const id = randomUUID();
    insert.run(id, JSON.stringify(value), channel, 'asked', addEvent(id, 'asked', person, value, ''));
    return id;
  });

// the request as it was; nothing is written if its state is not one of `from`
const advance = (id, from, to, actor, details) =>
  transaction(() => {
    const request = read.get(id);
    if (!from.includes(request?.state)) return undefined;
    change.run(to, addEvent(id, to, actor, details, request.head), details.ts ?? request.ts, id);
    return request;
  });

app.command('/unlatch', async ({ ack, command, client }) => {
  await ack();
  const { customerId, reason } = typed(command.text);
  const customer = await fusebill('GET', `/customers/${customerId}`);
  const { id, hubSpotId, hubSpotCompanyId } = customer;
  const value = { id, hubSpotId, hubSpotCompanyId, reason };
  const request = ask(value, command.channel_id, command.user_id);
  const message = card(customer, command.user_id, reason, request);
  const { ts } = await client.chat.postMessage({ channel: command.channel_id, ...message });
  advance(request, ['asked'], 'posted', null, { ts });
});

app.action('unlatch_confirm', async ({ ack, body, client }) => {
  const [id, person] = [body.actions[0].value, body.user.id];
  const { channel, message } = body;
  const request = advance(id, ['asked', 'posted'], 'confirmed', person, { ts: message.ts });
  await ack();
  if (!request) return;
  const value = JSON.parse(request.customer);
  const before = await fusebill('GET', `/customers/${value.id}`);
  if (before.hubSpotId !== value.hubSpotId || before.hubSpotCompanyId !== value.hubSpotCompanyId) {
    advance(id, ['confirmed'], 'changed', null, before);
    return;
  }
  const after = await fusebill('POST', `/HubSpot/UnlatchCustomer/${value.id}`);
  advance(id, ['confirmed'], 'cleared', null, { hubSpotId: after.hubSpotId });
  const shown = { channel: channel.id, ts: message.ts, ...result(value, person) };
  const thread = { channel: channel.id, thread_ts: message.ts, text: reply(value, person) };
  await client.chat.update(shown);
  await client.chat.postMessage(thread);
  advance(id, ['cleared'], 'shown', null, {});
});

await start();
