// The flow with Bolt for JavaScript and Node's fetch: defaults, no ledger.
import bolt from '@slack/bolt';

const environment = process.env;
const app = new bolt.App({
  token: environment.SLACK_BOT_TOKEN,
  signingSecret: environment.SLACK_SIGNING_SECRET,
  clientOptions: { slackApiUrl: environment.SLACK_API_URL },
});

async function fusebill(method, path) {
  const answer = await fetch(environment.FUSEBILL_BASE_URL + path, {
    method,
    headers: {
      Authorization: `Basic ${environment.FUSEBILL_API_KEY}`,
      'Content-Type': 'application/json',
    },
  });
  if (!answer.ok) throw new Error(`Fusebill answered ${answer.status}`);
  return answer.json();
}

const header = (text) => ({ type: 'header', text: { type: 'plain_text', text } });
const lines = (...texts) => ({ type: 'section', text: { type: 'mrkdwn', text: texts.join('\n') } });
const ids = (value) => `contact ${value.hubSpotId}, company ${value.hubSpotCompanyId}`;

function card(customer, person, reason) {
  const text = `Unlatch ${customer.companyName} (${customer.id})?`;
  const { id, hubSpotId, hubSpotCompanyId } = customer;
  const button = {
    type: 'button',
    text: { type: 'plain_text', text: 'Unlatch customer' },
    style: 'danger',
    action_id: 'unlatch_confirm',
    value: JSON.stringify({ id, hubSpotId, hubSpotCompanyId, reason }),
  };
  const cancel = {
    type: 'button',
    text: { type: 'plain_text', text: 'Cancel' },
    action_id: 'unlatch_cancel',
    value: String(id),
  };
  const blocks = [
    header(text),
    lines(
      `Name: ${customer.firstName} ${customer.lastName}`,
      `Reference: ${customer.reference}`,
      `Email: ${customer.primaryEmail}`,
      `Status: ${customer.status}, ${customer.customerAccountStatus}`,
    ),
    lines(`Would be cleared: ${ids(customer)}`),
    lines(`Asked by: <@${person}>`, `Why: ${reason}`),
    { type: 'actions', elements: [button, cancel] },
  ];
  return { text, blocks };
}

function result(value, person) {
  const text = `Unlatched: customer ${value.id}`;
  const blocks = [
    header(text),
    lines(`Cleared: ${ids(value)}`),
    lines(`Why: ${value.reason}`, `Confirmed by: <@${person}>`),
  ];
  return { text, blocks };
}

app.command('/unlatch', async ({ ack, command, client }) => {
  await ack();
  const space = command.text.indexOf(' ');
  const reason = command.text.slice(space + 1);
  const customer = await fusebill('GET', `/customers/${command.text.slice(0, space)}`);
  const message = card(customer, command.user_id, reason);
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
  const text = `<@${body.user.id}> confirmed. Fusebill cleared ${ids(value)}.`;
  await client.chat.postMessage({ channel, thread_ts: ts, text });
});

await app.start({ port: Number(environment.PORT), host: '127.0.0.1' });
