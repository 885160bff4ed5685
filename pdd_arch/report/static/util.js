// Elements, numbers, and the data of the page. Text is only ever set as text.

/** The JSON of a script element; infinities come as {$infinite: 1 or -1}. */
function readJson(id) {
  return JSON.parse(document.getElementById(id).textContent, (key, value) =>
    value && typeof value === 'object' && '$infinite' in value ? value.$infinite * Infinity : value);
}

const DATA = readJson('data');
const IMAGES = readJson('image-data');

const SVG_NAMES = new Set(['svg', 'line', 'polyline', 'circle', 'text']);

/** An element with properties (`class`, `on...`, `style` as an object, attributes) and children. */
function el(name, props = {}, ...children) {
  const node = SVG_NAMES.has(name)
    ? document.createElementNS('http://www.w3.org/2000/svg', name) : document.createElement(name);
  for (const [key, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith('on')) node.addEventListener(key.slice(2), value);
    else if (key === 'style') for (const [k, v] of Object.entries(value)) node.style.setProperty(k, v);
    else node.setAttribute(key, value === true ? '' : value);
  }
  node.append(...children.filter((c) => c !== null && c !== undefined));
  return node;
}

const isNumber = (value) => typeof value === 'number' && !Number.isNaN(value);
const minus = (text) => text.replace('-', '−');

/** A value of a metric as it is printed. */
function show(value, decimals) {
  if (!isNumber(value)) return '–';
  return minus(Number.isFinite(value) ? value.toFixed(decimals) : (value > 0 ? '∞' : '-∞'));
}

/** A gain with its sign. */
function showGain(value, metric) {
  if (!isNumber(value)) return '–';
  const text = Number.isFinite(value) ? Math.abs(value).toFixed(metric.decimals) : '∞';
  const sign = Number(text) === 0 ? '±' : value > 0 ? '+' : '−';
  return sign + text + (metric.unit ? ' ' + metric.unit : '');
}

const heading = (metric) => `${metric.name}${metric.unit ? ` (${metric.unit})` : ''} ${metric.better === 'higher' ? '↑' : '↓'}`;
const betterWords = (better) => (better === 'higher' ? 'higher is better' : 'lower is better');
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const plural = (count, word) => `${count} ${word}${count === 1 ? '' : 's'}`;

let lastId = 0;
const newId = (word) => `${word}-${++lastId}`;

/** Scores of a row for a picture: {mean, std, seeds}, or undefined. */
function scoresOf(picture, row) {
  const rows = DATA.scores[picture.dataset];
  return rows && Object.hasOwn(rows, row) && Object.hasOwn(rows[row], picture.name) ? rows[row][picture.name] : undefined;
}

/** How much better than the baseline a row is for a picture; positive is better, whichever way the metric goes. */
function gainOf(picture, row, index) {
  const base = DATA.baseline === null ? undefined : scoresOf(picture, DATA.baseline);
  const own = scoresOf(picture, row);
  if (!base || !own || !isNumber(base.mean[index]) || !isNumber(own.mean[index])) return null;
  const gain = own.mean[index] === base.mean[index] ? 0 : own.mean[index] - base.mean[index];
  return DATA.metrics[index].better === 'higher' ? gain : -gain;
}

/** A labelled select. `options`: [value, text]. */
function labelledSelect(text, options, value, onchange) {
  const id = newId('select');
  const select = el('select', { id, onchange: () => onchange(select.value) },
    ...options.map(([v, t]) => el('option', { value: v }, t)));
  select.value = value;
  return { select, label: el('div', { class: 'field' }, el('label', { for: id }, text), select) };
}
