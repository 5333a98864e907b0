// The grid of photographs: sorted, filtered, and filled while the reader moves down.
const Grid = (() => {
  const {content} = Report, several = content.runs.length > 1, STEP = 60;
  const total = entry => content.images[entry.image].width * content.images[entry.image].height;
  const first = entry => entry.found[0];
  const classOf = entry => (entry.found.find(found => found.label !== null) || first(entry));

  function boxShare(entry) {
    const found = first(entry);
    if (!found.boxes.length) return 0;
    const edges = [0, 1, 2, 3].map(i => found.boxes.map(box => box[i]));
    const [x0, y0, x1, y1] = edges.map((values, i) => (i < 2 ? Math.min : Math.max)(...values));
    return (x1 - x0) * (y1 - y0) / total(entry);
  }

  const maskShare = entry => first(entry).area / total(entry);
  const nameOf = entry => content.images[entry.image].name;
  const ORDERS = {
    score: ["score", entry => classOf(entry).score],
    box: ["size of the box", boxShare],
    mask: ["size of the mask", maskShare],
    ...(several ? {agreement: ["agreement", entry => entry.agreement]} : {}),
    name: ["name", nameOf],
  };
  const classKey = found => `${found.label} ${found.name}`;
  let shown = [], drawn = 0;

  function describe(entry) {
    const found = classOf(entry), score = found.score === null ? "" : `, score ${percent(found.score)}`;
    return `${nameOf(entry)}: ${found.name}${score}, box ${boxText(first(entry).boxes[0])}`;
  }

  function card(number) {
    const entry = content.entries[number], image = content.images[entry.image], found = classOf(entry);
    const button = make("button", undefined, {type: "button", className: "card"});
    button.dataset.entry = number;
    button.style.setProperty("--ratio", image.width / image.height);
    const frame = make("span", undefined, {className: "frame"}), picture = make("span", undefined, {className: "picture"});
    const source = Report.picture(entry.image);
    const img = make("img", undefined, {alt: describe(entry), loading: "lazy", decoding: "async"});
    if (source !== null) img.src = source;
    const all = entry.found.flatMap(one => one.boxes.map(box => ({box, kind: "line", run: several ? one.run : 0})));
    picture.append(img, boxes(image, all));
    frame.append(picture);
    const text = make("span", undefined, {className: "text"});
    const facts = [found.score === null ? "" : `score ${percent(found.score)}`, `mask ${percent(maskShare(entry))}`];
    if (several) facts.push(entry.agreement === null ? "" : `agreement ${entry.agreement.toFixed(2)}`);
    text.append(make("span", found.name), make("span", facts.filter(Boolean).join(", "), {className: "more facts"}),
                make("span", image.name, {className: "more", title: image.name}));
    button.append(frame, text);
    button.addEventListener("click", () => Large.open(number));
    return button;
  }

  function more() {
    const end = Math.min(drawn + STEP, shown.length);
    for (; drawn < end; drawn++) {
      const item = make("li");
      item.append(card(shown[drawn]));
      find("grid").append(item);
    }
  }

  function update() {
    const [, value] = ORDERS[find("sort").value], sign = find("order").getAttribute("aria-pressed") === "true" ? 1 : -1;
    const wanted = find("class").value, name = find("name").value.toLowerCase();
    const compare = (one, other) => {
      const a = value(content.entries[one]), b = value(content.entries[other]);
      if (a === null || b === null) return (a === null) - (b === null) || one - other;  // unknown ones last
      return sign * (a < b ? -1 : a > b ? 1 : 0) || one - other;
    };
    shown = content.entries.map((_, number) => number).filter(number => {
      const entry = content.entries[number];
      return (wanted === "" || entry.found.some(found => classKey(found) === wanted))
        && nameOf(entry).toLowerCase().includes(name);
    }).sort(compare);
    drawn = 0;
    find("grid").replaceChildren();
    more();
    find("count").textContent = `${shown.length} of ${content.entries.length}`;
  }

  function fillClasses() {
    const rows = new Map(), names = new Map();
    for (const entry of content.entries) {
      for (const found of entry.found) {
        names.set(classKey(found), found.name);
        const key = `${classKey(found)} ${found.run}`;
        if (!rows.has(key)) rows.set(key, {found, entries: []});
        rows.get(key).entries.push({entry, found});
      }
    }
    const sorted = [...names].sort(([, a], [, b]) => a < b ? -1 : a > b ? 1 : 0);
    find("class").append(make("option", "all", {value: ""}), ...sorted.map(([value, name]) => make("option", name, {value})));
    const table = document.querySelector("#classes table"), head = make("tr");
    const titles = ["class", ...(several ? ["results"] : []), "images", "without box", "mean score", "mean mask", ...(several ? ["mean agreement"] : [])];
    head.append(...titles.map(title => make("th", title, {scope: "col"})));
    const body = make("tbody");
    const mean = values => {
      const known = values.filter(value => value !== null);
      return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
    };
    const order = (a, b) => a.found.name < b.found.name ? -1 : a.found.name > b.found.name ? 1 : a.found.run - b.found.run;
    for (const {found, entries} of [...rows.values()].sort(order)) {
      const row = make("tr"), cell = make("td"), choose = make("button", found.name, {type: "button"});
      choose.addEventListener("click", () => { find("class").value = classKey(found); update(); scrollTo(0, 0); });
      cell.append(choose);
      row.append(cell);
      if (several) row.append(make("td", content.runs[found.run].name));
      const score = mean(entries.map(one => one.found.score)), agreement = mean(entries.map(one => one.entry.agreement));
      const values = [entries.length, entries.filter(one => !one.found.boxes.length).length,
                      score === null ? "" : percent(score), percent(mean(entries.map(one => one.found.area / total(one.entry))))];
      if (several) values.push(agreement === null ? "" : agreement.toFixed(2));
      row.append(...values.map(value => make("td", value)));
      body.append(row);
    }
    const top = make("thead");
    top.append(head);
    table.append(top, body);
  }

  // Arrow keys move between the cards, as in a table.
  function move(event) {
    const cards = [...document.querySelectorAll(".card")], at = cards.indexOf(document.activeElement);
    if (at < 0) return;
    const columns = cards.filter(one => one.offsetTop === cards[0].offsetTop).length;
    const step = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns}[event.key];
    if (step === undefined) return;
    event.preventDefault();
    if (at + step >= cards.length - columns) more();
    const next = document.querySelectorAll(".card")[at + step];
    if (next) next.focus();
  }

  function start() {
    const count = (number, name) => `${number} ${name}${number === 1 ? "" : "s"}`;
    const runs = content.runs.map(run => `${run.method}, threshold ${run.threshold}`);
    find("about").textContent = `${count(content.images.length, "photograph")}; ${several ? count(runs.length, "folder") + " of results" : runs[0]}; wsolrefine ${content.version}`;
    if (several) {
      find("legend").hidden = false;
      content.runs.forEach((run, number) => {
        const item = make("li", run.name === run.method ? runs[number] : `${run.name}: ${runs[number]}`);
        item.style.setProperty("--run", color(number));
        find("legend").append(item);
      });
    }
    find("sort").append(...Object.entries(ORDERS).map(([value, [title]]) => make("option", title, {value})));
    find("order").addEventListener("click", () => {
      const up = find("order").getAttribute("aria-pressed") !== "true";
      find("order").setAttribute("aria-pressed", up);
      find("order").textContent = up ? "ascending" : "descending";
      update();
    });
    for (const id of ["sort", "class"]) find(id).addEventListener("change", update);
    find("name").addEventListener("input", update);
    find("grid").addEventListener("keydown", move);
    new IntersectionObserver(seen => { if (seen.some(one => one.isIntersecting)) more(); }, {rootMargin: "800px"}).observe(find("end"));
    fillClasses();
    update();
  }

  return {start, describe, classOf, after: (number, step) => shown[shown.indexOf(number) + step], more};
})();
