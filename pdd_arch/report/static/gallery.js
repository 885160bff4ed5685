// All pictures: what to compare, in which order, and a bar for the gain of each.

const ORDERS = [['loss', 'Largest loss first'], ['gain', 'Largest gain first'], ['name', 'By name'], ['table', 'As in the table']];

class Gallery {
  constructor(box) {
    this.cards = DATA.pictures.map((picture) => new Card(picture));
    const compared = [...new Set(DATA.rows.map((r) => r.name))].filter((name) => name !== DATA.baseline);
    const gains = DATA.baseline !== null && DATA.metrics.length > 0 && this.cards.length > 0;
    const withPictures = compared.filter((name) => DATA.pictures.some((p) => gains && gainOf(p, name, 0) !== null));
    this.rows = withPictures;
    const ranked = withPictures.filter((name) => DATA.rows.some((r) => r.name === name && !r.reference));
    const preferred = ranked.find((name) => name === 'adapted') || ranked.filter((name) => name !== 'bicubic').pop();
    this.row = preferred || withPictures[0] || null;
    this.metric = 0;
    this.order = this.row === null ? 'table' : 'loss';
    this.dataset = '';
    this.list = el('ol', { class: 'cards' });
    this.summary = el('p', { class: 'summary', role: 'status' });
    this.bars = el('div', { class: 'bars', role: 'toolbar', 'aria-label': 'Gain of each image; arrow keys move, Enter shows the image' });
    box.append(this.toolbar(), this.summary, this.bars, this.hint(), this.list);
    this.watch();
    if (this.row !== null) this.chooseAll('right', `row:${this.row}`);
    this.update();
  }

  hint() {
    return el('p', { class: 'faint small' }, 'Drag the divider; click a picture, then the wheel zooms (Ctrl and wheel at any time) and dragging ',
      'moves it. Keys: ', ...['Tab', '+', '−', '0', '1', '←', '→'].flatMap((k) => [el('kbd', {}, k), ' ']),
      'on a picture or its divider.');
  }

  toolbar() {
    const versions = new Map();
    for (const card of this.cards) {
      for (const v of card.picture.versions) if (!versions.has(v.key)) versions.set(v.key, v.role === 'row' ? v.row : v.label);
    }
    // in the order in which a picture has them: input, rows, HR
    const options = [...versions].sort((a, b) => Number(a[0] === 'hr') - Number(b[0] === 'hr'));
    this.selects = {};
    const groups = [];
    for (const side of ['left', 'right']) {
      const { select, label } = labelledSelect(side === 'left' ? 'Left of all' : 'Right of all', options, '', (key) => this.chooseAll(side, key));
      this.selects[side] = select;
      groups.push(label);
    }
    if (this.cards.length) for (const side of ['left', 'right']) this.selects[side].value = this.cards[0].selects[side].value;
    const rowField = labelledSelect('Gain of', this.rows.map((r) => [r, r]), this.row, (row) => {
      this.row = row;
      this.chooseAll('right', `row:${row}`);
      this.update();
    });
    const metricField = labelledSelect('in', DATA.metrics.map((m, i) => [String(i), m.name]), '0', (i) => { this.metric = Number(i); this.update(); });
    if (this.row !== null) groups.push(rowField.label, el('span', { class: 'over' }, `over ${DATA.baseline}`), metricField.label);
    const sets = [...new Set(DATA.pictures.map((p) => p.dataset))];
    if (sets.length > 1) {
      groups.push(labelledSelect('Dataset', [['', 'all'], ...sets.map((s) => [`=${s}`, s])], '', (v) => { this.dataset = v; this.update(); }).label);
    }
    const name = newId('order');
    const orders = el('fieldset', { class: 'orders' }, el('legend', {}, 'Order'),
      ...ORDERS.filter(([key]) => this.row !== null || !['loss', 'gain'].includes(key)).map(([key, text]) => {
        const input = el('input', { type: 'radio', name, value: key, onchange: () => { this.order = key; this.update(); } });
        input.checked = key === this.order;
        return el('label', {}, input, el('span', {}, text));
      }));
    const link = el('input', { type: 'checkbox', onchange: () => { linking.on = link.checked; if (link.checked && this.cards.length) this.visible()[0]?.viewer.draw(); } });
    return el('div', { class: 'toolbar' }, el('div', { class: 'tool-row' }, ...groups),
      el('div', { class: 'tool-row' }, orders, el('label', { class: 'check' }, link, el('span', {}, 'Move all pictures together'))));
  }

