// Fills the page.

function buildHead() {
  document.getElementById('title').textContent = DATA.title;
  document.getElementById('source').textContent = DATA.source;
  document.getElementById('made').textContent = `Made by pdd report, ${DATA.made}. One file; nothing is loaded from the network.`;
  const loud = [...DATA.reductions, ...DATA.problems];
  if (loud.length) {
    const items = loud.map((text) => el('li', {}, text));
    const rest = items.splice(6);
    document.getElementById('alerts').append(el('div', { class: 'alert', role: 'note' }, el('strong', {}, 'Reduced, left out or missing'),
      el('ul', {}, ...items), rest.length ? el('details', {}, el('summary', {}, `${rest.length} more`), el('ul', {}, ...rest)) : null));
  }
  const notes = document.getElementById('notes');
  notes.hidden = !DATA.notes.length;
  notes.querySelector('ul').append(...DATA.notes.map((text) => el('li', {}, text)));
}

/** The parts that this page wants first. */
function orderParts() {
  for (const id of [...DATA.first].reverse()) document.getElementById('alerts').after(document.getElementById(id));
}

/** Links to the parts that this page has. */
function buildNav() {
  for (const section of document.querySelectorAll('main > section')) {
    if (!section.hidden) document.getElementById('nav').append(el('a', { href: `#${section.id}` }, section.querySelector('h2').textContent));
  }
}

buildHead();
buildCurves();
buildTable();
buildGallery();
orderParts();
buildNav();
