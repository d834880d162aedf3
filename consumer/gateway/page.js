// Reads a signal from a file, draws it, sends it as a job, shows the reply. Whatever comes from a file or from the
// service is put in as text, never as markup.
'use strict';

const byId = (id) => document.getElementById(id);
// A whole day's curve has fewer; what cannot be drawn in a window is not what this page is for.
const MAX_FILE_BYTES = 4 * 1024 * 1024;
const WAIT_S = 20;
const MAX_BARS = 12;
let signal = null;

class Unreadable extends Error {}

// A JSON array; numbers with commas, semicolons, blanks or line breaks between them; a line of .ts, whose label is
// behind the last colon, or of .tsv, whose label is before the first tab.
function parse(text, name) {
  const trimmed = text.replace(/^\uFEFF/, '').trim();
  if (!trimmed) throw new Unreadable('The file is empty.');
  if (trimmed.startsWith('[') || trimmed.startsWith('{')) return checked(fromJson(trimmed));
  if (/\.ts$/i.test(name)) return checked(numbers(tsLine(trimmed)));
  if (/\.tsv$/i.test(name)) return checked(numbers(firstLine(trimmed).split('\t').slice(1).join('\t')));
  return checked(numbers(trimmed));
}

function fromJson(text) {
  let read;
  try {
    read = JSON.parse(text);
  } catch (error) {
    throw new Unreadable(`The file begins as JSON does, but is none: ${error.message}`);
  }
  return Array.isArray(read) ? read : read.signal;
}

const firstLine = (text) => text.split(/\r?\n/, 1)[0];

function tsLine(text) {
  const line = text.split(/\r?\n/).find((each) => each.trim() && !/^[#@]/.test(each.trim()));
  if (!line) throw new Unreadable('The .ts file has no line of data.');
  return line.includes(':') ? line.slice(0, line.lastIndexOf(':')) : line;
}

// A first line that holds no number is the name of the column.
function numbers(text) {
  const lines = text.split(/\r?\n/).filter((line) => line.trim());
  if (lines.length > 1 && Number.isNaN(Number(fields(lines[0])[0]))) lines.shift();
  const rows = lines.map(fields);
  if (rows.length > 1 && rows.some((row) => row.length > 1)) {
    throw new Unreadable(`The file has ${rows.length} lines of ${rows[0].length} columns; one line or one column is a signal.`);
  }
  return rows.flat().map((field) => {
    const value = Number(field);
    if (field === '' || !Number.isFinite(value)) throw new Unreadable(`“${field.slice(0, 40)}” is not a number.`);
    return value;
  });
}

const fields = (line) => line.trim().replace(/[,;]$/, '').split(/\s*[,;\t]\s*|\s+/);

function checked(values) {
  if (!Array.isArray(values) || !values.every((value) => typeof value === 'number' && Number.isFinite(value))) {
    throw new Unreadable('This is JSON, but not an array of numbers (nor an object with one as “signal”).');
  }
  if (values.length < 2) throw new Unreadable('A signal has at least two numbers.');
  return values;
}

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
  signal = null;
  byId('figure').hidden = true;
  byId('answer').hidden = true;
  byId('send').disabled = true;
  try {
    if (file.size > MAX_FILE_BYTES) throw new Unreadable('The file is larger than 4 MiB.');
    const values = parse(await file.text(), file.name);
    draw(values, file.name);
    signal = values;
    byId('send').disabled = false;
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error;
    show({ verdict: 'This file cannot be read as a signal', detail: error.message, bad: true });
  }
}

function show({ verdict, detail = '', bad = false, bars = [], facts = {} }) {
  const box = byId('answer');
  box.classList.toggle('bad', bad);
  byId('verdict').textContent = verdict;
  byId('detail').textContent = detail;
  byId('bars').replaceChildren(...bars.map(bar));
  byId('facts').replaceChildren(...Object.entries(facts).flatMap(([name, value]) => [text('dt', name), text('dd', value)]));
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
  const job = { signal, ...(model ? { model } : {}) };
  const headers = { 'Content-Type': 'application/json' };
  let { response, body } = await ask('jobs', { method: 'POST', headers, body: JSON.stringify(job) });
  while (response.status === 202) {
    show({ verdict: 'Waiting for its turn …', facts: { job: body.job_id } });
    await pause(Number(response.headers.get('Retry-After')) || 1);
    ({ response, body } = await ask(`jobs/${body.job_id}`));
  }
  if (response.status === 401) byId('token-field').hidden = false;
  show(response.ok ? replied(body) : refused(response, body));
}

function refused(response, problem) {
  const later = response.headers.get('Retry-After');
  return {
    verdict: `Not taken: ${problem.title}`,
    detail: problem.detail + (later ? ` Try again in ${later} s.` : ''),
    bad: true,
    facts: { reason: problem.reason, ...(problem.job_id ? { job: problem.job_id } : {}) },
  };
}

function replied(reply) {
  const facts = { job: reply.job_id, 'ran for': `${reply.run_ms.toFixed(1)} ms`, attempt: reply.attempt };
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
  byId('send').disabled = true;
  show({ verdict: 'Sent …' });
  try {
    await classify();
  } catch (error) {
    show({ verdict: 'No answer', detail: `The gateway cannot be reached: ${error.message}`, bad: true });
  } finally {
    byId('send').disabled = false;
  }
}

async function health() {
  const shown = byId('health');
  try {
    const response = await fetch('ready');
    shown.className = response.ok ? 'good' : 'bad';
    shown.textContent = response.ok ? 'ready' : (await response.text()).trim();
  } catch {
    shown.className = 'bad';
    shown.textContent = 'the gateway does not answer';
  }
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
byId('form').addEventListener('submit', submit);
health();
setInterval(health, 5000);
