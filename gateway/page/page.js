// The gateway's page: its servers, and a request as it happens. Whatever comes from outside is shown as text
// (textContent), never as markup; the key stays in this variable.
'use strict';

const $ = (id) => document.getElementById(id);
let key = '';

function headers() {
  return key ? {'Content-Type': 'application/json', 'Authorization': `Bearer ${key}`} : {'Content-Type': 'application/json'};
}

function element(tag, text = '', className = '') {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

function showFigures(list, figures) {
  list.replaceChildren(...figures.map(([name, value]) => {
    const box = element('div');
    box.append(element('dt', name), element('dd', value));
    return box;
  }));
}

function bytes(n) {
  const units = ['B', 'KiB', 'MiB', 'GiB'];
  let unit = 0;
  for (; n >= 1024 && unit < 3; ++unit) n /= 1024;
  return `${unit ? n.toFixed(1) : n} ${units[unit]}`;
}

function percent(share) {
  return share === null ? '-' : `${Math.round(100 * share)} %`;
}

// --- Servers

function serverRow(server) {
  const row = element('tr');
  const name = element('th', server.address);
  name.scope = 'row';
  const state = element('td');
  const told = element('div', server.state, server.state === 'ready' ? '' : 'bad');
  if (server.reason) told.append(element('small', server.reason));
  state.append(told);
  const kv = element('td');
  const used = server.kv_used;
  if (used !== null) {
    const bar = element('progress');
    bar.max = 1;
    bar.value = used;
    bar.setAttribute('aria-label', `KV memory of ${server.address}`);
    const box = element('div');
    box.append(bar, ` ${percent(used)}`);
    kv.append(box);
  }
  const cells = {
    'Role': element('td', server.role),
    'State': state,
    'Running': element('td', server.requests_running, 'number'),
    'Waiting': element('td', server.requests_waiting, 'number'),
    'KV memory': kv,
  };
  for (const [label, cell] of Object.entries(cells)) cell.dataset.label = label;
  row.append(name, ...Object.values(cells));
  return row;
}

function showPool(pool) {
  $('model').textContent = pool.model ?? '';
  showFigures($('totals'), [
    ['decode servers ready', `${pool.decode_ready} of ${pool.decode_total}`], ['prefill servers ready', `${pool.prefill_ready}`],
    ['running', `${pool.requests_running}`], ['waiting', `${pool.requests_waiting}`],
    ['KV memory, decode', percent(pool.decode_kv_used)], ['KV memory, prefill', percent(pool.prefill_kv_used)],
  ]);
  $('servers').replaceChildren(...(pool.servers ?? []).map(serverRow));
  $('list').hidden = !pool.servers;
  showHealth(pool.decode_ready > 0 ? 'Ready' : pool.problem || 'No decode server is ready', pool.decode_ready === 0);
}

function showHealth(text, bad) {
  if ($('health').textContent !== text) $('health').textContent = text;  // said once by screen readers
  $('health').className = bad ? 'bad' : '';
}

async function refresh() {
  try {
    const answer = await fetch('/lynx/pool', {headers: headers(), cache: 'no-store'});
    if (answer.status === 401) {
      $('key-form').hidden = false;
      showHealth(key ? 'This key is not known' : 'An API key is needed', true);
    } else if (!answer.ok) {
      showHealth(`The gateway answers ${answer.status}`, true);
    } else {
      showPool(await answer.json());
    }
  } catch {
    showHealth('The gateway does not answer', true);
  }
}

async function watchPool() {
  for (;;) {
    if (!document.hidden) await refresh();
    await new Promise((resume) => setTimeout(resume, 1000));
  }
}

// --- A request

// The pieces of the answer by the index of their first token: {index, node, provisional}.
class Answer {
  constructor(box) {
    this.box = box;
    this.pieces = [];
    box.replaceChildren();
  }
  add(text, index, provisional) {
    if (!text) return;
    const node = element('span', text, provisional ? 'provisional' : '');
    const atEnd = this.box.scrollHeight - this.box.scrollTop - this.box.clientHeight < 40;
    this.box.append(node);
    this.pieces.push({index, node, provisional});
    if (atEnd) this.box.scrollTop = this.box.scrollHeight;
  }
  // A chunk that is not provisional confirms all before it.
  commit() {
    for (const piece of this.pieces) {
      piece.node.className = '';
      piece.provisional = false;
    }
  }
  // The last ones, from this index on, are struck through and stay to be seen.
  rollBack(index) {
    this.takeBack((piece) => piece.index >= index);
  }
  // What is not confirmed at the end is taken back, too.
  end() {
    this.takeBack((piece) => piece.provisional);
  }
  takeBack(which) {
    while (this.pieces.length && which(this.pieces.at(-1))) {
      const {node} = this.pieces.pop();
      const struck = element('s', node.textContent, 'rolled-back');
      node.replaceWith(struck);
    }
  }
}

// Both transfers, as far as the tokens tell: drafts begin with the whole Anchor, they are decided with the whole
// Residual, and the end brings the bytes.
class Bars {
  constructor() {
    for (const name of ['anchor', 'residual']) this.set(name, 0, '');
  }
  set(name, value, text) {
    if (value === null) {
      $(name).removeAttribute('value');  // on its way, nobody knows how far
    } else {
      $(name).value = value;
    }
    $(`${name}-text`).textContent = text;
  }
  onToken(index, provisional) {
    if (index === 0) {
      this.set('anchor', null, 'on its way');
      this.set('residual', null, 'on its way');
    } else {
      this.set('anchor', 1, 'complete');
      if (!provisional) this.set('residual', 1, 'complete');
    }
  }
  onEnd(stats) {
    for (const name of ['anchor', 'residual']) {
      const got = stats?.[`${name}_bytes`];
      if (got === undefined) {
        if ($(name).position < 0) this.set(name, 0, '');
      } else {
        this.set(name, got > 0 ? 1 : 0, got > 0 ? bytes(got) : 'nothing to send');
      }
    }
  }
}

// The data of server-sent events, one at a time.
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const {value, done} = await reader.read();
    if (done) return;
    rest += value;
    const parts = rest.split('\n\n');
    rest = parts.pop();
    for (const part of parts) {
      if (part.startsWith('data: ')) yield part.slice(6);
    }
  }
}

