// The large view: the threshold moves, and mask and box follow.
const Large = (() => {
  const {content} = Report;
  const LINE = 0xffffff00;  // alpha, blue, green, red
  const palette = Uint8Array.from(atob(content.palette), letter => letter.charCodeAt(0));
  let current = null, chosen = 0, values = null, turn = 0, kept = null;

  const found = () => content.entries[current].found.find(one => one.run === chosen);
  const image = () => content.images[content.entries[current].image];
  const threshold = () => Math.min(Math.max(Number(find("threshold").value) || 0, 0), 0.999);

  async function open(number, run) {
    current = number;
    const entry = content.entries[number], one = image();
    chosen = entry.found.some(each => each.run === run) ? run : entry.found[0].run;
    find("large-title").textContent = one.name;
    find("stage").style.setProperty("--ratio", one.width / one.height);
    const source = Report.picture(entry.image), photograph = find("photograph");
    photograph.alt = Grid.describe(entry);
    if (source === null) photograph.removeAttribute("src"); else photograph.src = source;
    find("run-choice").hidden = content.runs.length < 2;
    find("run").replaceChildren(...entry.found.map(each => make("option", content.runs[each.run].name, {value: each.run})));
    find("run").value = chosen;
    find("previous").disabled = Grid.after(number, -1) === undefined;
    find("next").disabled = Grid.after(number, 1) === undefined;
    if (!find("large").open) find("large").showModal();
    await load();
  }

  // Reads the map of the chosen results; what was asked for since then takes its place.
  async function load() {
    const asked = ++turn, run = content.runs[chosen], here = found();
    values = null;
    find("reset").textContent = `Threshold of the results: ${run.threshold}`;
    if (kept === null || kept.run !== chosen) {  // kept from one photograph to the next
      kept = {run: chosen};
      find("threshold").value = find("slider").value = run.threshold;
      find("parts").value = ["largest", "instances"].includes(run.parts) ? run.parts : "all";
    }
    find("adjust").hidden = here.map === null;
    find("no-map").hidden = here.map !== null;
    find("stage").setAttribute("aria-busy", "true");
    let large = null;
    if (here.map !== null) {
      try {
        large = await Report.values(current, chosen);
      } catch (error) {
        if (asked === turn) { find("adjust").hidden = true; find("no-map").hidden = false; }
      }
    }
    if (asked !== turn) return;
    values = large;
    heat();
    redraw();
    find("stage").removeAttribute("aria-busy");
  }

  function heat() {
    const canvas = find("heat"), [height, width] = image().mask;
    canvas.width = width;
    canvas.height = height;
    if (values === null) return;
    const pixels = new ImageData(width, height);
    for (let i = 0; i < values.length; i++) {
      const level = 3 * Math.round(255 * values[i]);
      pixels.data.set([palette[level], palette[level + 1], palette[level + 2], 140], 4 * i);
    }
    canvas.getContext("2d").putImageData(pixels, 0, 0);
  }

  function redraw() {
    const one = image(), here = found(), [height, width] = one.mask, drawn = [];
    const show = Object.fromEntries(["heat", "mask", "box", "stored"].map(name => [name, find(`show-${name}`).checked]));
    let regions = [];
    const canvas = find("mask");
    canvas.width = width;
    canvas.height = height;
    if (values !== null) {
      const parts = find("parts").value, above = Rule.above(values, threshold());
      const mask = parts === "instances" ? Instances.label(values, threshold(), height, width)
        : parts === "largest" ? Rule.largest(above, height, width) : above;
      regions = Rule.regions(mask, one.mask, one.height, one.width);
      paint(canvas, mask, height, width);
    }
    const all = one.width * one.height;
    find("box").textContent = values === null ? "" : boxesText(regions.map(region => region.box));
    find("area").textContent = values === null ? "" : `${percent(regions.reduce((sum, region) => sum + region.area, 0) / all)} of the image`;
    find("stored").textContent = here.boxes.length ? `${boxesText(here.boxes)}, mask ${percent(here.area / all)}` : "no box";
    find("class-name").textContent = here.score === null ? here.name : `${here.name}, score ${percent(here.score)}`;
    const agreement = content.entries[current].agreement;
    find("agreement").textContent = agreement === null ? "none: one folder of results" : `${agreement.toFixed(2)}, the mean IoU of the boxes`;
    find("size").textContent = `${one.width} x ${one.height} pixels${one.lost ? ", not found: its heatmap is shown" : ""}`;
    find("heat").hidden = !show.heat;
    canvas.hidden = !show.mask;
    if (show.stored || values === null) drawn.push(...here.boxes.map(box => ({box, kind: "stored"})));
    if (show.box) drawn.push(...regions.map(({box}) => ({box, kind: "line"})));
    const old = find("stage").querySelector("svg");
    if (old) old.remove();
    find("stage").append(boxes(one, drawn));
  }

  // What is not object is dark, with a bright line around each object.
  function paint(canvas, mask, height, width) {
    const pixels = new ImageData(width, height), words = new Uint32Array(pixels.data.buffer);
    const reach = Math.max(1, Math.round(Math.max(height, width) / 400));
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const at = y * width + x;
        if (mask[at]) {  // where two objects touch, the line is on the one above or to the left
          const right = x + 1 < width ? mask[at + 1] : 0, below = y + 1 < height ? mask[at + width] : 0;
          if ((right && right !== mask[at]) || (below && below !== mask[at])) words[at] = LINE;
          continue;
        }
        const near = (x >= reach && mask[at - reach]) || (x + reach < width && mask[at + reach])
          || (y >= reach && mask[at - reach * width]) || (y + reach < height && mask[at + reach * width]);
        words[at] = near ? LINE : 0x99000000;
      }
    }
    canvas.getContext("2d").putImageData(pixels, 0, 0);
  }

  function set(value) {
    const next = Math.min(Math.max(Math.round(1000 * value) / 1000, 0), 0.999);
    find("threshold").value = find("slider").value = next;
    redraw();
  }

  function go(step) {
    const next = Grid.after(current, step);
    if (next !== undefined) open(next, chosen);
  }

  function key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.matches("input[type=number], input[type=range], select");
    const toggle = {h: "show-heat", m: "show-mask", b: "show-box", o: "show-stored"}[event.key];
    if (event.key === "+" || event.key === "=") set(threshold() + 0.01);
    else if (event.key === "-") set(threshold() - 0.01);
    else if (!typing && event.key === "ArrowLeft") go(-1);
    else if (!typing && event.key === "ArrowRight") go(1);
    else if (!typing && toggle) { find(toggle).checked = !find(toggle).checked; redraw(); }
    else return;
    event.preventDefault();
  }

  find("slider").addEventListener("input", () => { find("threshold").value = find("slider").value; redraw(); });
  find("threshold").addEventListener("input", () => { find("slider").value = threshold(); redraw(); });
  find("reset").addEventListener("click", () => set(content.runs[chosen].threshold));
  find("parts").addEventListener("change", redraw);
  find("run").addEventListener("change", () => open(current, Number(find("run").value)));
  for (const name of ["heat", "mask", "box", "stored"]) find(`show-${name}`).addEventListener("change", redraw);
  find("previous").addEventListener("click", () => go(-1));
  find("next").addEventListener("click", () => go(1));
  find("close").addEventListener("click", () => find("large").close());
  find("large").addEventListener("keydown", key);
  find("large").addEventListener("close", () => {
    kept = null;
    const card = document.querySelector(`.card[data-entry="${current}"]`);
    if (card) card.focus();
  });

  return {open};
})();
Grid.start();
