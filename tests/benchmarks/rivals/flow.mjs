// What both bots in JavaScript share: Bolt's app, Fusebill over Node's fetch, and the messages.
import bolt from '@slack/bolt';

const environment = process.env;
export const app = new bolt.App({
  token: environment.SLACK_BOT_TOKEN,
  signingSecret: environment.SLACK_SIGNING_SECRET,
  clientOptions: { slackApiUrl: environment.SLACK_API_URL },
});

export const start = () => app.start({ port: Number(environment.PORT), host: '127.0.0.1' });

export async function fusebill(method, path) {
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

export function typed(text) {
  const space = text.indexOf(' ');
  return { customerId: text.slice(0, space), reason: text.slice(space + 1) };
}

// `value` comes back with the click
export function card(customer, person, reason, value) {
  const text = `Unlatch ${customer.companyName} (${customer.id})?`;
  const button = {
    type: 'button',
    text: { type: 'plain_text', text: 'Unlatch customer' },
    style: 'danger',
    action_id: 'unlatch_confirm',
    value,
  };
  const cancel = {
    type: 'button',
    text: { type: 'plain_text', text: 'Cancel' },
    action_id: 'unlatch_cancel',
    value: String(customer.id),
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

export function result(value, person) {
  const text = `Unlatched: customer ${value.id}`;
  const blocks = [
    header(text),
    lines(`Cleared: ${ids(value)}`),
    lines(`Why: ${value.reason}`, `Confirmed by: <@${person}>`),
  ];
  return { text, blocks };
}

export const reply = (value, person) =>
  `<@${person}> confirmed. Fusebill cleared ${ids(value)}.`;
