// Two versions of a picture on top of each other, a divider between them, one zoom and position for both.

const MAX_PIXEL = 32; // largest size of an image pixel on the screen
const viewers = new Set();
const linking = { on: false, busy: false };

class Viewer {
  /** `picture` has width, height and versions ({key, label, image}). */
  constructor(picture) {
    this.picture = picture;
    this.zoom = 1; // 1: the whole picture
    this.centre = [0.5, 0.5]; // of the view, in parts of the picture
    this.split = 0.5;
    this.pointers = new Map();
    this.layers = ['right', 'left'].map((side) => {
      const image = el('img', { alt: '', draggable: 'false' });
      return { side, image, box: el('div', { class: `layer ${side}` }, image) };
    });
    this.tags = { left: el('span', { class: 'tag tag-left' }), right: el('span', { class: 'tag tag-right' }) };
    this.divider = el('div', { class: 'divider', role: 'slider', tabindex: 0, 'aria-valuemin': 0, 'aria-valuemax': 100,
      'aria-orientation': 'horizontal' }, el('span', { class: 'grip', 'aria-hidden': 'true' }, '◂ ▸'));
    this.box = el('div', { class: 'viewer', tabindex: 0, role: 'group' },
      ...this.layers.map((l) => l.box), this.tags.left, this.tags.right, this.divider);
    this.box.style.setProperty('aspect-ratio', String(clamp(picture.width / picture.height, 0.75, 2.4)));
    this.level = el('output', { class: 'level', title: 'Size of a pixel of the picture on the screen' });
    const button = (text, label, action) => el('button', { type: 'button', 'aria-label': label, title: label, onclick: action }, text);
    this.bar = el('div', { class: 'zoom-bar', role: 'group', 'aria-label': 'Zoom' },
      button('−', 'Zoom out (key −)', () => this.zoomBy(1 / 1.5)), this.level,
      button('+', 'Zoom in (key +)', () => this.zoomBy(1.5)),
      button('1:1', 'One pixel of the picture is one pixel of the screen (key 1)', () => this.zoomTo(1 / this.fit())),
      button('Fit', 'Whole picture (key 0)', () => this.zoomTo(1)));
    this.listen();
    viewers.add(this);
    new ResizeObserver(() => this.draw()).observe(this.box);
  }

  /** Chooses the version of a side; loads it if the viewer is in use. */
  choose(side, version) {
    this[side] = version;
    this.tags[side].textContent = version.label;
    const names = `${this.left ? this.left.label : ''} (left) and ${this.right ? this.right.label : ''} (right)`;
    this.divider.setAttribute('aria-label', `Divider between ${names}`);
    this.box.setAttribute('aria-label', `${this.picture.name}: ${names}. Keys: plus and minus zoom, arrows move, 0 shows all.`);
    if (this.loaded) this.load();
    this.draw();
  }

  load() {
    this.loaded = true;
    for (const { side, image } of this.layers) {
      const url = IMAGES[this[side].image];
      if (image.src !== url) image.src = url;
      image.alt = `${this.picture.name}, ${this[side].label}`;
    }
  }

  fit() {
    const { clientWidth: w, clientHeight: h } = this.box;
    return w && h ? Math.min(w / this.picture.width, h / this.picture.height) : 1;
  }

  draw() {
    const { clientWidth: w, clientHeight: h } = this.box;
    if (!w || !h) return;
    this.zoom = clamp(this.zoom, 1, Math.max(1, MAX_PIXEL / this.fit()));
    const scale = this.fit() * this.zoom;
    const size = [this.picture.width * scale, this.picture.height * scale];
    const corner = [w, h].map((side, i) => {
      const half = side / 2 / size[i];
      this.centre[i] = half >= 0.5 ? 0.5 : clamp(this.centre[i], half, 1 - half);
      return side / 2 - this.centre[i] * size[i];
    });
    for (const { side, image, box } of this.layers) {
      Object.assign(image.style, { width: `${size[0]}px`, height: `${size[1]}px`, left: `${corner[0]}px`, top: `${corner[1]}px` });
      const single = this[side] && this[side].role === 'lr';
      image.classList.toggle('pixelated', single || scale * (window.devicePixelRatio || 1) >= 2);
      if (side === 'left') box.style.clipPath = `inset(0 ${(1 - this.split) * 100}% 0 0)`;
    }
    this.divider.style.left = `${this.split * 100}%`;
    const percent = Math.round(this.split * 100);
    this.divider.setAttribute('aria-valuenow', percent);
    if (this.left) this.divider.setAttribute('aria-valuetext', `${percent} % ${this.left.label}, ${100 - percent} % ${this.right.label}`);
    this.tags.left.classList.toggle('covered', this.split < 0.12);
    this.tags.right.classList.toggle('covered', this.split > 0.88);
    this.level.textContent = `${Math.round(scale * 100)} %`;
    this.box.classList.toggle('zoomed', this.zoom > 1.001);
    this.tellOthers();
  }

  /** With linked viewers: the same zoom, position and divider in all of them. */
  tellOthers() {
    if (!linking.on || linking.busy) return;
    linking.busy = true;
    for (const other of viewers) {
      if (other !== this) {
        Object.assign(other, { zoom: this.zoom, centre: [...this.centre], split: this.split });
        other.draw();
      }
    }
    linking.busy = false;
  }

