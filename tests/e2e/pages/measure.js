// Run at the end of a report's page, for the tests: replaces it by what a browser made of it, as JSON.
// `wide`: the page is wider than the window; `out`: texts that stand out of the picture; `hit`: texts of it that overlap.
const root = document.documentElement;
const frame = document.querySelector("svg.picture").getBoundingClientRect();
const texts = [...document.querySelectorAll("svg.picture text")]
  .filter((text) => text.textContent)
  .map((text) => ({ words: text.textContent, box: text.getBoundingClientRect() }));
const isOut = ({ box }) =>
  box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1 || box.bottom > frame.bottom + 1;
const overlap = (a, b) =>
  Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 2;
const hit = texts.flatMap((one, index) =>
  texts.slice(index + 1).filter((other) => overlap(one.box, other.box)).map((other) => `${one.words} | ${other.words}`));
const found = {
  wide: root.scrollWidth > root.clientWidth,
  out: texts.filter(isOut).map(({ words }) => words),
  hit,
  background: getComputedStyle(document.body).backgroundColor,
  texts: texts.length,
};
document.body.innerHTML = `<pre id="measured">${JSON.stringify(found)}</pre>`;
