// Metric curves: SVG with axes, units and legend. The mouse, or the arrow keys on a focused chart, read off values.

const CHART = { width: 420, height: 250, left: 78, right: 18, top: 12, bottom: 44 };
const DASHES = ['', '7 4', '2 4', '9 3 2 3'];

/** Round tick values that cover a range. */
function ticks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((f) => f * power).find((s) => s >= rough * 0.999) || 10 * power;
  const out = [];
  for (let v = Math.ceil(low / step - 1e-9) * step; v <= high + step * 1e-6; v += step) out.push(Math.abs(v) < step * 1e-9 ? 0 : v);
  return { values: out, decimals: clamp(Math.ceil(-Math.log10(step) + (/25|2\.5/.test(String(step)) ? 1 : 0)), 0, 8) };
}

const thousands = (value) => Number(value.toFixed(2)).toLocaleString('en', { maximumFractionDigits: 2 });

function range(values) {
  const low = Math.min(...values), high = Math.max(...values);
  const room = (high - low || Math.abs(high) || 1) * 0.06;
  return [low - room, high + room];
}

/** A figure for a curve. */
function chart(curve) {
  const all = Object.entries(curve.series).map(([name, points]) => [name, points.filter((p) => Number.isFinite(p[1]))]);
  const series = all.filter(([, points]) => points.length);
  const label = curve.title + (curve.unit ? ` (${curve.unit})` : '');
  const caption = el('figcaption', {}, el('strong', {}, label),
    curve.better ? el('span', { class: 'faint' }, ` ${betterWords(curve.better)}`) : null);
  if (!series.length) return el('figure', { class: 'chart' }, caption, el('p', { class: 'faint' }, 'No finite values.'));

  const { width, height, left, right, top, bottom } = CHART;
  const xs = [...new Set(series.flatMap(([, points]) => points.map((p) => p[0])))].sort((a, b) => a - b);
  const [x0, x1] = xs.length > 1 ? [xs[0], xs[xs.length - 1]] : range(xs);
  const [y0, y1] = range(series.flatMap(([, points]) => points.map((p) => p[1])));
  const px = (x) => left + (x - x0) / (x1 - x0) * (width - left - right);
  const py = (y) => height - bottom - (y - y0) / (y1 - y0) * (height - top - bottom);

  const svg = el('svg', { viewBox: `0 0 ${width} ${height}`, tabindex: 0, role: 'img',
    'aria-label': `${label} over iterations. The left and right arrow keys read off values; a table follows.` });
  const yTicks = ticks(y0, y1, 5), xTicks = ticks(x0, x1, 5);
  for (const v of yTicks.values) {
    svg.append(el('line', { class: 'grid', x1: left, x2: width - right, y1: py(v), y2: py(v) }),
      el('text', { x: left - 8, y: py(v) + 4, 'text-anchor': 'end' }, show(v, yTicks.decimals)));
  }
  for (const v of xTicks.values) {
    svg.append(el('line', { class: 'axis', x1: px(v), x2: px(v), y1: height - bottom, y2: height - bottom + 4 }),
      el('text', { x: px(v), y: height - bottom + 18, 'text-anchor': 'middle' }, thousands(v)));
  }
  svg.append(
    el('line', { class: 'axis', x1: left, x2: width - right, y1: height - bottom, y2: height - bottom }),
    el('text', { x: (left + width - right) / 2, y: height - 6, 'text-anchor': 'middle' }, 'iteration'),
    el('text', { x: 14, y: (top + height - bottom) / 2, 'text-anchor': 'middle',
      transform: `rotate(-90 14 ${(top + height - bottom) / 2})` }, label));
  series.forEach(([, points], i) => {
    svg.append(el('polyline', { class: `curve series-${i % 6}`, points: points.map((p) => `${px(p[0])},${py(p[1])}`).join(' '),
      'stroke-dasharray': DASHES[Math.floor(i / 6) % DASHES.length] }));
    if (points.length <= 60) for (const p of points) svg.append(el('circle', { class: `dot series-${i % 6}`, cx: px(p[0]), cy: py(p[1]), r: 3 }));
  });

  const guide = el('line', { class: 'guide', y1: top, y2: height - bottom, visibility: 'hidden' });
  svg.append(guide);
  const readout = el('output', { class: 'readout', 'aria-live': 'polite' });
  let index = -1;
  const read = (i) => {
    index = clamp(i, 0, xs.length - 1);
    const x = xs[index];
    guide.setAttribute('x1', px(x));
    guide.setAttribute('x2', px(x));
    guide.setAttribute('visibility', 'visible');
    const values = series.flatMap(([name, points]) => points.filter((p) => p[0] === x)
      .map((p) => (series.length > 1 ? `${name}: ` : '') + minus(String(Number(p[1].toPrecision(6))))));
    readout.textContent = `iteration ${thousands(x)}: ${values.join(', ')}${curve.unit ? ' ' + curve.unit : ''}`;
  };
  const hide = () => { guide.setAttribute('visibility', 'hidden'); readout.textContent = ''; };
  svg.addEventListener('pointermove', (event) => {
    const box = svg.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width * width;
    read(xs.reduce((best, v, i) => (Math.abs(px(v) - x) < Math.abs(px(xs[best]) - x) ? i : best), 0));
  });
  svg.addEventListener('pointerleave', () => { if (document.activeElement !== svg) hide(); });
  svg.addEventListener('focus', () => { if (index < 0) read(xs.length - 1); else read(index); });
  svg.addEventListener('blur', hide);
  svg.addEventListener('keydown', (event) => {
    const to = { ArrowLeft: index - 1, ArrowRight: index + 1, Home: 0, End: xs.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    read(to);
  });

  const legend = series.length > 1 ? el('ul', { class: 'legend' }, ...series.map(([name], i) =>
    el('li', {}, el('span', { class: `swatch series-${i % 6}` }), name))) : null;
  const omitted = all.reduce((n, [name]) => n + curve.series[name].length, 0) - series.reduce((n, [, p]) => n + p.length, 0);
  const note = [curve.note, omitted ? `${plural(omitted, 'value')} not finite, not drawn.` : ''].filter(Boolean).join(' ');
  return el('figure', { class: 'chart' }, caption, svg, readout, legend,
    note ? el('p', { class: 'faint' }, note) : null, valuesTable(series, xs));
}

/** The same values as a table. */
function valuesTable(series, xs) {
  const details = el('details', {}, el('summary', {}, 'Values'));
  details.addEventListener('toggle', () => {
    if (details.querySelector('table')) return;
    const maps = series.map(([, points]) => new Map(points));
    details.append(el('div', { class: 'scroll' }, el('table', {},
      el('thead', {}, el('tr', {}, el('th', { scope: 'col' }, 'iteration'), ...series.map(([name]) => el('th', { scope: 'col' }, name)))),
      el('tbody', {}, ...xs.map((x) => el('tr', {}, el('th', { scope: 'row' }, thousands(x)),
        ...maps.map((m) => el('td', {}, m.has(x) ? minus(String(Number(m.get(x).toPrecision(6)))) : '–'))))))));
  });
  return details;
}

function buildCurves() {
  const [shown, losses] = [DATA.curves.filter((c) => c.group === 'validation'), DATA.curves.filter((c) => c.group !== 'validation')];
  document.getElementById('curves').hidden = !DATA.curves.length;
  document.getElementById('charts').append(...shown.map(chart));
  const details = document.getElementById('losses');
  details.hidden = !losses.length;
  details.querySelector('div').append(...losses.map(chart));
}
