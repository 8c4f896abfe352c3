// The flow with Bolt for JavaScript: defaults, no ledger; the button holds what the click needs.
import { app, card, fusebill, reply, result, start, typed } from './flow.mjs';

app.command('/unlatch', async ({ ack, command, client }) => {
  await ack();
  const { customerId, reason } = typed(command.text);
  const customer = await fusebill('GET', `/customers/${customerId}`);
  const { id, hubSpotId, hubSpotCompanyId } = customer;
  const value = JSON.stringify({ id, hubSpotId, hubSpotCompanyId, reason });
  const message = card(customer, command.user_id, reason, value);
  await client.chat.postMessage({ channel: command.channel_id, ...message });
});

app.action('unlatch_confirm', async ({ ack, body, client }) => {
  await ack();
  const value = JSON.parse(body.actions[0].value);
  const channel = body.channel.id;
  const { ts } = body.message;
  const before = await fusebill('GET', `/customers/${value.id}`);
  if (before.hubSpotId !== value.hubSpotId) return;
  await fusebill('POST', `/HubSpot/UnlatchCustomer/${value.id}`);
  await client.chat.update({ channel, ts, ...result(value, body.user.id) });
  await client.chat.postMessage({ channel, thread_ts: ts, text: reply(value, body.user.id) });
});

await start();