function showStats(stats, seconds) {
  const ms = (value) => (value > 0 ? `${value.toFixed(0)} ms` : '-');
  showFigures($('figures'), [
    ['drafted', `${stats.drafted ?? '-'}`], ['accepted', `${stats.accepted ?? '-'}`], ['rolled back', `${stats.rolled_back ?? '-'}`],
    ['2nd token drafted', ms(stats.second_token_provisional_ms)], ['2nd token committed', ms(stats.second_token_committed_ms)],
    ['in all', `${seconds.toFixed(2)} s`],
  ]);
}

function showPhase(text, bad = false) {
  $('phase').textContent = text;
  $('phase').className = bad ? 'bad' : '';
}

function requestBody() {
  return JSON.stringify({
    messages: [{role: 'user', content: $('prompt').value}],
    max_tokens: $('max-tokens').valueAsNumber,
    temperature: $('temperature').valueAsNumber,
    stream: true,
    lynx: {emission: $('speculative').checked ? 'speculative' : 'verified', stats: true},
  });
}

async function follow(response, answer, bars) {
  let stats = null;
  let committed = 0;  // chunks, where the gateway does not number tokens
  for await (const data of events(response.body)) {
    if (data === '[DONE]') return stats;
    const chunk = JSON.parse(data);
    if (chunk.error) throw new Error(chunk.error.message);
    const lynx = chunk.lynx ?? {};
    if (lynx.rollback_to !== undefined) answer.rollBack(lynx.rollback_to);
    if (lynx.drafted !== undefined) stats = lynx;
    if (!lynx.provisional && lynx.rollback_to === undefined && chunk.choices?.length) answer.commit();
    const text = chunk.choices?.[0]?.delta?.content;
    if (typeof text === 'string' && lynx.rollback_to === undefined) {
      const index = lynx.index ?? committed++;
      answer.add(text, index, lynx.provisional === true);
      bars.onToken(index, lynx.provisional === true);
    }
  }
  throw new Error('The stream broke off.');
}

let running = null;

async function send() {
  if (running || !$('request').reportValidity()) return;
  running = new AbortController();
  $('send').disabled = true;
  $('stop').disabled = false;
  $('figures').replaceChildren();
  const answer = new Answer($('answer'));
  const bars = new Bars();
  let stats = null;
  const started = performance.now();
  showPhase('Waiting for the first token ...');
  try {
    const response = await fetch('/v1/chat/completions', {method: 'POST', headers: headers(), body: requestBody(), signal: running.signal});
    if (!response.ok) throw new Error((await response.json()).error?.message ?? `The gateway answers ${response.status}`);
    showPhase('Answering ...');
    stats = await follow(response, answer, bars);
    showPhase('Done.');
  } catch (error) {
    showPhase(error.name === 'AbortError' ? 'Stopped.' : error.message, error.name !== 'AbortError');
  }
  answer.end();
  bars.onEnd(stats);
  if (stats) showStats(stats, (performance.now() - started) / 1000);
  running = null;
  $('send').disabled = false;
  $('stop').disabled = true;
}

$('request').addEventListener('submit', (event) => {
  event.preventDefault();
  send();
});
$('stop').addEventListener('click', () => running?.abort());
$('key-form').addEventListener('submit', (event) => {
  event.preventDefault();
  key = $('key').value.trim();
  refresh();
});
document.addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) send();
  if (event.key === 'Escape') running?.abort();
});
watchPool();
