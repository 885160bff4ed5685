// The table: sortable by each column, best values marked, deviations over seeds, and where each number comes from.

/** Sorts `items` by a number, missing values last, whichever the direction. */
function sortedBy(items, value, descending) {
  return [...items].sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    if (!isNumber(x) || !isNumber(y)) return (isNumber(y) ? 1 : 0) - (isNumber(x) ? 1 : 0);
    return x === y ? 0 : (descending ? y > x : x > y) ? 1 : -1;
  });
}

const differs = (row, index) => isNumber(row.p[index]) && row.p[index] < DATA.test.significant;

/** What the paired test says of a cell, for its tooltip. */
function testWords(row, index) {
  const p = row.p[index];
  if (!isNumber(p)) return '';
  return `\np ${p < 0.001 ? '< 0.001' : `= ${p.toFixed(3)}`} against ${DATA.baseline} (${plural(row.images, 'image')})`;
}

/** The sentence about the test below the table. */
function testLegend() {
  if (DATA.baseline === null || DATA.rows.every((r) => r.name === DATA.baseline)) return '';
  if (DATA.rows.every((r) => r.p.every((p) => !isNumber(p)))) {
    return `No significance is given: the test needs values for at least ${DATA.test.least} images, the same ones for a row and the baseline.`;
  }
  return `*: differs from ${DATA.baseline}, better or worse (${DATA.test.name}; p < ${DATA.test.significant}).`;
}

function cell(row, index, images) {
  const metric = DATA.metrics[index];
  const value = row.mean[index];
  const perSeed = row.seeds.map((s) => `${s.name ? `seed ${s.name}: ` : ''}${show(s.means[index], metric.decimals)}`).join('\n');
  const count = row.counts[index];
  const text = show(value, metric.decimals);
  const parts = [row.best[index] ? el('strong', {}, text) : text];
  if (isNumber(row.std[index])) parts.push(el('span', { class: 'std' }, ` ± ${show(row.std[index], metric.decimals)}`));
  if (isNumber(value) && count < images) parts.push(el('span', { class: 'std' }, ` (${count} of ${images} images)`));
  if (differs(row, index)) parts.push(el('span', { class: 'differs' }, '*'));
  const title = isNumber(value) ? perSeed + testWords(row, index) : 'not computed';
  return el('td', { class: row.best[index] ? 'best' : null, title }, ...parts);
}

function buildTable() {
  if (!DATA.rows.length) return;
  document.getElementById('table').hidden = false;
  const datasets = [...new Set(DATA.rows.map((r) => r.dataset))];
  const several = datasets.length > 1;
  const images = new Map(datasets.map((d) => [d, Math.max(...DATA.rows.filter((r) => r.dataset === d).map((r) => r.images))]));
  const columns = [
    { text: 'row', value: (r) => r.name, word: true },
    ...(several ? [{ text: 'dataset', value: (r) => r.dataset, word: true }] : []),
    ...DATA.metrics.map((m, i) => ({ text: heading(m), value: (r) => r.mean[i], first: m.better === 'higher' ? 'descending' : 'ascending',
      title: betterWords(m.better) })),
  ];
  const body = el('tbody');
  const fill = (rows) => body.replaceChildren(...rows.map((row) => el('tr', { class: row.reference ? 'reference' : null },
    el('th', { scope: 'row' }, row.name,
      row.name === DATA.baseline ? el('span', { class: 'badge' }, 'baseline') : null,
      row.reference ? el('span', { class: 'badge' }, 'reference') : null),
    several ? el('td', { class: 'word' }, row.dataset) : null,
    ...DATA.metrics.map((_, i) => cell(row, i, images.get(row.dataset))))));
  const heads = columns.map((column, index) => {
    const mark = el('span', { class: 'sort-mark', 'aria-hidden': 'true' });
    const head = el('th', { scope: 'col', 'aria-sort': 'none', class: column.word ? 'word' : null },
      el('button', { type: 'button', title: column.title, onclick: () => sort(index) }, column.text, mark));
    return { head, mark };
  });
  function sort(index) {
    const column = columns[index];
    const now = heads[index].head.getAttribute('aria-sort');
    const first = column.first || 'ascending';
    const order = now === 'none' ? first : now === 'ascending' ? 'descending' : 'ascending';
    heads.forEach(({ head, mark }, i) => {
      head.setAttribute('aria-sort', i === index ? order : 'none');
      mark.textContent = i !== index ? '' : order === 'ascending' ? ' ▲' : ' ▼';
    });
    const down = order === 'descending';
    fill(column.word
      ? [...DATA.rows].sort((a, b) => column.value(a).localeCompare(column.value(b), 'en', { numeric: true }) * (down ? -1 : 1))
      : sortedBy(DATA.rows, column.value, down));
  }
  fill(DATA.rows);
  const seeds = Math.max(...DATA.rows.map((r) => r.seeds.length));
  const legend = ['Click on a heading to sort. Mean over ' + datasets.map((d) => `${plural(images.get(d), 'image')}${several ? ` of ${d}` : ''}`).join(', ')
    + (seeds > 1 ? ` and up to ${seeds} seeds, ± standard deviation over the seeds.` : '.'),
  'Bold: best printed value' + (several ? ' of the dataset' : '') + (DATA.rows.some((r) => r.reference) ? ', references left out.' : '.'),
  DATA.rows.some((r) => r.mean.some((v) => !isNumber(v))) ? '–: not computed.' : '', testLegend()].filter(Boolean).join(' ');
  const box = document.getElementById('table-box');
  box.append(el('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Table' },
    el('table', { class: 'scores' }, el('thead', {}, el('tr', {}, ...heads.map((h) => h.head))), body)),
  el('p', { class: 'faint' }, legend));
  const origins = DATA.rows.flatMap((r) => r.seeds.filter((s) => s.command || s.commit).map((s) => [r, s]));
  if (origins.length) {
    box.append(el('details', { id: 'origins' }, el('summary', {}, 'Command and commit behind each number'),
      el('div', { class: 'scroll' }, el('table', { class: 'origins' },
        el('thead', {}, el('tr', {}, ...['row', 'dataset', 'seed', 'commit', 'command'].map((t) => el('th', { scope: 'col', class: 'word' }, t)))),
        el('tbody', {}, ...origins.map(([r, s]) => el('tr', {}, el('th', { scope: 'row' }, r.name), el('td', { class: 'word' }, r.dataset),
          el('td', { class: 'word' }, s.name), el('td', { class: 'word' }, el('code', {}, s.commit.slice(0, 12))),
          el('td', { class: 'word' }, el('code', {}, s.command)))))))));
  }
}
