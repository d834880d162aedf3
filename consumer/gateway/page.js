// Draws a signal of a file (signals.js reads it), sends it as a job, shows the reply. Whatever comes from a file or
// from the service is put in as text, never as markup.
'use strict';

const byId = (id) => document.getElementById(id);
// A table of some thousand signals has fewer; only one of them is sent.
const MAX_FILE_BYTES = 64 * 1024 * 1024;
// A person does not choose from more in a list.
const MAX_CHOICES = 1000;
const WAIT_S = 20;
const MAX_BARS = 12;
const HEALTH_MS = 5000;
let signals = [];
let signal = null;
let fileName = '';
// What the gateway has said about the jobs queue; null while it is not known.
let queue = null;

// Of more samples than the picture has columns, the lowest and the highest in each column, so that no peak is lost.
function path(values) {
  const [width, height, columns] = [800, 220, 800];
  const [low, high] = extent(values);
  const span = high - low || 1;
  const x = (index) => (index / (values.length - 1)) * width;
  const y = (value) => height - 6 - ((value - low) / span) * (height - 12);
  const points = [];
  const step = Math.max(1, Math.ceil(values.length / columns));
  for (let begin = 0; begin < values.length; begin += step) {
    const part = values.slice(begin, begin + step);
    const [lowest, highest] = extent(part);
    points.push([x(begin), y(part[0])]);
    if (step > 1) points.push([x(begin), y(lowest)], [x(begin), y(highest)]);
  }
  return {
    d: points.map(([px, py], index) => `${index ? 'L' : 'M'}${px.toFixed(1)} ${py.toFixed(1)}`).join(''),
    zero: low < 0 && high > 0 ? y(0) : null,
  };
}