  /** A picture is decoded when it comes near. */
  watch() {
    const observer = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        if (entry.isIntersecting) {
          entry.target.card.viewer.load();
          observer.unobserve(entry.target);
        }
      }
    }, { rootMargin: '600px' });
    for (const card of this.cards) {
      card.node.card = card;
      observer.observe(card.node);
    }
  }

  chooseAll(side, key) {
    let some = false;
    for (const card of this.cards) {
      if (card.choose(side, key)) some = true;
      card.drawScores();
    }
    if (some) this.selects[side].value = key;
  }

  visible() {
    const chosen = this.cards.filter((c) => !this.dataset || `=${c.picture.dataset}` === this.dataset);
    if (this.order === 'name') return [...chosen].sort((a, b) => a.picture.name.localeCompare(b.picture.name, 'en', { numeric: true }));
    if (this.order === 'table') return chosen;
    return sortedBy(chosen, (card) => card.value, this.order === 'gain');
  }

  update() {
    for (const card of this.cards) card.update(this.row, this.metric);
    const cards = this.visible();
    this.list.replaceChildren(...cards.map((c) => c.node));
    this.drawSummary(cards);
    this.drawBars(cards);
  }

  drawSummary(cards) {
    if (this.row === null) {
      this.summary.textContent = `${plural(cards.length, 'image')}.`;
      return;
    }
    const metric = DATA.metrics[this.metric];
    const known = cards.filter((c) => isNumber(c.value));
    if (!known.length) {
      this.summary.textContent = `No gains of ${this.row} over ${DATA.baseline} in ${metric.name} are known for these images.`;
      return;
    }
    const order = sortedBy(known, (c) => c.value, false);
    const [worst, best] = [order[0], order[order.length - 1]];
    const up = known.filter((c) => c.value > 0).length, down = known.filter((c) => c.value < 0).length;
    const average = known.reduce((sum, c) => sum + c.value, 0) / known.length;
    this.summary.textContent = `${this.row} is better than ${DATA.baseline} on ${up} and worse on ${down} of ${plural(known.length, 'image')} `
      + `in ${metric.name}: mean ${showGain(average, metric)}, worst ${worst.picture.name} (${showGain(worst.value, metric)}), `
      + `best ${best.picture.name} (${showGain(best.value, metric)}).`
      + (known.length < cards.length ? ` ${cards.length - known.length} without a value.` : '');
  }

  /** A bar per image, up for a gain, down for a loss; one tab stop, arrows move within. */
  drawBars(cards) {
    const finite = cards.map((c) => c.value).filter(Number.isFinite);
    this.bars.hidden = this.row === null || !finite.length;
    if (this.bars.hidden) return;
    const metric = DATA.metrics[this.metric];
    const top = Math.max(...finite, 0), bottom = Math.min(...finite, 0);
    const total = top - bottom || 1;
    const buttons = cards.map((card, i) => {
      const value = isNumber(card.value) ? clamp(card.value, bottom, top) : 0;
      const bar = el('span', { class: `bar ${value > 0 ? 'up' : value < 0 ? 'down' : ''}`,
        style: { top: `${(top - Math.max(value, 0)) / total * 100}%`, height: `${Math.abs(value) / total * 100}%` } });
      const text = `${card.picture.name}: ${isNumber(card.value) ? showGain(card.value, metric) : 'no value'}`;
      return el('button', { type: 'button', tabindex: i ? -1 : 0, 'aria-label': text, title: text, onclick: () => this.showCard(card) },
        el('span', { class: 'zero', style: { top: `${top / total * 100}%` } }), bar);
    });
    this.bars.onkeydown = (event) => {
      const now = buttons.indexOf(document.activeElement);
      const to = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: buttons.length - 1 }[event.key];
      if (to === undefined || !buttons[to]) return;
      event.preventDefault();
      buttons.forEach((b, i) => { b.tabIndex = i === to ? 0 : -1; });
      buttons[to].focus();
    };
    this.bars.replaceChildren(...buttons);
  }

  showCard(card) {
    card.viewer.load();
    card.node.scrollIntoView({ block: 'start' });
    card.heading.focus({ preventScroll: true });
  }
}

function buildGallery() {
  if (!DATA.pictures.length) return;
  document.getElementById('images').hidden = false;
  new Gallery(document.getElementById('gallery'));
}
