// A picture of the gallery: the viewer, what it compares, and the scores.

class Card {
  constructor(picture) {
    this.picture = picture;
    for (const version of picture.versions) version.key = version.role === 'row' ? `row:${version.row}` : version.role;
    this.viewer = new Viewer(picture);
    this.gain = el('span', { class: 'gain' });
    this.selects = {};
    const fields = ['left', 'right'].map((side) => {
      const { select, label } = labelledSelect(side === 'left' ? 'Left' : 'Right', picture.versions.map((v) => [v.key, v.role === 'row' ? v.row : v.label]), '',
        (key) => { this.choose(side, key); this.drawScores(); });
      this.selects[side] = select;
      return label;
    });
    this.large = el('button', { type: 'button', 'aria-pressed': 'false', onclick: () => this.toggleLarge() }, 'Large');
    this.scores = el('div', { class: 'card-scores' });
    const id = newId('picture');
    const [full, corner] = [picture.full, picture.corner];
    const part = corner ? `${picture.width} × ${picture.height} of ${full[0]} × ${full[1]} pixels, from (${corner[0]}, ${corner[1]})`
      : `${full[0]} × ${full[1]} pixels`;
    this.node = el('li', { class: 'card', 'aria-labelledby': id },
      el('div', { class: 'card-head' }, el('h3', { id, tabindex: -1 }, picture.name), this.gain, this.large),
      el('p', { class: 'faint small' }, [this.severalSets() ? picture.dataset : '', part].filter(Boolean).join(' · ')),
      this.viewer.box,
      el('div', { class: 'card-bar' }, ...fields, this.viewer.bar),
      this.scores);
    this.heading = this.node.querySelector('h3');
    this.choose('left', this.prefer(['row:' + DATA.baseline, 'bicubic', 'lr']));
    const rows = picture.versions.filter((v) => v.role === 'row');
    this.choose('right', (rows.length ? rows : picture.versions).slice(-1)[0].key);
  }

  severalSets() {
    return new Set(DATA.pictures.map((p) => p.dataset)).size > 1;
  }

  /** The first of some versions that this picture has. */
  prefer(keys) {
    return keys.find((key) => this.picture.versions.some((v) => v.key === key)) || this.picture.versions[0].key;
  }

  /** Shows a version on a side; false if this picture does not have it. */
  choose(side, key) {
    const version = this.picture.versions.find((v) => v.key === key);
    if (!version) return false;
    this.selects[side].value = key;
    this.viewer.choose(side, version);
    return true;
  }

  toggleLarge() {
    const on = this.node.classList.toggle('large');
    this.large.setAttribute('aria-pressed', String(on));
    this.node.scrollIntoView({ block: 'nearest' });
  }

  /** Writes gain and scores for the row and metric that are chosen in the gallery. */
  update(row, index) {
    [this.row, this.index] = [row, index];
    const gain = row === null ? null : gainOf(this.picture, row, index);
    this.value = gain;
    this.gain.textContent = row === null ? '' : gain === null ? 'no gain known' : showGain(gain, DATA.metrics[index]);
    this.gain.className = `gain ${gain > 0 ? 'up' : gain < 0 ? 'down' : ''}`;
    this.gain.title = row === null ? '' : `${row} over ${DATA.baseline}, ${DATA.metrics[index].name}`;
    this.drawScores();
  }

  drawScores() {
    const rows = [...new Set(DATA.rows.filter((r) => r.dataset === this.picture.dataset).map((r) => r.name))]
      .filter((name) => scoresOf(this.picture, name));
    if (!rows.length) {
      this.scores.replaceChildren(el('p', { class: 'faint small' }, 'There are no scores for this image.'));
      return;
    }
    const sides = new Map();
    for (const side of ['left', 'right']) {
      const version = this.viewer[side];
      const name = version.role === 'row' ? version.row : version.role === 'bicubic' ? 'bicubic' : null;
      if (name !== null) sides.set(name, [...(sides.get(name) || []), side]);
    }
    const chosen = rows.filter((name) => sides.has(name) || name === DATA.baseline || name === this.row);
    const main = rows.length <= 4 ? rows : chosen;
    const parts = [this.scoreTable(main, sides)];
    if (main.length < rows.length) {
      const open = this.scores.querySelector('details')?.open;
      parts.push(el('details', { open }, el('summary', {}, `All ${rows.length} rows`), this.scoreTable(rows, sides)));
    }
    this.scores.replaceChildren(...parts);
  }

  scoreTable(rows, sides) {
    return el('div', { class: 'scroll' }, el('table', {},
      el('thead', {}, el('tr', {}, el('th', { scope: 'col', class: 'word' }, 'this image'), ...DATA.metrics.map((m) => el('th', { scope: 'col' }, heading(m))))),
      el('tbody', {}, ...rows.map((name) => {
        const scores = scoresOf(this.picture, name);
        return el('tr', { class: sides.has(name) ? 'chosen' : null },
          el('th', { scope: 'row' }, name, ...(sides.get(name) || []).map((side) => el('span', { class: 'badge' }, side))),
          ...DATA.metrics.map((m, i) => {
            const gain = name === DATA.baseline ? null : gainOf(this.picture, name, i);
            return el('td', { title: scores.seeds > 1 ? `mean of ${scores.seeds} seeds` : null }, show(scores.mean[i], m.decimals),
              isNumber(scores.std[i]) ? el('span', { class: 'std' }, ` ± ${show(scores.std[i], m.decimals)}`) : null,
              gain === null ? null : el('span', { class: `delta ${gain > 0 ? 'up' : gain < 0 ? 'down' : ''}` }, ' ' + showGain(gain, { ...m, unit: '' })));
          }));
      }))));
  }
}