function extent(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

function svg(name, attributes) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function draw(values, name) {
  const { d, zero } = path(values);
  const axis = zero === null ? [] : [svg('line', { x1: 0, x2: 800, y1: zero, y2: zero })];
  byId('plot').replaceChildren(...axis, svg('path', { d }));
  const [low, high] = extent(values);
  byId('caption').textContent = `${name}: ${values.length.toLocaleString('en')} samples`;
  byId('low').textContent = `lowest ${Number(low.toPrecision(6))}`;
  byId('high').textContent = `highest ${Number(high.toPrecision(6))}`;
  byId('figure').hidden = false;
}

async function open(file) {
  signals = [];
  fileName = file.name;
  byId('which-field').hidden = true;
  await readable(async () => {
    if (file.size > MAX_FILE_BYTES) throw new Unreadable('The file is larger than 64 MiB.');
    signals = signalsOf(decoded(new Uint8Array(await file.arrayBuffer())), file.name);
    offer();
    choose(0);
  });
}

// Lists the signals of the file, if there are several.
function offer() {
  const listed = signals.slice(0, MAX_CHOICES);
  byId('which').replaceChildren(...listed.map(({ name, label }, index) => {
    const option = text('option', label ? `${name}: ${label}` : name);
    option.value = index;
    return option;
  }));
  const left = signals.length - listed.length;
  byId('which-label').textContent = `Signal (${signals.length.toLocaleString('en')} in the file${left ? `, the first ${MAX_CHOICES} are listed` : ''})`;
  byId('which-field').hidden = signals.length < 2;
}

function choose(index) {
  return readable(() => {
    const { name, label, values } = signals[index];
    const read = values();
    draw(read, [fileName, name, label].filter(Boolean).join(', '));
    signal = { values: read, label };
    byId('send').disabled = false;
  });
}

// Runs what reads from the file; what cannot be read is shown.
async function readable(read) {
  signal = null;
  byId('figure').hidden = true;
  byId('answer').hidden = true;
  byId('send').disabled = true;
  try {
    await read();
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error;
    show({ verdict: 'This file cannot be read as a signal', detail: error.message, bad: true });
  }
}

function show({ verdict, detail = '', bad = false, isBusy = false, bars = [], facts = {} }) {
  const box = byId('answer');
  box.classList.toggle('bad', bad);
  byId('verdict').textContent = verdict;
  byId('detail').textContent = detail;
  byId('bars').replaceChildren(...bars.map(bar));
  byId('facts').replaceChildren(...Object.entries(facts).flatMap(([name, value]) => [text('dt', name), text('dd', value)]));
  box.setAttribute('aria-busy', isBusy); // a reader must not read out each second of a wait
  if (isBusy && !box.hidden) return;
  box.hidden = false;
  box.scrollIntoView({ block: 'nearest' }); // on a phone it is below what has been pressed
}

function text(kind, content, className = '') {
  const made = document.createElement(kind);
  made.textContent = content;
  if (className) made.className = className;
  return made;
}

function bar([name, share]) {
  const filled = text('span', '', 'bar');
  filled.style.width = `${Math.max(0, Math.min(1, share)) * 100}%`;
  const track = text('span', '', 'track');
  track.append(filled);
  const line = document.createElement('li');
  line.append(text('span', name, 'name'), track, text('span', `${(share * 100).toFixed(1)} %`, 'share'));
  return line;
}

const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

async function ask(address, options = {}) {
  const token = byId('token').value.trim();
  const authorization = token ? { Authorization: `Bearer ${token}` } : {};
  const response = await fetch(address, { ...options, headers: { Prefer: `wait=${WAIT_S}`, ...authorization, ...options.headers } });
  return { response, body: await response.json() };
}

async function classify() {
  const model = byId('model').value.trim();
  const job = { signal: signal.values, ...(model ? { model } : {}) };
  const headers = { 'Content-Type': 'application/json' };
  let { response, body } = await ask('jobs', { method: 'POST', headers, body: JSON.stringify(job) });
  // Once RabbitMQ has the job, a 503 is about the gateway alone: the reply comes later, and a second job would run too.
  while (response.status === 202 || (waiting.job && response.status === 503)) {
    waiting.job ||= body.job_id;
    await pause(Number(response.headers.get('Retry-After')) || 1);
    ({ response, body } = await ask(`jobs/${waiting.job}`));
  }
  if (response.status === 401) byId('token-field').hidden = false;
  return response.ok ? replied(body) : refused(response, body);
}

// What is shown while a job has no reply: for how long, and why, as far as the queue explains it.
const waiting = { since: 0, job: '' };

function showWaiting() {
  const seconds = Math.floor((performance.now() - waiting.since) / 1000);
  const why = !queue ? ''
    : queue.reason ? `The reason is unknown: ${queue.detail}.`
      : queue.consumers === 0 ? 'No consumer takes jobs now. The job waits in the queue until one is started (consumer run).'
        : queue.waiting > 0 ? `${jobs(queue.waiting)} in the queue.`
          : 'The job runs, or waits for a retry.';
  show({
    verdict: `Waiting for the reply … ${seconds}\u00a0s`,
    isBusy: true,
    detail: seconds < 2 ? '' : why,
    facts: waiting.job ? { job: waiting.job } : {},
  });
}

const jobs = (number) => (number === 1 ? '1 job waits' : `${number.toLocaleString('en')} jobs wait`);

function refused(response, problem) {
  const later = response.headers.get('Retry-After');
  return {
    verdict: `Not taken: ${problem.title}`,
    detail: problem.detail + (later ? `; try again in ${later} s` : ''),
    bad: true,
    facts: { reason: problem.reason, ...(problem.job_id ? { job: problem.job_id } : {}) },
  };
}

function replied(reply) {
  const facts = { ...(signal?.label ? { 'label in the file': signal.label } : {}), job: reply.job_id, 'ran for': `${reply.run_ms.toFixed(1)} ms`, attempt: reply.attempt };
  if (reply.status === 'failed') {
    return { verdict: 'The job failed', detail: reply.error.message, bad: true, facts: { reason: reply.error.code, ...facts } };
  }
  const output = reply.output;
  if (output === null || typeof output !== 'object' || !('label' in output)) {
    return { verdict: 'Answer', detail: JSON.stringify(output, null, 2), facts };
  }
  const all = Object.entries(output.probabilities ?? {}).sort((one, other) => other[1] - one[1]);
  const left = all.length - MAX_BARS;
  return {
    verdict: String(output.label),
    bars: all.slice(0, MAX_BARS),
    facts: { ...(output.model ? { model: output.model } : {}), ...(left > 0 ? { 'classes not shown': left } : {}), ...facts },
  };
}

async function submit(event) {
  event.preventDefault();
  if (!signal) return;
  for (const id of ['send', 'which', 'file']) byId(id).disabled = true;
  Object.assign(waiting, { since: performance.now(), job: '' });
  showWaiting();
  const ticking = setInterval(showWaiting, 1000);
  let shown;
  try {
    shown = await classify();
  } catch (error) {
    shown = { verdict: 'No answer', detail: `The gateway cannot be reached: ${error.message}`, bad: true };
  } finally {
    clearInterval(ticking);
    for (const id of ['send', 'which', 'file']) byId(id).disabled = false;
  }
  show(shown);
}

async function health() {
  const [isGood, sentence] = await state();
  byId('health').className = isGood ? 'good' : 'bad';
  byId('health').textContent = sentence;
}

async function state() {
  try {
    const [ready, depth] = await Promise.all([fetch('ready'), fetch('queue')]);
    queue = await depth.json();
    if (queue.reason === 'no_queue') queue = { waiting: 0, consumers: 0 }; // the first consumer makes it
    if (!ready.ok) return [false, (await ready.text()).trim()];
  } catch {
    queue = null;
    return [false, 'the gateway does not answer'];
  }
  if (queue?.consumers === 0) return [false, queue.waiting ? `no consumer takes jobs; ${jobs(queue.waiting)}` : 'no consumer takes jobs'];
  return [true, queue?.waiting ? `ready; ${jobs(queue.waiting)}` : 'ready'];
}

const drop = byId('drop');
byId('file').addEventListener('change', ({ target }) => target.files[0] && open(target.files[0]));
for (const kind of ['dragover', 'dragenter']) {
  drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add('over'); });
}
for (const kind of ['dragleave', 'drop']) drop.addEventListener(kind, () => drop.classList.remove('over'));
drop.addEventListener('drop', (event) => {
  event.preventDefault();
  if (event.dataTransfer.files[0]) open(event.dataTransfer.files[0]);
});
// A file that misses the field must not replace the page.
for (const kind of ['dragover', 'drop']) window.addEventListener(kind, (event) => event.preventDefault());
byId('which').addEventListener('change', ({ target }) => choose(Number(target.value)));
byId('form').addEventListener('submit', submit);
health();
setInterval(health, HEALTH_MS);