  /** Zooms, keeping the point at `at` (pixels of the box) where it is. */
  zoomTo(zoom, at) {
    const { clientWidth: w, clientHeight: h } = this.box;
    const point = at || [w / 2, h / 2];
    const before = this.fit() * this.zoom;
    this.zoom = clamp(zoom, 1, Math.max(1, MAX_PIXEL / this.fit()));
    const after = this.fit() * this.zoom;
    [[w, this.picture.width], [h, this.picture.height]].forEach(([side, pixels], i) => {
      this.centre[i] += (point[i] - side / 2) * (1 / before - 1 / after) / pixels;
    });
    this.draw();
  }

  zoomBy(factor, at) {
    this.zoomTo(this.zoom * factor, at);
  }

  moveBy(dx, dy) {
    const scale = this.fit() * this.zoom;
    this.centre = [this.centre[0] - dx / (scale * this.picture.width), this.centre[1] - dy / (scale * this.picture.height)];
    this.draw();
  }

  setSplit(split) {
    this.split = clamp(split, 0, 1);
    this.draw();
  }

  at(event) {
    const box = this.box.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  listen() {
    this.box.addEventListener('pointerdown', (event) => this.press(event));
    this.box.addEventListener('pointermove', (event) => this.drag(event));
    for (const name of ['pointerup', 'pointercancel']) {
      this.box.addEventListener(name, (event) => { this.pointers.delete(event.pointerId); this.pinch = null; });
    }
    this.box.addEventListener('dblclick', (event) => (this.zoom > 1.001 ? this.zoomTo(1) : this.zoomTo(3 * this.zoom, this.at(event))));
    // the wheel belongs to the page until the viewer has been clicked or focused, or Ctrl is held (also: pinching)
    this.box.addEventListener('wheel', (event) => {
      if (!event.ctrlKey && !this.box.contains(document.activeElement)) return;
      if (event.deltaY > 0 && this.zoom <= 1 && !event.ctrlKey) return;
      event.preventDefault();
      const lines = event.deltaMode === 1 ? 30 : 1;
      this.zoomBy(Math.exp(-clamp(event.deltaY * lines, -200, 200) / 300), this.at(event));
    }, { passive: false });
    this.box.addEventListener('keydown', (event) => this.key(event));
  }

  press(event) {
    if (event.button !== 0) return;
    const onDivider = this.divider.contains(event.target);
    (onDivider ? this.divider : this.box).focus({ preventScroll: true });
    event.preventDefault();
    this.box.setPointerCapture(event.pointerId);
    const at = this.at(event);
    // the whole picture in view: there is nowhere to move it to, so every drag moves the divider
    this.pointers.set(event.pointerId, { at, divides: onDivider || this.zoom <= 1.001, offset: onDivider ? this.split * this.box.clientWidth - at[0] : 0 });
    if (!onDivider && this.zoom <= 1.001 && this.pointers.size === 1) this.setSplit(at[0] / this.box.clientWidth);
  }

  drag(event) {
    const pointer = this.pointers.get(event.pointerId);
    if (!pointer) return;
    const at = this.at(event);
    const previous = pointer.at;
    pointer.at = at;
    if (this.pointers.size === 2) {
      const [a, b] = [...this.pointers.values()].map((p) => p.at);
      const distance = Math.hypot(a[0] - b[0], a[1] - b[1]);
      if (this.pinch) this.zoomBy(distance / this.pinch, [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2]);
      this.pinch = distance;
    } else if (pointer.divides) this.setSplit((at[0] + pointer.offset) / this.box.clientWidth);
    else this.moveBy(at[0] - previous[0], at[1] - previous[1]);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { key } = event;
    const zoomKeys = { '+': () => this.zoomBy(1.5), '=': () => this.zoomBy(1.5), '-': () => this.zoomBy(1 / 1.5),
      0: () => this.zoomTo(1), 1: () => this.zoomTo(1 / this.fit()) };
    const big = event.shiftKey ? 0.1 : 0.01;
    const step = event.shiftKey ? 200 : 50;
    const dividerKeys = { ArrowLeft: () => this.setSplit(this.split - big), ArrowRight: () => this.setSplit(this.split + big),
      ArrowDown: () => this.setSplit(this.split - big), ArrowUp: () => this.setSplit(this.split + big),
      PageDown: () => this.setSplit(this.split - 0.1), PageUp: () => this.setSplit(this.split + 0.1),
      Home: () => this.setSplit(0), End: () => this.setSplit(1) };
    const moveKeys = this.zoom <= 1.001 ? {} : { ArrowLeft: () => this.moveBy(step, 0), ArrowRight: () => this.moveBy(-step, 0),
      ArrowUp: () => this.moveBy(0, step), ArrowDown: () => this.moveBy(0, -step) };
    const keys = { ...zoomKeys, ...(event.target === this.divider ? dividerKeys : moveKeys) };
    if (!Object.hasOwn(keys, key)) return;
    event.preventDefault();
    keys[key]();
  }
}
