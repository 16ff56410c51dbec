// A back office on the npm package ocpp-rpc, strict: it shares nothing with Voltyard, not even the language.
//
// Prints one line of JSON per event; takes one line of JSON per command from standard input:
//   {"call": {"token": 1, "identity": "CP1", "method": "ClearCache", "params": {}}}
//   {"accept": ["TAG"]}     cards that may charge; null for all of them
//   {"password": "secret"}  null lets everybody in
//   {"close": {"identity": "CP1", "code": 1000}}
// Ends with its standard input.

const { createInterface } = require('node:readline');
const { RPCServer, createRPCError } = require('ocpp-rpc');

const rules = { number: Number(process.argv[2] ?? 1), accept: null, password: null };
const clients = new Map();
const begun = new Map();

const tell = (event, what) => process.stdout.write(JSON.stringify({ event, ...what }) + '\n');
const now = () => new Date().toISOString();

function verdict(tag) {
  const may = rules.accept === null || rules.accept.some((each) => each.toLowerCase() === tag.toLowerCase());
  return { status: may ? 'Accepted' : 'Invalid' };
}

function begin(identity, { connectorId, idTag, timestamp, meterStart }) {
  // A start that is told again is the same transaction.
  const key = JSON.stringify([identity, connectorId, idTag, Date.parse(timestamp), meterStart]);
  if (!begun.has(key)) begun.set(key, rules.number++);
  return { transactionId: begun.get(key), idTagInfo: verdict(idTag) };
}

const answers = {
  BootNotification: () => ({ status: 'Accepted', interval: 300, currentTime: now() }),
  Heartbeat: () => ({ currentTime: now() }),
  Authorize: (_identity, params) => ({ idTagInfo: verdict(params.idTag) }),
  StartTransaction: begin,
  StopTransaction: (_identity, params) => (params.idTag ? { idTagInfo: verdict(params.idTag) } : {}),
  MeterValues: () => ({}),
  StatusNotification: () => ({}),
  DataTransfer: () => ({ status: 'UnknownVendorId' }),
  DiagnosticsStatusNotification: () => ({}),
  FirmwareStatusNotification: () => ({}),
};

const server = new RPCServer({ protocols: ['ocpp1.6'], strictMode: true });

server.auth((accept, reject, { identity, password }) => {
  if (rules.password === null || password?.toString('utf8') === rules.password) return accept();
  tell('refused', { identity });
  return reject(401);
});

server.on('client', (client) => {
  const { identity } = client;
  clients.set(identity, client);
  tell('connected', { identity });
  client.on('close', ({ code }) => {
    const last = clients.get(identity) === client;
    if (last) clients.delete(identity);
    tell('closed', { identity, code, last });
  });
  client.on('strictValidationFailure', ({ error, method, params, result, outbound, isCall }) => {
    const what = isCall ? 'call' : 'answer';
    const said = JSON.stringify(isCall ? params : result);
    tell('violation', { identity, outbound, text: `${what} ${method} ${said}: ${error.message}` });
  });
  client.on('badMessage', ({ buffer, error }) => {
    tell('violation', { identity, outbound: false, text: `no frame of OCPP-J: ${buffer}: ${error.message}` });
  });
  client.handle(({ method, params }) => {
    if (!Object.hasOwn(answers, method)) throw createRPCError('NotImplemented');
    const answer = answers[method](identity, params);
    tell('heard', { identity, method, params, answer });
    return answer;
  });
});

async function call({ token, identity, method, params }) {
  try {
    const client = clients.get(identity);
    if (!client) throw createRPCError('GenericError', 'the charger is not connected');
    tell('answer', { token, answer: await client.call(method, params) });
  } catch (error) {
    tell('answer', { token, code: error.rpcErrorCode ?? '', why: error.message });
  }
}

function obey(command) {
  if (command.call) call(command.call);
  if (command.close) clients.get(command.close.identity)?.close({ code: command.close.code });
  if ('accept' in command) rules.accept = command.accept;
  if ('password' in command) rules.password = command.password;
  if ('token' in command) tell('answer', { token: command.token, answer: {} });
}

async function main() {
  const http = await server.listen(0, '127.0.0.1');
  tell('ready', { port: http.address().port });
  for await (const line of createInterface({ input: process.stdin })) obey(JSON.parse(line));
  await server.close({ force: true });
  process.exit(0);
}

main();
