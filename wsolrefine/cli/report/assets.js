// Pictures and maps: in the page itself, or in files beside it.
const Report = (() => {
  const content = JSON.parse(document.getElementById("content").textContent);
  const waiting = new Map();

  function text(name) {
    const element = document.getElementById(name);
    return element ? element.textContent : null;
  }

  // The address of a picture; null if there is none.
  function picture(number) {
    if (content.folder) return `pictures/${number}.jpg`;
    const found = text(`picture-${number}`);
    return found === null ? null : `data:image/jpeg;base64,${found}`;
  }

  // The text of a map. A page from disk may not read files, so that each is a script.
  function mapText(entry, run) {
    const name = `map-${entry}-${run}`;
    if (!content.folder) return Promise.resolve(text(name));
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      waiting.set(name, resolve);
      script.onload = () => script.remove();
      script.onerror = () => reject(new Error(`${name} is missing`));
      script.src = `maps/${entry}-${run}.js`;
      document.head.append(script);
    });
  }

  function mapArrived(name, found) {
    waiting.get(name)(found);
    waiting.delete(name);
  }

  // The bytes of a map, still as differences of differences.
  async function mapBytes(entry, run) {
    const coded = atob(await mapText(entry, run));
    const bytes = Uint8Array.from(coded, letter => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  // The levels of a map; bytes wrap around, as the differences did.
  function undo(bytes, height, width) {
    const levels = bytes.slice();
    for (let y = 1; y < height; y++) {
      for (let x = 0; x < width; x++) levels[y * width + x] += levels[(y - 1) * width + x];
    }
    for (let y = 0; y < height; y++) {
      for (let x = 1; x < width; x++) levels[y * width + x] += levels[y * width + x - 1];
    }
    return levels;
  }

  // The values of a map at the size at which masks are made.
  async function values(entry, run) {
    const image = content.images[content.entries[entry].image];
    const found = content.entries[entry].found.find(one => one.run === run);
    const bytes = await mapBytes(entry, run);
    return Rule.enlarge((height, width) => undo(bytes, height, width), ...found.map, image.mask);
  }

  return {content, picture, values, mapArrived};
})();
// Small helpers: elements are made of text, never of markup, whatever the names of files are.
const COLORS = ["#40c057", "#ff6b6b", "#4dabf7", "#ffd43b", "#da77f2", "#ff922b", "#63e6be", "#faa2c1"];
const find = id => document.getElementById(id);
const percent = share => (100 * share).toFixed(share < 0.1 ? 1 : 0) + "\u202f%";
const color = run => COLORS[run % COLORS.length];
const boxText = box => (box ? box.map(Math.round).join(" ") : "no box");
const boxesText = boxes => (boxes.length ? boxes.map(boxText).join("; ") : "no box");

function make(tag, text, properties = {}) {
  const element = Object.assign(document.createElement(tag), properties);
  if (text !== undefined) element.textContent = text;
  return element;
}

function draw(tag, attributes, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

// Boxes over a photograph: each {box, kind, run} is a line on a dark edge.
function boxes(image, several) {
  const svg = draw("svg", {viewBox: `0 0 ${image.width} ${image.height}`, preserveAspectRatio: "none", "aria-hidden": "true"});
  for (const {box: [x0, y0, x1, y1], kind, run} of several) {
    const place = {x: x0, y: y0, width: x1 - x0, height: y1 - y0};
    svg.append(draw("rect", {...place, class: "edge"}));
    const line = draw("rect", {...place, class: kind});
    if (run !== undefined) line.style.setProperty("--run", color(run));
    svg.append(line);
  }
  return svg;
}
